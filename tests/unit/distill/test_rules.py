from __future__ import annotations

import pytest

from deepicd.distill.form import Answer, read
from deepicd.distill.named import conclusion, is_named
from deepicd.distill.numbers import numbers, numbers_of_note
from deepicd.distill.similar import Seen
from deepicd.distill.told import shows_that_it_was_told

NOTE = "Back pain shooting down the leg, T12 fracture years ago. Full code."
TITLE = "Intervertebral disc disorders with radiculopathy, lumbar region"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<reasoning>Pain.</reasoning>\n<diagnosis>M51.16</diagnosis>", Answer("Pain.", "M5116", well_formed=True)),
        ("<think>long</think><reasoning>Pain.</reasoning><diagnosis>M5116</diagnosis>", Answer("Pain.", "M5116", True)),
        ("long</think>\n<reasoning>Pain.</reasoning><diagnosis>M5116</diagnosis>", Answer("Pain.", "M5116", True)),
        ("<think>Pain.</think><diagnosis>M5116</diagnosis>", Answer(None, None, well_formed=False)),
        ("<reasoning>a</reasoning><reasoning>b</reasoning><diagnosis>M5116</diagnosis>", Answer(None, None, False)),
        ("", Answer(None, None, well_formed=False)),
        ("<reasoning>Pain.\r\nMore \ud800.</reasoning><diagnosis>M5116</diagnosis>", Answer("Pain.\nMore ?.", "M5116", True)),
    ],
)
def test_the_asked_form_is_read(text: str, answer: Answer) -> None:
    assert read(text, truncated=False, own_prompt=False) == answer


@pytest.mark.parametrize(
    "text",
    [
        "Sure! <reasoning>Pain.</reasoning><diagnosis>M51.16</diagnosis>",
        "<reasoning>Pain.</reasoning><diagnosis>M51.16</diagnosis> Anything else?",
        "<reasoning>Pain.</reasoning><diagnosis>M51.16 or M51.17</diagnosis>",
        "<reasoning></reasoning><diagnosis>M51.16</diagnosis>",
        "<reasoning>Pa\x00in.</reasoning><diagnosis>M51.16</diagnosis>",
        "<reasoning>\x1b[31mPain.</reasoning><diagnosis>M51.16</diagnosis>",
    ],
)
def test_another_form_is_not_well_formed(text: str) -> None:
    assert not read(text, truncated=False, own_prompt=False).well_formed


def test_a_cut_off_answer_is_not_well_formed() -> None:
    assert not read("<reasoning>Pain.</reasoning><diagnosis>M51.16</diagnosis>", truncated=True, own_prompt=False).well_formed


def test_a_teacher_with_its_own_prompt_answers_in_the_form_that_it_learned() -> None:
    found = read("Pain.</think>\n<diagnosis>M5116</diagnosis>", truncated=False, own_prompt=True)
    assert found == Answer("Pain.", "M5116", well_formed=True)


def test_the_conclusion_is_the_last_share_of_the_words_and_at_least_a_sentence() -> None:
    trace = "One two three four. Five six seven eight. Nine ten. Eleven twelve."
    assert conclusion(trace, 0)[1] == ["Eleven twelve"]
    assert conclusion(trace, 0.35)[1] == ["Nine ten", "Eleven twelve"]


@pytest.mark.parametrize(
    ("before", "named"),
    [
        ("M51.16 fits.", True),
        ("m5116 fits.", True),
        ("This is M51.", True),
        ("It is M51.1 by its look.", True),
        ("Old T12 fracture.", False),
        ("Intervertebral disc disorder with lumbar radiculopathy.", True),
        ("The lumbar region hurts.", False),
        ("A disc could press on a root.", False),
    ],
)
def test_code_header_and_title_are_named(before: str, named: bool) -> None:
    assert is_named([before], "M5116", TITLE, NOTE, 0.8) is named


def test_what_the_note_names_may_be_repeated() -> None:
    note = "MRI: intervertebral disc disorder with lumbar radiculopathy, coded M51.16 elsewhere."
    assert not is_named([note], "M5116", TITLE, note, 0.8)


@pytest.mark.parametrize(
    "trace",
    [
        "The provided diagnosis fits.",
        "As instructed, I hide it.",
        "I must not mention the title yet. So it is.",
        "We are told the answer. So it is.",
        "The code has a side. So it is.",
        "Working backwards, the pain fits.",
        "The disease, as the request has it, is fixed.",
        "The diagnosis says that it is the left side. So it is.",
        "I will not name it yet. So it is.",
        "Pain fits. It is the given diagnosis.",
        "I paraphrase the story. So it is.",
        "We would, of course, embroider this. So it is.",
        "How would a physician get there? So it is.",
    ],
)
def test_a_writer_who_was_told_shows_it(trace: str) -> None:
    assert shows_that_it_was_told(trace, NOTE)


@pytest.mark.parametrize(
    "trace",
    [
        "The patient was told that the disc is worn. So it is.",
        "He is full code. So it is.",
        "The findings support a root. The best code is one for discs.",
        "The diagnosis was made late. So it is.",
        "The diagnosis we must not miss is an abscess. So it is.",
        "A diagnosis of infection was given at the clinic. So it is.",
        "As instructed by his surgeon, he stopped aspirin. The outcome was good. So it is.",
        "Pain fits. The diagnosis is a worn disc.",
        "I would still weigh a fracture, and we cannot exclude an abscess. So it is.",
        "Troponin I rose, and he has type I diabetes. So it is.",
    ],
)
def test_words_about_the_patient_show_nothing(trace: str) -> None:
    assert not shows_that_it_was_told(trace, NOTE)


def test_numbers_are_read_with_units_separators_and_without_labels() -> None:
    assert numbers("T 38.50, WBC 12,000, 92%, 120/80, 10mg, L5, 3-day course.\n1. First\n2. Second") == {
        38.5, 12000, 92, 120, 80, 10, 3,
    }  # fmt: skip
    assert numbers_of_note("two doses of 5 mg") == {2, 5}


def test_the_second_of_two_similar_traces_is_left_out_and_an_unlike_one_is_kept() -> None:
    trace = " ".join(f"word{'abcdefghijklmnopqrstuvwxyz'[place % 26]}{'xyz'[place % 3]}" for place in range(60))
    seen = Seen(0.8)
    assert seen.add(trace)
    assert not seen.add(trace + " more")
    assert seen.add("Something else entirely, with other words and another end.")
