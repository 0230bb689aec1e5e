"""Headers of discharge summaries."""

from __future__ import annotations

import pytest

from deepicd.data.headers import Header, header


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Chief Complaint", Header.CHIEF_COMPLAINT),
        ("CC", Header.CHIEF_COMPLAINT),
        ("Reason for Admission", Header.CHIEF_COMPLAINT),
        ("History of Present Illness", Header.PRESENT_ILLNESS),
        ("HISTORY OF PRESENTING ILLNESS", Header.PRESENT_ILLNESS),
        ("HPI", Header.PRESENT_ILLNESS),
        ("History of the Present Illness (per admitting team)", Header.PRESENT_ILLNESS),
        ("PMH", Header.PAST_HISTORY),
        ("PMHx", Header.PAST_HISTORY),
        ("PMH/PSH", Header.PAST_HISTORY),
        ("Past Medical Hx", Header.PAST_HISTORY),
        ("Past Medical/Surgical History", Header.PAST_HISTORY),
        ("Past Medical and Surgical History", Header.PAST_HISTORY),
        ("PAST PSYCHIATRIC HISTORY", Header.PAST_HISTORY),
        ("Past Surgical History", Header.PAST_HISTORY),
        ("Medications on Admission", Header.MEDICATIONS),
        ("Meds on admission", Header.MEDICATIONS),
        ("Preadmission medications", Header.MEDICATIONS),
        ("HOME MEDICATIONS", Header.MEDICATIONS),
        ("Allergies", Header.ALLERGIES),
        ("Allergies/ADRs on File", Header.ALLERGIES),
        ("PE", Header.PHYSICAL_EXAM),
        ("Physical Exam", Header.PHYSICAL_EXAM),
        ("PHYSICAL EXAMINATION ON ADMISSION", Header.PHYSICAL_EXAM),
        ("Admission PE", Header.PHYSICAL_EXAM),
        ("Family History", Header.FAMILY_HISTORY),
        ("FHx", Header.FAMILY_HISTORY),
        ("Social History", Header.SOCIAL_HISTORY),
        ("SH", Header.SOCIAL_HISTORY),
        ("Major Surgical or Invasive Procedure", Header.OTHER),
        ("Discharge Date", Header.OTHER),
        ("DISCHARGE SUMMARY", Header.OTHER),
        ("Pertinent Results", Header.RESULTS),
        ("ADMISSION LABS", Header.REPORT),
        ("Brief Hospital Course", Header.AFTER_ADMISSION),
        ("HOSPITAL COURSE BY PROBLEM", Header.AFTER_ADMISSION),
        ("Summary of Hospital Course", Header.AFTER_ADMISSION),
        ("MICU course", Header.STAY),
        ("DISCHARGE PHYSICAL EXAM", Header.AFTER_ADMISSION),
        ("Discharge Diagnosis", Header.AFTER_ADMISSION),
        ("Discharge Diagnoses", Header.AFTER_ADMISSION),
        ("Discharge Medications", Header.AFTER_ADMISSION),
        ("D/C Meds", Header.AFTER_ADMISSION),
        ("Physical Exam on Discharge", Header.AFTER_ADMISSION),
        ("Exam at time of discharge", Header.AFTER_ADMISSION),
        ("On discharge", Header.AFTER_ADMISSION),
        ("Labs prior to discharge", Header.AFTER_ADMISSION),
        ("PHYSICAL EXAM ON TRANSFER TO FLOOR", Header.STAY),
        ("Transfer exam", Header.STAY),
        ("Principal Diagnosis", Header.DOUBTFUL),
        ("Transitional Issues", Header.AFTER_ADMISSION),
        ("ACTIVE ISSUES", Header.DOUBTFUL),
        ("Disposition", Header.DOUBTFUL),
        ("Assessment and Plan", Header.STAY),
        ("HPI/Hospital Course", Header.STAY),
        ("Summary of events prior to floor transfer", Header.STAY),
        ("Outside Hospital Course", Header.PART),
        ("ED Course", Header.PART),
        ("Follow-up MRI", Header.PART),
        ("Discharge weight", Header.PART),
        ("Vitals prior to transfer", Header.REPORT),
        ("FINDINGS", Header.REPORT),
        ("Labs notable for", Header.REPORT),
        ("___ of Present Illness", Header.PRESENT_ILLNESS),
        ("___ Medical History", Header.PAST_HISTORY),
        ("Pertinent ___", Header.RESULTS),
        ("___ Medications", Header.DOUBTFUL),
        ("Followup Instructions", Header.AFTER_ADMISSION),
    ],
)
def test_a_header_before_a_colon_is_known_in_its_variants(words: str, kind: Header) -> None:
    assert header(words, colon=True) is kind


@pytest.mark.parametrize(
    "words", ["HEENT", "General", "In the ED, initial vitals", "ROS", "Mother", "Over the course of a week he noted"]
)
def test_other_words_before_a_colon_are_text(words: str) -> None:
    assert header(words, colon=True) is None


@pytest.mark.parametrize("words", ["PE", "CC", "discharge home", "history", "Discharge home with visiting nurse in a day"])
def test_a_line_without_colon_that_may_be_wrapped_text_is_no_header(words: str) -> None:
    assert header(words, colon=False) is None


@pytest.mark.parametrize("words", ["cc", "pe", "sh"])
def test_a_short_name_in_small_letters_is_no_header(words: str) -> None:
    assert header(words, colon=True) is None


@pytest.mark.parametrize("words", ["Discharge exam", "BRIEF HOSPITAL COURSE", "Discharge Physical Exam", "Family History"])
def test_a_header_alone_on_its_line_needs_no_colon(words: str) -> None:
    assert header(words, colon=False) is not None
