from pathlib import Path

import pytest
from pyarrow import parquet

from deepicd.errors import UserError
from deepicd.evaluation.predictions import Prediction, read, valid_answers, write

RECORDS = {
    "base": [
        Prediction("20000001", "10000001", "M5116", None, ("no_diagnosis", "truncated"), -1.0, {"outcome": 0.0}),
        Prediction("20000002", "10000002", "I10", "I101", ("unknown_code",), 0.25, {"outcome": 0.0, "format": 1.0}),
    ],
    "grpo": [Prediction("20000001", "10000001", "ZZ999", "M5116", None, None, fiscal_years=(2017, 2020), local_gold=True)],
}


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write(tmp_path / "predictions.parquet", RECORDS)
    assert read(tmp_path / "predictions.parquet") == RECORDS
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.parquet"]


def test_the_file_has_ids_codes_and_names_only(tmp_path: Path) -> None:
    write(tmp_path / "predictions.parquet", RECORDS)
    columns = parquet.read_schema(tmp_path / "predictions.parquet").names
    assert columns == [
        "model",
        "id",
        "subject_id",
        "gold",
        "prediction",
        "faults",
        "reward",
        "terms",
        "fiscal_years",
        "local_gold",
        "samples",
        "confidence",
        "variants",
    ]


TEXT = "CANARY patient has chest pain"


@pytest.mark.parametrize(
    "record",
    [
        Prediction(TEXT, "1", "I10", "I10"),
        Prediction("1", TEXT, "I10", "I10"),
        Prediction("1", "1", TEXT, "I10"),
        Prediction("1", "1", "I10", TEXT),
        Prediction("1", "1", "I10", "I10", (TEXT,)),
        Prediction("1", "1", "I10", "I10", (), 1.0, {TEXT: 1.0}),
    ],
    ids=["id", "subject_id", "gold", "prediction", "faults", "terms"],
)
def test_text_is_refused_and_not_quoted(tmp_path: Path, record: Prediction) -> None:
    with pytest.raises(ValueError, match="predictions: ") as caught:
        write(tmp_path / "predictions.parquet", {"base": [record]})
    assert "CANARY" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_missing_cut_or_of_other_columns_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    with pytest.raises(UserError, match="does not exist"):
        read(path)
    write(path, RECORDS)
    table = parquet.read_table(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="not a readable Parquet file"):
        read(path)
    parquet.write_table(table.drop(["gold", "terms"]), path)
    with pytest.raises(UserError, match="lacks column gold, terms"):
        read(path)


def test_a_file_of_an_earlier_version_has_neither_years_nor_local_codes(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    write(path, RECORDS)
    parquet.write_table(parquet.read_table(path).drop_columns(["fiscal_years", "local_gold"]), path)
    assert {(one.fiscal_years, one.local_gold) for records in read(path).values() for one in records} == {(None, False)}


def test_a_prediction_may_be_right_if_it_was_ever_billable_or_is_a_local_gold_code() -> None:
    def answer(prediction: str | None, gold: str = "I10", *, local: bool = False) -> Prediction:
        return Prediction("1", "1", gold, prediction, local_gold=local)

    records = [answer("K859"), answer("M54"), answer("K8599"), answer("ZZ999", "ZZ999", local=True), answer(None)]
    assert valid_answers(records) == ["K859", None, None, "ZZ999", None]
