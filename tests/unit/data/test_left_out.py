from __future__ import annotations

from typing import Any

from deepicd.data.cohort import Cohort
from deepicd.data.left_out import LeftOut, of_cohort, of_examples, of_limits, of_prompts
from deepicd.data.sft import Examples


def cohort(dropped: dict[str, int], aside: dict[str, int]) -> Cohort:
    return Cohort(
        admissions=3000, patients=9, notes=3100, kept=2900, dropped=dropped, notes_set_aside=aside, other_sex=0, sections={},
        unknown_codes={}, codes_without_title=0, codes=4, splits={}, shares={}, seed=None, versions={},
    )  # fmt: skip


def test_dropped_admissions_and_notes_have_their_reason_and_count() -> None:
    found = of_cohort(cohort({"no_note": 100, "empty_note": 0}, {"second_note": 7}))
    assert list(map(str, found)) == ["100 of 3,000 admissions: no discharge summary", "7 of 3,100 notes: second note"]


def test_traces_that_became_no_example_are_counted_by_reason() -> None:
    examples = Examples(traces=100, written=60, untagged=5, empty=1, tagged=4, elsewhere=35, without_trace=10)
    found = of_examples(examples)
    assert [(one.what, one.count, one.of) for one in found] == [
        ("traces", 35, 100), ("traces", 1, 100), ("traces", 4, 100), ("training admissions", 10, 75),
    ]  # fmt: skip
    assert examples.traces == examples.written + sum(one.count for one in found if one.what == "traces")


def prompts(dropped: int) -> dict[str, Any]:
    examples = {"written": 8, "shortened": 3, "dropped": dropped}
    splits = {name: {"notes": 300} for name in ("train", "validation", "test")}
    return {"max_example_tokens": 1200, "examples": examples, "splits": splits}


def test_examples_that_do_not_fit_are_left_out_by_a_setting() -> None:
    [found] = of_prompts(prompts(2))
    assert found == LeftOut("SFT examples", 2, 10, "the answer alone is longer than stages.sft.maxTokens (1,200)")
    assert of_prompts(prompts(0)) == []
    assert of_prompts({**prompts(2), "examples": None}) == []


def test_admissions_beyond_a_limit_are_left_out_by_it() -> None:
    [found] = of_limits(prompts(0), None, 200)
    assert found == LeftOut("test admissions", 100, 300, "stages.evaluate.maxAdmissions is 200", by_choice=True)
    assert list(of_limits(prompts(0), 300, 400)) == []
