import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepicd.errors import UserError
from deepicd.evaluation.external import read, read_counts
from deepicd.evaluation.predictions import Prediction

GOOD = {"id": 20000001, "subject_id": "10000001", "gold": "m51.16", "prediction": " i10 "}


def line(**changed: object) -> bytes:
    return json.dumps(GOOD | changed).encode()


def test_codes_and_ids_are_normalised_and_faults_are_not_known() -> None:
    assert read([line(), b"\n", line(id="x", prediction=None)]) == [
        Prediction("20000001", "10000001", "M5116", "I10", None),
        Prediction("x", "10000001", "M5116", None, None),
    ]


@pytest.mark.parametrize("answer", ["", "hypertension", "The answer is I10", "ı10"])
def test_an_answer_without_the_form_of_a_code_is_none(answer: str) -> None:
    assert read([line(prediction=answer)])[0].prediction is None


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1]", "is not a JSON object"),
        (b'{"id": 1, "subject_id": 2, "gold": "I10"}', "prediction: is missing"),
        (line(gold=None), "gold: is null, not a code"),
        (line(gold="I1O"), 'gold: "I1O" is not an ICD-10-CM code'),
        (line(prediction=10), "prediction: is 10, not a code"),
        (line(prediction=["I10"]), r"prediction: is \[\"I10\"\], not a code"),
        (line(subject_id=True), "subject_id: is true, not an id"),
        (line(subject_id=1.5), "subject_id: is 1.5, not an id"),
        (line(subject_id=""), "subject_id: has 0 characters"),
        (line(id="x" * 65), "id: has 65 characters"),
        (line(gold="M51"), 'gold: "M51" is a header in every release'),
        (line(gold="M51169"), 'gold: "M51169" is not an ICD-10-CM code'),
        (line(local_gold=1), "local_gold: is 1, neither true nor false"),
        (line(gold="M51", local_gold=True), 'gold: "M51" is a header in every release'),
        (line(gold="none", local_gold=True), 'gold: "none" is not an ICD-10-CM code'),
        (line(fiscal_years=2017), r"fiscal_years: is not \[first, last\]"),
        (line(fiscal_years=[2017, True]), r"fiscal_years: is not \[first, last\]"),
        (line(fiscal_years=[2020, 2017]), "fiscal_years: the first year is after the last"),
        (line(), "id: is also that of line 1"),
    ],
)
def test_a_bad_line_is_named_with_its_field(bad: bytes, message: str) -> None:
    with pytest.raises(UserError, match=f"^input line 2: {message}"):
        read([line(), bad])


@pytest.mark.parametrize("field", ["id", "subject_id", "gold", "prediction"])
@pytest.mark.parametrize("value", ["CANARY has chest pain " * 9, ["CANARY has pain"], {"note": "CANARY"}])
def test_nothing_longer_than_a_code_is_quoted(field: str, value: object) -> None:
    if field == "prediction" and isinstance(value, str):
        assert read([line(prediction=value)])[0].prediction is None
        return
    with pytest.raises(UserError, match=field) as caught:
        read([line(**{field: value})])
    assert "CANARY" not in str(caught.value)


def test_an_empty_input_is_refused() -> None:
    with pytest.raises(UserError, match="has no readable predictions"):
        read([b"\n", b"  \n"])


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps).map(str.encode))
def test_any_line_is_a_prediction_or_a_user_error(content: bytes) -> None:
    with contextlib.suppress(UserError):
        assert len(read([content])) == 1


def test_training_counts_of_one_code_written_twice_add_up(tmp_path: Path) -> None:
    (tmp_path / "counts.json").write_text('{"m51.16": 2, "M5116": 3, "I10": 0}')
    assert read_counts(tmp_path / "counts.json") == {"M5116": 5, "I10": 0}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "not an object"),
        ("{", "is not JSON"),
        ('{"I1O": 1}', '"I1O" is not an ICD-10-CM code'),
        ('{"I10": -1}', "-1 is not a count"),
        ('{"I10": true}', "true is not a count"),
    ],
)
def test_bad_training_counts_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "counts.json"
    with pytest.raises(UserError, match="No such file"):
        read_counts(path)
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_counts(path)


def test_years_and_local_codes_are_read() -> None:
    [record] = read([line(gold="zz9.99", local_gold=True, fiscal_years=[2017, 2020])])
    assert (record.gold, record.local_gold, record.fiscal_years) == ("ZZ999", True, (2017, 2020))


def test_a_code_that_a_release_has_is_not_local_whatever_the_line_says() -> None:
    assert not read([line(local_gold=True)])[0].local_gold
