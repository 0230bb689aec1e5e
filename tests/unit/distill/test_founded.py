from __future__ import annotations

from deepicd.distill.founded import Later, Note, Support, later_part

NOTE = (
    "Chief Complaint: shortness of breath\nHistory of Present Illness: ___ y/o man with rusty sputum and pleuritic pain for 3 "
    "days, T 38.9. Denies hemoptysis.\nPast Medical History: HTN, CAD"
)
END = " This fits pneumonia."


def support(trace: str, later: Later | None = None) -> Support:
    return Note(NOTE, "Lobar pneumonia", later or Later(frozenset(), frozenset())).support(trace + END)


def test_a_trace_of_the_notes_findings_is_supported() -> None:
    found = support("Came in short of breath with rusty sputum, pleuritic pain and a temperature of 38.9. No hemoptysis.")
    assert (found.unfounded, found.contradictions, found.unknown_numbers, found.later) == (0, 0, 0, 0)
    assert found.findings > 3


def test_shorthand_of_the_note_supports_its_long_form() -> None:
    assert support("Known hypertension and coronary artery disease.").unfounded == 0


def test_an_invented_finding_is_unfounded() -> None:
    found = support("Has rusty sputum, pleuritic pain and palmar erythema.")
    assert (found.findings, found.unfounded) == (3, 1)


def test_a_denied_finding_that_is_affirmed_contradicts_and_the_reverse() -> None:
    assert support("The patient has hemoptysis.").contradictions == 1
    assert support("There is no pleuritic pain.").contradictions == 1


def test_numbers_must_be_in_the_note_or_the_title() -> None:
    assert support("Temperature 39.4.").unknown_numbers == 1
    assert support("For three days, 3 in all.").unknown_numbers == 0
    assert Note(NOTE, "Chronic kidney disease, stage 4").support("Stage 4 fits. So it is.").unknown_numbers == 0


def test_what_only_the_later_part_has_is_found() -> None:
    later = later_part(NOTE, "Hospital course: bronchoscopy showed a foreign body. WBC 18.4.")
    assert "bronchoscopy" in later.words
    assert "sputum" not in later_part(NOTE, "rusty sputum again").words
    assert support("Bronchoscopy showed a foreign body.", later).later >= 1
    assert support("It was 18.4.", later).later == 1
    assert support("Rusty sputum and pleuritic pain.", later).later == 0


def test_later_parts_are_written_and_read_without_loss() -> None:
    later = later_part("a", "bronchoscopy 4.5")
    assert Later.from_json(later.to_json()) == later


def test_words_of_the_title_need_no_support() -> None:
    assert support("Lobar consolidation.").unfounded == 1
    assert support("A lobar pneumonia.").findings == 0
