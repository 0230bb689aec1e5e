import json
from pathlib import Path

import pytest

from deepicd.errors import UserError
from deepicd.rewards import words
from deepicd.rewards.cohort_words import CohortWords, count, of_run, read
from deepicd.rewards.rarity import weight_of

ENGLISH = "He came with a cough and was treated for this at the clinic."
GERMAN = "Er kam mit Husten und wurde deshalb in der Praxis behandelt."


def weight(cohort: CohortWords, word: str) -> float:
    return float(cohort.rarity(words.split([word]).stems)[0])


def test_a_word_counts_once_a_patient_by_the_first_note() -> None:
    notes = [(patient, f"cough cough {'gout' if patient == 0 else ''}") for patient in range(6)]
    assert dict(count([*notes, *[(0, "gout gout")] * 20]).words) == {"cough": 6}


def test_words_of_fewer_than_5_patients_or_of_5_percent_are_not_kept() -> None:
    four = [(patient, "cough smith") if patient < 4 else (patient, "cough") for patient in range(10)]
    assert dict(count(four).words) == {"cough": 10}
    many = [(patient, "cough smith") if patient < 9 else (patient, "cough") for patient in range(200)]
    assert dict(count(many).words) == {"cough": 200}


def test_nothing_but_the_first_six_letters_of_words_is_kept() -> None:
    found = count((patient, "Pneumonia 12.3.2150 mrn 4711 é") for patient in range(9))
    assert dict(found.words) == {"mrn": 9, "pneumo": 9}


def test_more_than_a_batch_of_notes_is_counted() -> None:
    assert count((patient, "cough") for patient in range(600)) == CohortWords(600, 0, {"cough": 600})


def test_a_word_weighs_less_the_more_patients_have_it() -> None:
    assert [weight_of(share) for share in (0, 0.05, 0.4, 1)] == [1, 1, 0.25, 0.25]
    cohort = CohortWords(1000, 1000, {"cough": 700, "gout": 140, "lumbar": 60})
    assert weight(cohort, "cough") == 0.25 < weight(cohort, "gout") < weight(cohort, "lumbar") < weight(cohort, "rusty") == 1


def test_the_cohorts_counts_replace_the_shipped_list_from_100_patients_on() -> None:
    assert weight(CohortWords(100, 100, {"gout": 80}), "cough") == 1
    assert weight(CohortWords(99, 99, {"gout": 80}), "cough") == 0.25


@pytest.mark.parametrize(("english", "german", "scored"), [(2, 1, True), (1, 1, True), (1, 2, False), (0, 0, True)])
def test_a_cohort_is_english_where_half_of_its_notes_are(english: int, german: int, scored: bool) -> None:
    assert count(enumerate([ENGLISH] * english + [GERMAN] * german)).is_english is scored


def test_what_is_written_is_read(tmp_path: Path) -> None:
    cohort = CohortWords(9, 8, {"cough": 7, "gout": 5})
    (tmp_path / "prepare").mkdir()
    assert of_run(tmp_path) is None
    cohort.write(tmp_path / "prepare" / "words.json")
    assert of_run(tmp_path) == cohort


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "[" * 100_000,
        '{"patients": 1}',
        json.dumps({"patients": 9, "english": 9, "words": {"cough": "many"}}),
        json.dumps({"patients": 100, "english": 9, "words": {"": 5}}),
        json.dumps({"patients": 100, "english": 9, "words": {"\u65e5": 5}}),
        json.dumps({"patients": 9, "english": 10, "words": {}}),
        json.dumps({"patients": 9, "english": 9, "words": {"cough": 10}}),
    ],
)
def test_a_file_that_holds_no_counts_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "words.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"words[.]json: has no counts of a cohort's words: give the words[.]json"):
        read(path)
    with pytest.raises(UserError, match=r"missing[.]json: No such file"):
        read(tmp_path / "missing.json")
