"""What the term pays an honest trace, and what it pays the ways to win it without reasoning."""

import random
import re
from pathlib import Path

import pytest

from deepicd import icd10
from deepicd.rewards.reasoning import Claim, reasoning

TEXTS = Path(__file__).parent / "texts"
NOTE = (TEXTS / "note.txt").read_text()
SHORT = (TEXTS / "honest_short.txt").read_text()
LONG = (TEXTS / "honest_long.txt").read_text()
FILLER = (TEXTS / "filler.txt").read_text()
CODE = "M5116"
DESCRIPTION = icd10.description(CODE)
NAMED = f" The diagnosis is {DESCRIPTION}, M51.16."
UNGROUNDED = (
    "Based on the chief complaint, the history of present illness, the past medical history, the medications and the "
    f"physical exam of this patient, the diagnosis is clearly {DESCRIPTION}. The code is M5116."
)
PRESENT_ILLNESS = NOTE[NOTE.index("Mr.") : NOTE.index("Past Medical")]
NOTE_WORDS = NOTE.split()


def claim(trace: str | None, note: str | None = NOTE, code: str | None = CODE) -> Claim:
    return Claim(trace, note, code, icd10.description(code) if code else None)


def value(trace: str, code: str = CODE) -> float:
    return reasoning([claim(trace, code=code)])[0].value


def shuffled(number: int) -> str:
    return " ".join(random.Random(0).sample(NOTE_WORDS, number))


@pytest.mark.parametrize("trace", [SHORT, LONG], ids=["60 words", "1,000 tokens"])
def test_an_honest_trace_scores_high(trace: str) -> None:
    assert value(trace) > 0.95


def test_a_trace_of_the_quickstart_scores_high() -> None:
    trace = (
        "Presents with low back pain; note shows left foot numbness, steppage gait, positive straight leg raise. "
        f"This fits {DESCRIPTION}."
    )
    assert value(trace) > 0.95


@pytest.mark.parametrize(
    ("trace", "most"),
    [
        # copying the note
        (NOTE + NAMED, 0.05),
        (PRESENT_ILLNESS + NAMED, 0.05),
        (" ".join(re.findall(r"\w+", NOTE.lower())) + NAMED, 0.05),
        (" ".join(word if place % 4 else "widget" for place, word in enumerate(NOTE_WORDS)) + NAMED, 0.15),
        (shuffled(len(NOTE_WORDS)) + NAMED, 0.05),
        (shuffled(60) + NAMED, 0.05),
        (" ".join(NOTE_WORDS[: len(NOTE_WORDS) // 2]) + FILLER + NAMED, 0.3),
        # repeating itself
        (SHORT * 2, 0.55),
        (SHORT * 20, 0.06),
        (LONG * 2, 0.51),
        (NAMED * 100, 0.0),
        # padding
        (FILLER + NAMED, 0.05),
        (SHORT + FILLER, 0.4),
        (LONG + FILLER, 0.9),
        (NAMED + "the of and that " * 100, 0.0),
        # naming the code without grounds
        (NAMED, 0.0),
        (DESCRIPTION, 0.0),
        ("M51.16", 0.0),
        (UNGROUNDED, 0.0),
    ],
    ids=[
        "the whole note",
        "the present illness",
        "the note in lower case without punctuation",
        "the note with every fourth word replaced",
        "the note's words shuffled",
        "sixty of the note's words",
        "half the note and as much filler",
        "an honest trace twice",
        "an honest trace twenty times",
        "a long honest trace twice",
        "the name a hundred times",
        "filler and the name",
        "a short honest trace and filler",
        "a long honest trace and filler",
        "function words and the name",
        "the name",
        "the description",
        "the code",
        "the name after the note's headings",
    ],
)
def test_it_is_not_won_without_reasoning(trace: str, most: float) -> None:
    assert value(trace) <= most


def test_the_trace_must_lead_to_the_answer_that_is_given() -> None:
    assert value(SHORT, "I214") == 0


@pytest.mark.parametrize("ending", ["so it is M51.16", "so it is m5116", "so it is in M51", f"so it is {DESCRIPTION}"])
def test_the_answer_may_be_named_by_code_category_or_description(ending: str) -> None:
    grounds = "Weak extensor hallucis, steppage gait, numbness of the web space, positive leg raise and MRI extrusion, "
    assert reasoning([claim(grounds + ending)])[0].concluded == 1


@pytest.mark.parametrize(
    "unmeasurable",
    [claim(None), claim(SHORT, note=None), claim(SHORT, code=None), claim(""), claim(SHORT, note=""), claim("M51")],
    ids=["no trace", "no note", "no answer", "an empty trace", "an empty note", "one word"],
)
def test_what_cannot_be_measured_is_not_paid(unmeasurable: Claim) -> None:
    assert reasoning([unmeasurable])[0].value == 0


def test_an_answer_that_is_not_in_the_table_is_not_paid() -> None:
    assert reasoning([Claim(SHORT, NOTE, "M51169", None)])[0].value == 0


def test_a_score_does_not_depend_on_the_batch() -> None:
    traces = [SHORT, LONG, NOTE + NAMED, SHORT * 2, FILLER + NAMED, "", PRESENT_ILLNESS] * 40
    claims = [claim(trace, note=NOTE if place % 3 else FILLER) for place, trace in enumerate(traces)]
    assert reasoning(claims) == [reasoning([alone])[0] for alone in claims]


def test_no_claims_no_scores() -> None:
    assert reasoning([]) == []


@pytest.mark.timeout(20)
@pytest.mark.parametrize("trace", ["a" * 1_000_000, "a " * 500_000, " " * 1_000_000, "\ud800" * 1_000_000, "\0" * 9])
def test_hostile_traces_are_not_paid(trace: str) -> None:
    assert value(trace + NAMED) == 0
