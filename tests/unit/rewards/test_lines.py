import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from deepicd.errors import UserError
from deepicd.rewards.lines import score_lines
from deepicd.spec.reward import RewardSpec

CANARY = "canary"
GOOD = {"id": "a", "completion": "x</think>\n<diagnosis>M5116</diagnosis>", "gold": "M5116"}


def scored(*lines: bytes, preset: str = "deepicd-r1") -> list[dict[str, Any]]:
    reward = RewardSpec.model_validate({"preset": preset})
    return [json.loads(line) for line in score_lines(lines, reward, opened_think=True)]


def line(**fields: object) -> bytes:
    return json.dumps(GOOD | fields).encode()


def test_each_line_gives_its_score_and_terms_in_order() -> None:
    first, second = scored(line(), line(id=2, completion=""))
    assert first == {"id": "a", "score": 76.0, "terms": {"code": 75.0, "trace": 1.0, "several": 0.0, "empty": 0.0}}
    assert (second["id"], second["score"]) == (2, -6.0)


def test_empty_lines_are_skipped_and_other_fields_ignored() -> None:
    assert [row["id"] for row in scored(b"\n", line(model="x"), b"  \n", line(id="b"))] == ["a", "b"]


def test_a_note_lets_the_reasoning_be_scored() -> None:
    trace = "A numb foot, a weak hallucis and a positive leg raise fit pressure by the extrusion upon a nerve."
    note = "Foot numb; hallucis weak; raise of the leg positive; extrusion."
    completion = f"{trace}</think><diagnosis>M5116</diagnosis>"
    without, with_note = scored(line(completion=completion), line(completion=completion, note=note), preset="deepicd")
    assert (without["terms"]["reasoning"], with_note["terms"]["reasoning"]) == (0, 1)


def test_a_truncated_completion_is_marked_by_its_line() -> None:
    whole, cut = scored(line(), line(truncated=True), preset="deepicd")
    assert cut["terms"]["format"] < whole["terms"]["format"]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (b'{"id": "canary", ', "line 2: is not JSON"),
        (b'"\xff canary"', "line 2: is not JSON"),
        (b"[" * 100_000, "line 2: is not JSON"),
        (b'["canary"]', "line 2: is not a JSON object"),
        (b'{"id": "canary", "gold": "M5116"}', "line 2: completion: is missing"),
        (b'{"completion": "canary", "gold": "M5116"}', "line 2: id: is missing"),
        (line(id=None), "line 2: id: is null"),
        (line(id=["canary"]), "line 2: id: is a list"),
        (line(completion={"text": CANARY}), "line 2: completion: is an object"),
        (line(gold=5116), "line 2: gold: is a number"),
        (line(gold=CANARY), "line 2: gold: is not a code"),
        (line(note=[CANARY]), "line 2: note: is a list"),
        (line(truncated=CANARY), "line 2: truncated: is a string"),
        (line(local_gold=CANARY), "line 2: local_gold: is a string"),
        (line(gold="M51"), "line 2: gold: is a header in every release"),
        (line(gold=CANARY, local_gold=True), "line 2: gold: is not formatted like a code"),
    ],
)
def test_a_bad_line_is_named_by_number_and_field_and_not_quoted(bad: bytes, says: str) -> None:
    with pytest.raises(UserError) as error:
        scored(line(), bad, preset="deepicd")
    assert str(error.value).startswith(says)
    assert CANARY not in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.__cause__ is None


def test_lines_are_streamed() -> None:
    def endless() -> Iterator[bytes]:
        yield from (line(id=number) for number in itertools.count())

    first = next(score_lines(endless(), RewardSpec(), opened_think=True))
    assert json.loads(first)["id"] == 0
