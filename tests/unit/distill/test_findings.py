from __future__ import annotations

import pytest

from deepicd.distill.findings import Finding, findings, sentences


def stated(text: str) -> list[str]:
    """Findings as text, the denied ones with a minus."""
    return [("-" if one.denied else "") + " ".join(one.words) for one in findings(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Presents with productive cough, fever and left flank pain.", ["productive cough", "fever", "left flank pain"]),
        ("Denies fever, chills or cough.", ["-fever", "-chills", "-cough"]),
        ("No fever, chills, cough.", ["-fever", "-chills", "-cough"]),
        ("Cough with no fever, dyspnea on stairs.", ["cough", "-fever", "dyspnea stairs"]),
        ("No fever but has cough.", ["-fever", "cough"]),
        ("Fever was denied.", ["-fever"]),
        ("Troponin negative, fever.", ["-troponin", "fever"]),
        ("Cultures negative for staphylococcus, yeast.", ["-cultures", "-staphylococcus", "-yeast"]),
        ("Crackles without edema.", ["crackles", "-edema"]),
        ("Rusty sputum suggests pneumonia of the lobe.", ["rusty sputum"]),
        ("Pulmonary embolism is unlikely given clear lungs.", ["clear lungs"]),
        ("An infection could look like this.", []),
        ("The pattern fits.", []),
        ("Creatinine 3.1, L5 weakness.", ["creatinine", "weakness"]),
    ],
)
def test_findings_are_stated_or_denied_and_inferences_are_none(text: str, found: list[str]) -> None:
    assert stated(text) == found


def test_a_wrapped_line_ends_no_sentence_and_a_short_one_does() -> None:
    wrapped = "The patient came to the emergency department with a cough that had\nlasted for days."
    assert len(sentences(wrapped)) == 1
    assert sentences("PMH: asthma\nMeds: none") == ["PMH: asthma", "Meds: none"]


def test_a_finding_has_words() -> None:
    assert all(one.words for one in findings("The patient has it. And so on, and on."))
    assert findings("Fever.") == [Finding(("fever",), denied=False)]
