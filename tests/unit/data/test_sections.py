"""Cutting the admission note out of a discharge summary."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepicd.data import sections
from deepicd.data.headers import ADMISSION, Header

# As the source system prints it: a blank line holds one space, lines are wrapped, removed text is `___`.
SUMMARY = """
Name:  ___                    Unit No:   ___

Admission Date:  ___              Discharge Date:   ___

Date of Birth:  ___             Sex:   F

Service: MEDICINE

Allergies:
Penicillins

Attending: ___.

Chief Complaint:
back pain

Major Surgical or Invasive Procedure:
LATER laminectomy

History of Present Illness:
___ y/o woman with pain since her last
discharge home
In the ED, initial vitals: 98.6, labs: normal.
ROS: negative

Past Medical History:
- DVT
- PE
Past Surgical History:
appendectomy

Social History:
___
Family History:
Mother with diabetes

Physical Exam:
ADMISSION PHYSICAL EXAM:
VS: 98.6
HEENT: no discharge from the eyes
DISCHARGE PHYSICAL EXAM:
LATER well

Pertinent Results:
LATER

Brief Hospital Course:
LATER
HPI: LATER
Past Medical History: LATER

Medications on Admission:
1. Aspirin 81 mg

Discharge Medications:
1. LATER

Discharge Disposition:
LATER

Discharge Diagnosis:
LATER

Discharge Condition:
LATER

Discharge Instructions:
LATER

