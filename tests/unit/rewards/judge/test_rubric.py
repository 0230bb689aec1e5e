from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deepicd.errors import UserError
from deepicd.rewards.judge.rubric import Rubric, load_rubric, to_verdict

CRITERIA = [{"name": "good", "question": "Good?", "weight": 3}, {"name": "bad", "question": "Bad?", "negative": True}]
SMALL = Rubric.model_validate({"version": "1", "instructions": "Look.", "criteria": CRITERIA})


def test_the_default_has_six_to_eight_questions_some_of_them_negative() -> None:
    rubric = load_rubric("default")
    assert 6 <= len(rubric.criteria) <= 8
    assert 0 < sum(criterion.negative for criterion in rubric.criteria) < len(rubric.criteria)
    assert len(set(rubric.names)) == len(rubric.names)


@pytest.mark.parametrize(
    ("verdict", "score"), [((True, False), 1), ((True, True), 0.75), ((False, False), 0.25), ((False, True), 0)]
)
def test_the_term_is_the_weighted_share_of_good_answers(verdict: tuple[bool, ...], score: float) -> None:
    assert SMALL.score(verdict) == score


def test_saying_yes_or_no_to_everything_does_not_earn_everything() -> None:
    rubric = load_rubric("default")
    for answer in (True, False):
        assert rubric.score([answer] * len(rubric.criteria)) < 0.65


def test_a_verdict_is_read_in_the_order_of_the_rubric() -> None:
    assert to_verdict(SMALL, ' {"bad": false, "good": true}\n') == (True, False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yes",
        "true",
        "[true, false]",
        '{"good": true}',
        '{"good": true, "bad": false, "more": true}',
        '{"good": true, "bad": "no"}',
        '{"good": 1, "bad": 0}',
        '{"good": true, "bad": null}',
        '{"good": true, "good": false, "bad": false}',
        '{"good": true, "bad": false} {"good": false}',
        '```json\n{"good": true, "bad": false}\n```',
        '{"good": true, "bad": fal',
        '{"good": {"good": true, "bad": false}}',
    ],
)
def test_anything_but_the_rubrics_form_is_no_verdict(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        to_verdict(SMALL, text)
    assert "good" not in str(error.value)


@given(
    st.text()
    | st.recursive(st.booleans() | st.none() | st.text(), lambda part: st.dictionaries(st.text(), part)).map(json.dumps)
)
def test_no_text_gives_more_or_fewer_answers_than_there_are_criteria(text: str) -> None:
    try:
        verdict = to_verdict(SMALL, text)
    except (ValueError, RecursionError):
        return
    assert [type(answer) for answer in verdict] == [bool, bool]


def write(path: Path, **changes: Any) -> str:
    path.write_text(yaml.safe_dump({"version": "2", "instructions": "Look.", "criteria": CRITERIA} | changes))
    return str(path)


def test_a_file_may_bring_its_own_questions_and_guidelines(tmp_path: Path) -> None:
    found = load_rubric(write(tmp_path / "mine.yaml", guidelines={13: "Code the side."}))
    assert (found.version, found.names, found.guidelines) == ("2", ("good", "bad"), {13: "Code the side."})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"criteria": []}, "criteria: must not be empty"),
        ({"criteria": [{"name": "Good", "question": "?"}]}, "criteria.0.name"),
        ({"criteria": [{"name": "good", "question": "?", "weight": 0}]}, "criteria.0.weight"),
        ({"criteria": [{"name": "good", "question": "?", "wieght": 1}]}, "did you mean 'weight'?"),
        ({"criteria": [CRITERIA[0], CRITERIA[0]]}, "criteria: good occurs twice"),
        ({"guidelines": {23: "x"}}, "guidelines.23"),
        ({"version": 3}, "version: must be text (got 3)"),
    ],
)
def test_a_mistake_in_a_rubric_is_named(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    with pytest.raises(UserError) as error:
        load_rubric(write(path, **changes))
    assert str(error.value).startswith(f"{path}: ")
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("content", "says"), [("- a", "is a list: give the path"), ("a: [", "is not YAML"), ("", "is empty: give the path")]
)
def test_a_file_that_is_no_rubric_is_for_the_user_to_fix(content: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=says):
        load_rubric(str(path))


def test_a_missing_file_is_for_the_user_to_fix(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file or directory: give the path of a rubric file"):
        load_rubric(str(tmp_path / "none.yaml"))


def test_weights_whose_sum_no_number_holds_are_refused(tmp_path: Path) -> None:
    criteria = [{"name": name, "question": "Good?", "weight": 1e308} for name in ("one", "two")]
    with pytest.raises(UserError, match="weight"):
        load_rubric(write(tmp_path / "rubric.yaml", criteria=criteria))
