"""Headers of the stay in the middle of a line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepicd.data import sections
from deepicd.data.headers import Header
from deepicd.data.mid_line import later_header
from tests.unit.data.summaries import summary

LATER = (
    "Hospital Course", "HOSPITAL COURSE", "Hospital course by problem", "Brief Hospital Course", "Summary of Hospital Course",
    "Hospital Course/Summary", "Course in Hospital", "Hospital Course ", "Discharge Diagnosis", "Discharge Diagnoses",
    "Discharge Dx", "Discharge Condition", "Discharge Instructions", "Discharge Disposition", "Transitional Issues",
    "Followup Instructions", "MICU Course", "ICU course", "Assessment and Plan", "Assessment/Plan", "A/P", "BHC",
)  # fmt: skip
EARLIER = (
    "Outside Hospital Course", "OSH Hospital Course", "Hospital Course at OSH", "Prior Hospital Course", "Past Hospital Course",
    "Pre-hospital course", "ED Course", "Treatment Course", "Time Course", "Clinical Course", "Course", "Antibiotic course",
    "Follow-up MRI", "Discharge weight", "Discharge Weight", "Discharge Summary from ___", "Prior Discharge Dx", "Disposition",
    "Plan", "New Medications", "Working diagnosis", "Chronic issues", "Procedures", "Initial labs",
)  # fmt: skip
SIGNS = (". ", ".", " - ", " -- ", " – ", "; ", ".  ", "   ", "\t", " **", " (", " | ", " • ", ": ", "! ")
BEFORE = st.lists(
    st.sampled_from(
        ["she", "was", "given", "fluids,", "98.6", "and", "admitted", "with", "cough", "71F", "Sepsis", "to", "home,"]
    ),
    min_size=6,  # words of a short line would be read as part of a header at its start
    max_size=30,
).map(" ".join)


@given(BEFORE, st.sampled_from(SIGNS), st.sampled_from(LATER), st.sampled_from(["\n", "\r\n", "\r"]))
def test_nothing_behind_a_header_of_the_stay_is_taken(before: str, sign: str, header: str, end: str) -> None:
    text = f"History of Present Illness:\nKEPT {before} admitted{sign}{header}: LATE she did well. LATE{end}LATE"
    kept = sections.render(sections.extract(text))
    assert "LATE" not in kept
    assert kept.startswith(f"History of Present Illness: KEPT {' '.join(before.split())}")


@given(BEFORE, st.sampled_from(SIGNS), st.sampled_from(EARLIER))
def test_headers_of_an_earlier_time_are_text(before: str, sign: str, header: str) -> None:
    text = summary(present=f"History of Present Illness:\nKEPTa {before} seen{sign}{header}: KEPTb then KEPTc worse.\nKEPTd")
    kept = sections.render(sections.extract(text))
    assert all(word in kept for word in ("KEPTa", "KEPTb", "KEPTc", "KEPTd", "KEPTpast", "KEPTexam"))
    assert "LATE" not in kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Sent to the floor Hospital Course: x", "Sent to the floor "),
        ("Sent to the floor, Hospital Course: x", "Sent to the floor, "),
        ("Seen at the Outside Hospital Course: x", None),
        ("Seen at Mercy Hospital Course: x", None),
        ("Seen at St. Mary Hospital Course: x", None),
        ("Given during her Hospital Course: x", None),
        ("Given in a long Hospital Course: x", None),
        ("He was admitted last month. Discharge diagnosis: gout", None),
        ("He was admitted last month. Discharge Diagnosis: gout", "He was admitted last month. "),
        ("Sent from ___. hospital course: x", None),
        ("Sent to OSH. Hospital course: x", None),
        ("Sent from OSH. Hospital Course: x", "Sent from OSH. "),
        ("Hospital Course: x", None),  # at the start of a line, others decide
        ("Pain of sudden onset. Course: worse", None),
        ("Cough:\nfever. Hospital Course: x", "Cough:\nfever. "),
        ("She was well, Brief Hospital Course: x", "She was well, "),
    ],
)
def test_what_counts_as_a_header_in_mid_line(text: str, kept: str | None) -> None:
    found = later_header(text, 0, len(text))
    assert (None if found is None else text[: found[0]]) == kept


@pytest.mark.parametrize(
    "line",
    [
        "Hospital Course - LATE", "HOSPITAL COURSE -- LATE", "Brief Hospital Course\tLATE", "Hospital Course  LATE",
        "HOSPITAL COURSE LATE", "**Hospital Course** - LATE", "[Hospital Course] LATE", "[Hospital Course]: LATE",
        '"Hospital Course": LATE', "4. Hospital Course: LATE", "(4) Hospital Course: LATE",
    ],
)  # fmt: skip
def test_a_line_of_the_hospital_course_needs_no_colon(line: str) -> None:
    text = summary(
        present=f"History of Present Illness:\nShe had a cough for a week and was KEPTa admitted.\n{line} she was well."
    )
    kept = sections.render(sections.extract(text))
    assert "LATE" not in kept
    assert "KEPTa" in kept


@pytest.mark.parametrize(
    "text",
    [
        "She was in the same state as after the\nHospital Course - KEPTb of last year.",
        "Hospital Course was KEPTb described in a letter.",
        "The Hospital Course - KEPTb in short - was slow.",
    ],
)
def test_the_hospital_course_within_a_sentence_is_text(text: str) -> None:
    assert "KEPTb" in sections.render(sections.extract(f"HPI: She came from a nursing home.\n{text}\nPMH: gout\n"))


def test_a_course_of_a_ward_hides_text_up_to_the_next_section() -> None:
    text = "HPI: Cough. MICU Course: LATE intubated.\nPMH: gout\nPhysical Exam: pale\nBrief Hospital Course: LATE"
    found = sections.parse(text)
    assert found.sections == {Header.PRESENT_ILLNESS: "Cough.", Header.PAST_HISTORY: "gout", Header.PHYSICAL_EXAM: "pale"}
    assert found.cut[Header.PRESENT_ILLNESS] == len("MICU Course: LATE intubated.\n")


def test_only_the_given_part_of_a_text_is_searched() -> None:
    text = "a. Hospital Course: b. Hospital Course: c"
    assert later_header(text, 5, len(text)) == (23, Header.AFTER_ADMISSION)
    assert later_header(text, 0, 10) is None
