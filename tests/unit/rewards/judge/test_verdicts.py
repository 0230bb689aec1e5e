import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepicd.rewards import Score
from deepicd.rewards.judge.verdicts import Judged, counted, mean, with_judge

NAN = math.nan


def judged(*members: tuple[str, bool, float]) -> list[Judged]:
    return [Judged(*member) for member in members]


def test_a_missing_verdict_counts_as_the_mean_of_its_group() -> None:
    found = judged(("a", True, 1), ("a", False, 0.5), ("a", False, NAN), ("b", True, 0), ("b", True, NAN))
    assert counted(found, only_where_outcome_varies=False) == [1, 0.5, 0.75, 0, 0]


def test_a_group_without_any_verdict_is_level() -> None:
    found = judged(("a", True, NAN), ("a", False, NAN), ("b", True, 0.25))
    assert counted(found, only_where_outcome_varies=False, otherwise=0.4) == [0.4, 0.4, 0.25]


def test_the_judge_counts_only_where_the_outcome_varies_on_request() -> None:
    found = judged(("a", True, 1), ("a", True, 0), ("b", True, 1), ("b", False, 0), ("c", False, 0.2), ("c", False, NAN))
    assert counted(found, only_where_outcome_varies=True) == [0.5, 0.5, 1, 0, 0.2, 0.2]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.floats(0, 1) | st.just(NAN)), max_size=12), st.booleans())
def test_failing_never_pays_more_than_the_best_nor_less_than_the_worst_of_the_group(
    members: list[tuple[str, bool, float]], only: bool
) -> None:
    found = judged(*members)
    for one, value in zip(found, counted(found, only_where_outcome_varies=only), strict=True):
        known = [other.value for other in found if other.group == one.group and not math.isnan(other.value)]
        assert math.isnan(value) if not known else min(known) - 1e-9 <= value <= max(known) + 1e-9


def test_the_term_is_added_with_its_weight() -> None:
    assert with_judge(Score(0.5, {"outcome": 1}), 0.75, 0.75, 0.2) == Score(
        0.5 + 0.2 * 0.75, {"outcome": 1, "judge": 0.75, "judge_missing": 0}
    )


@pytest.mark.parametrize(("counts_as", "value"), [(0.5, 0.6), (NAN, 0.5)])
def test_a_missing_verdict_is_nan_and_counted_and_never_0(counts_as: float, value: float) -> None:
    score = with_judge(Score(0.5, {}), NAN, counts_as, 0.2)
    assert score.value == value
    assert math.isnan(score.terms["judge"])
    assert score.terms["judge_missing"] == 1


def test_the_mean_leaves_out_what_is_missing() -> None:
    assert mean([1, NAN, 0]) == 0.5
    assert math.isnan(mean([NAN]))