Followup Instructions:
LATER
""".replace("\n\n", "\n \n")


def test_a_whole_summary_gives_its_admission_sections_in_order() -> None:
    assert sections.extract(SUMMARY) == {
        Header.CHIEF_COMPLAINT: "back pain",
        Header.PRESENT_ILLNESS: (
            "___ y/o woman with pain since her last\ndischarge home\n"
            "In the ED, initial vitals: 98.6, labs: normal.\nROS: negative"
        ),
        Header.PAST_HISTORY: "- DVT\n- PE\nappendectomy",
        Header.MEDICATIONS: "1. Aspirin 81 mg",
        Header.ALLERGIES: "Penicillins",
        Header.PHYSICAL_EXAM: "VS: 98.6\nHEENT: no discharge from the eyes",
        Header.FAMILY_HISTORY: "Mother with diabetes",
    }
    assert list(sections.extract(SUMMARY)) == [kind for kind in ADMISSION if kind is not Header.SOCIAL_HISTORY]


def test_nothing_written_after_admission_is_rendered() -> None:
    assert "LATER" not in sections.render(sections.extract(SUMMARY))


@pytest.mark.parametrize(
    "line",
    [
        "DISCHARGE PHYSICAL EXAM:",
        "Discharge Physical Exam",
        "Discharge exam:",
        "PHYSICAL EXAM ON DISCHARGE:",
        "Physical Exam at Discharge:",
        "On Discharge:",
        "DISCHARGE:",
        "D/C PE:",
        "VS stable. DISCHARGE EXAM: VS",
        "ADMISSION: as above. On day of discharge,",
        "Exam upon discharge notable for",
        "Transfer exam:",
        "Post-op exam:",
        "**DISCHARGE EXAM**",
        "=== Discharge Exam ===",
        "Labs:",
        "ADMISSION LABS:",
        "Pertinent Results:",
    ],
)
def test_the_exam_ends_where_a_later_exam_or_results_begin(line: str) -> None:
    found = sections.extract(f"Physical Exam:\nGen: pale\n{line}\nLATER\n")
    assert found[Header.PHYSICAL_EXAM].startswith("Gen: pale")
    assert "LATER" not in found[Header.PHYSICAL_EXAM]


@pytest.mark.parametrize("text", ["___\nFamily History:\nnone known", "___Family History: none known"])
def test_a_header_right_after_removed_text_is_seen(text: str) -> None:
    assert sections.extract(f"Social History:\n{text}\n") == {Header.FAMILY_HISTORY: "none known"}


def test_a_header_in_the_line_of_another_is_seen_after_removed_text() -> None:
    found = sections.extract("Social History: ___ Family History: father with gout\n")
    assert found == {Header.FAMILY_HISTORY: "father with gout"}


@pytest.mark.parametrize("header", ["Chief Complaint:", "CC:", "  CHIEF COMPLAINT :", "**Chief Complaint:**", "# CC:"])
def test_decorated_headers_are_seen(header: str) -> None:
    assert sections.extract(f"{header} fever\n") == {Header.CHIEF_COMPLAINT: "fever"}


def test_after_the_hospital_course_only_explicit_admission_medications_are_taken() -> None:
    course = "Brief Hospital Course:\nx\nHome medications: LATER held"
    text = f"CC: fever\n{course}\nMeds on admission:\nAspirin\nDisposition:\nLATER\n"
    assert sections.extract(text) == {Header.CHIEF_COMPLAINT: "fever", Header.MEDICATIONS: "Aspirin"}


def test_discharge_words_within_the_present_illness_do_not_end_it() -> None:
    text = "HPI: He was seen at discharge clinic.\nPurulent discharge noted.\nPMH: gout\n"
    assert sections.extract(text)[Header.PRESENT_ILLNESS].endswith("Purulent discharge noted.")


def test_windows_line_ends_make_no_difference() -> None:
    assert sections.extract(SUMMARY.replace("\n", "\r\n")) == sections.extract(SUMMARY)


@pytest.mark.parametrize(
    ("text", "empty"),
    [
        ("Physical Exam: pale\nAllergies: none\n", True),
        ("Chief Complaint:\n___\nHPI:\n\nPMH: ___ .\n", True),
        ("PMH: gout\n", False),
        ("CC: fever\n", False),
    ],
)
def test_a_note_is_empty_without_complaint_present_illness_and_history(text: str, empty: bool) -> None:
    assert sections.is_empty(sections.extract(text)) is empty


@pytest.mark.parametrize(("text", "sex"), [("Date of Birth:  ___   Sex:   M\n", "M"), ("Sex: ___\n", None), ("", None)])
def test_sex_is_read_from_the_head(text: str, sex: str | None) -> None:
    assert sections.sex(text) == sex


LINES = st.lists(
    st.one_of(
        st.sampled_from(["CC: x", "HPI:", "PMH:", "___", "PE: soft", "Physical Exam:", "Allergies:", "General: well", " "]),
        st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=40),
    ),
    max_size=12,
)


@given(
    before=LINES,
    header=st.sampled_from(["Brief Hospital Course:", "DISCHARGE DIAGNOSIS:", "Discharge Medications:", "Hospital Course"]),
    after=LINES,
)
def test_nothing_below_a_later_header_is_ever_taken(before: list[str], header: str, after: list[str]) -> None:
    text = "\n".join([*before, header, *(f"{line} LATER" for line in after)])
    assert "LATER" not in sections.render(sections.extract(text))


# What headers are made of, in any order: most of it means something to the parser.
PIECES = st.sampled_from(
    [
        "CC: x",
        "HPI:",
        "HPI: fever",
        "PMH:",
        "___",
        "Physical Exam:",
        "PE: soft",
        "Allergies:",
        "ICU course:",
        "Labs:",
        "Plan:",
        "Admission   Discharge",
        "discharge",
        "VS  98  97",
        "DISCHARGE EXAM:",
        "Pertinent Results:",
        "HISTORY:",
        "EXAMINATION: CT",
        "Medications on Admission:",
        "Discharge Medications:",
        "Brief Hospital Course:",
        "Disposition: home",
        "İ admission",
        " ",
    ]
)
TEXTS = st.one_of(
    st.text(),
    st.lists(st.tuples(PIECES | st.text(max_size=30), st.sampled_from(["\n", "\r\n", "\r", " ", "\n \n"])), max_size=30).map(
        lambda lines: "".join(line + end for line, end in lines)
    ),
)


@given(TEXTS)
def test_any_text_is_read(text: str) -> None:
    found = sections.parse(text)
    assert 0 <= found.later <= len(text)
    assert all(0 < number <= len(text) for number in found.cut.values())


@given(TEXTS)
def test_kept_text_is_a_subsequence_of_the_source(text: str) -> None:
    found = sections.parse(text)
    ends = [0, *(place for span in found.spans for place in (span.start, span.end)), len(text)]
    assert ends == sorted(ends)
    for kind, body in found.sections.items():
        source = iter("".join(text[span.start : span.end] for span in found.spans if span.kind is kind))
        assert all(letter in source for letter in body if not letter.isspace())


@given(TEXTS)
def test_behind_the_admission_part_only_medications_on_admission_are_kept(text: str) -> None:
    found = sections.parse(text)
    assert all(span.end <= found.later or span.kind is Header.MEDICATIONS for span in found.spans)


@pytest.mark.parametrize(
    "line",
    [
        "a\n",
        "HPI: a\n",
        "PE: discharge at ",
        "discharge ",
        "admi ",
        "admitted\n",
        "___ ",
        "Exam:\n",
        " ",
        "\r\n",
        "A  Discharge\n",
        "Home meds on admission: x\n",
        "Brief Hospital Course: ",
        "HISTORY: x\n",
        "last ",
        "PMH:",
        "Labs: \n",
    ],
)
def test_a_text_of_ten_times_the_length_takes_ten_times_the_steps(line: str) -> None:
    def steps(text: str) -> int:
        count = 0

        def called(*_: object) -> None:
            nonlocal count
            count += 1

        sys.setprofile(called)
        try:
            sections.extract(text)
        finally:
            sys.setprofile(None)
        return count

    head = "HPI: fever\nPhysical Exam:\npale\n"
    for start in (head, f"{head}Discharge Diagnosis:\n"):
        assert steps(start + line * 2000) <= 11 * steps(start + line * 200) + 500


@pytest.mark.parametrize("line", ["discharge ", "a  ", "___ ", "admission ", "on the transfer ", "HPI: a\n", "Exam:\n- x\n"])
def test_a_long_text_is_read(line: str) -> None:
    text = "Chief Complaint:\ncough\n\nPhysical Exam:\n" + line * (200_000 // len(line))
    assert sections.render(sections.extract(text)).startswith("Chief Complaint: cough")


def test_offsets_are_those_of_the_source() -> None:
    text = SUMMARY.replace("\n", "\r\n")
    found = sections.parse(text)
    assert text[found.later :].startswith("DISCHARGE PHYSICAL EXAM:")
    (drugs,) = (span for span in found.spans if span.kind is Header.MEDICATIONS)
    assert text[drugs.start : drugs.end].strip() == "1. Aspirin 81 mg"
    (exam,) = (span for span in found.spans if text[span.start : span.end].startswith("\r\nVS: 98.6"))
    assert text[exam.start : exam.end].strip().endswith("HEENT: no discharge from the eyes")


def test_the_later_part_begins_behind_a_table_that_has_both() -> None:
    text = "Physical Exam:\n     Admission   Discharge\nHR   110         80\nBP   90/50       118/64\nLungs clear\n"
    found = sections.parse(text)
    assert found.sections == {Header.PHYSICAL_EXAM: "Admission\nHR 110\nBP 90/50"}
    assert text[found.later :].strip() == "118/64\nLungs clear"


def test_later_text_within_a_section_is_counted_as_cut() -> None:
    text = "HPI: fever\nMICU course: intubated\nPMH: gout\nPhysical Exam:\npale\nDischarge exam: well\nPertinent Results:\nx\n"
    cut = sections.parse(text).cut
    assert cut == {Header.PRESENT_ILLNESS: len(" intubated\n"), Header.PHYSICAL_EXAM: len("Discharge exam: well\n")}
