import json
import math

import pytest

from deepicd.rewards import Score
from deepicd.rewards.judge.rollout import Scored
from deepicd.rewards.judge.second import Opinion
from deepicd.rewards.judge.watch import StepSums, agreement, alarm, read, to_json, trend


def step(*completions: tuple[float, bool], form: float = 1, second: Opinion | None = None) -> StepSums:
    sums = StepSums()
    for value, right in completions:
        score = Score(0, {"format": form, "judge": value, "judge_missing": float(math.isnan(value))})
        sums.add(Scored(score, right, (True, True), second), ["cites", "follows"])
    return sums


def test_a_step_has_the_judges_mean_the_outcome_and_the_missing_verdicts() -> None:
    sums = step((1, True), (0.5, False), (math.nan, False))
    assert sums.judge == 0.75
    assert sums.outcome == pytest.approx(1 / 3)
    assert (sums.completions, sums.missing) == (3, 1)


def test_agreement_is_the_correlation_with_each_other_term() -> None:
    found = agreement([step((1, True), (0, False)), step((0.8, True), (0.2, False))])
    assert found["outcome"] == pytest.approx(0.9701, abs=1e-3)
    assert math.isnan(found["format"])  # it never varies
    assert set(found) == {"outcome", "format"}


def test_a_judge_against_the_outcome_correlates_below_0() -> None:
    assert agreement([step((0, True), (1, False))])["outcome"] == pytest.approx(-1)


def test_what_is_written_is_read_again_and_parts_of_a_step_add_up() -> None:
    lines = [to_json("train", 2, step((1, True))), to_json("train", 1, step((0, False))), to_json("train", 2, step((0, True)))]
    found = read([*lines, to_json("validation", 1, step((1, True))), '{"split": "tra'])
    assert list(found) == [1, 2]
    assert (found[2].completions, found[2].judge) == (2, 0.5)


def test_a_second_judge_is_kept_with_the_step_and_parts_add_up() -> None:
    lines = [to_json("validation", 1, step((1, True), second=Opinion(0.5, (True, False)))) for _ in range(2)]
    second = read(lines, "validation")[1].second
    assert second is not None
    assert (second.values, second.mean, second.agreement.agreed) == (2, 0.5, 0.5)
    assert second.criteria["cites"].both == 2
    assert second.criteria["follows"].first == 2
    assert read([to_json("validation", 1, step((1, True)))], "validation")[1].second is None


def test_a_line_has_only_numbers_and_names() -> None:
    row = json.loads(to_json("train", 1, step((1, True))))
    assert {"split", "step", "completions", "missing", "right", "terms"} == set(row)
    assert set(row["terms"]) == {"format", "outcome"}


def rising(judge: float, right: float) -> list[StepSums]:
    """40 steps in which the mean verdict rises by `judge`, and the share of right answers by `right`."""
    found = []
    for place in range(40):
        share = 0.3 + right * place / 39
        found.append(step(*((0.2 + judge * place / 39, number < 100 * share) for number in range(100))))
    return found


def test_a_judge_that_rises_while_the_outcome_does_not_is_an_alarm() -> None:
    found = alarm(rising(0.5, 0))
    assert found is not None
    assert found.startswith("the judge's mean rose from 0.26 to 0.64, and the share of right answers went from 0.30 to 0.30")
    assert alarm(rising(0.5, -0.2)) is not None


@pytest.mark.parametrize(("judge", "right"), [(0.5, 0.3), (0, 0), (0.03, 0), (-0.2, 0)])
def test_other_trends_are_no_alarm(judge: float, right: float) -> None:
    assert alarm(rising(judge, right)) is None


def test_the_trend_has_the_figures_of_both_quarters() -> None:
    found = trend(rising(0.5, 0.3))
    assert found is not None
    assert (round(found.judge_from, 2), round(found.judge_to, 2), found.right_from < found.right_to) == (0.26, 0.64, True)
    assert not found.diverged
    assert trend(rising(0.5, 0)[:7]) is None


def test_a_quarter_without_verdicts_has_no_trend() -> None:
    assert trend([step((math.nan, True))] * 4 + rising(0.5, 0)[:4]) is None


def test_few_steps_are_no_alarm() -> None:
    assert alarm(rising(0.5, 0)[::6]) is None
