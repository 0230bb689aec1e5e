"""Reading files of notes."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepicd.data.note_files import read
from deepicd.errors import UserError
from deepicd.spec.data import NotesSource

CANARY = "zebracanary"
Rows = Sequence[Mapping[str, Any]]
ROW: dict[str, Any] = {"id": "a1", "patient_id": "p1", "note": "back pain", "code": "M51.16"}


def write(path: Path, rows: Rows, columns: Sequence[str] | None = None) -> Path:
    """Write rows in the format of the file's name."""
    names = list(columns or rows[0])
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind == "parquet":
        pq.write_table(pa.table({name: [row[name] for row in rows] for name in names}), path)
        return path
    text = io.StringIO(newline="")
    if kind == "csv":
        writer = csv.DictWriter(text, names)
        writer.writeheader()
        writer.writerows(rows)
    else:
        text.writelines(json.dumps(row) + "\n" for row in rows)
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def values(path: Path | str, **columns: str) -> list[dict[str, str | None]]:
    return [dict(row.values) for row in read(NotesSource(file=str(path), columns=columns))]


def refusal(path: Path | str, **columns: str) -> str:
    with pytest.raises(UserError) as caught:
        values(path, **columns)
    message = str(caught.value)
    assert CANARY not in message
    assert "\n" not in message
    return message


NAMES = ("notes.parquet", "notes.csv", "notes.csv.gz", "notes.jsonl", "notes.jsonl.gz")
# What JSON, CSV and UTF-8 can all hold: no lone surrogates, and no NUL, which a CSV reader may refuse.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)


@pytest.mark.parametrize("name", NAMES)
@given(rows=st.lists(st.fixed_dictionaries({"note": TEXT, "code": TEXT, "race": TEXT}), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_written_is_read_in_every_format(tmp_path: Path, name: str, rows: Rows) -> None:
    written = [{"id": str(number), "patient_id": "p", **row} for number, row in enumerate(rows)]
    expected = [
        {
            **row,
            "note": row["note"] if row["note"].strip() else None,
            "code": row["code"].strip() or None,
            "race": row["race"].strip() or None,
        }
        for row in written
    ]
    assert values(write(tmp_path / name, written)) == expected


@pytest.mark.parametrize("name", NAMES)
@given(data=st.binary(max_size=200))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert "\n" not in refusal(path)


@pytest.mark.parametrize("name", NAMES)
@given(place=st.integers(min_value=0), replacement=st.binary(max_size=3))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_shows_no_text(tmp_path: Path, name: str, place: int, replacement: bytes) -> None:
    path = write(tmp_path / name, [{**ROW, "id": str(number), "note": f'{CANARY}, "{number}"\n'} for number in range(3)])
    data = path.read_bytes()
    place %= len(data)
    path.write_bytes(data[:place] + replacement + data[place + 1 :])
    shown = ""
    try:
        values(path)
    except UserError as error:
        shown = str(error)
    assert CANARY not in shown


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    for name in ("notes.csv", "notes.jsonl"):
        path = write(tmp_path / name, [ROW])
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        assert values(path) == [ROW]


def test_numbers_become_ids_without_a_decimal_point(tmp_path: Path) -> None:
    rows = [{**ROW, "id": 7, "patient_id": 8.0, "age": 63.0}]
    for name in ("notes.parquet", "notes.jsonl"):
        (row,) = values(write(tmp_path / name, rows))
        assert (row["id"], row["patient_id"], row["age"]) == ("7", "8", "63")


def test_categories_and_long_texts_of_parquet_are_text(tmp_path: Path) -> None:
    table = pa.table({
        "id": pa.array(["a1"], pa.large_string()),
        "patient_id": pa.array([1], pa.uint64()),
        "note": pa.array(["x"]).dictionary_encode(),
        "code": pa.array(["I10"]).dictionary_encode(),
        "race": pa.nulls(1),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "notes.parquet")
    assert values(tmp_path / "notes.parquet") == [{"id": "a1", "patient_id": "1", "note": "x", "code": "I10", "race": None}]


def test_codes_that_are_numbers_in_parquet_are_refused_by_type(tmp_path: Path) -> None:
    message = refusal(write(tmp_path / "notes.parquet", [{**ROW, "code": 25000}]))
    assert message.endswith(
        "notes.parquet: column code is of type int64, not text: ICD-10-CM codes begin with a letter, and numbers lose zeros: "
        "write it as text"
    )


@pytest.mark.parametrize(("name", "value"), [("note", b"x"), ("id", True), ("patient_id", ["p"]), ("split", 1)])
def test_a_column_of_another_type_is_refused_by_name(tmp_path: Path, name: str, value: Any) -> None:
    assert f"column {name} is of type" in refusal(write(tmp_path / "notes.parquet", [{**ROW, name: value}]))


@pytest.mark.parametrize(("name", "value"), [("code", 25000), ("note", [CANARY]), ("id", True), ("age", {"a": CANARY})])
def test_a_json_value_of_another_type_is_refused_by_line(tmp_path: Path, name: str, value: Any) -> None:
    path = write(tmp_path / "notes.jsonl", [ROW, {**ROW, name: value}])
    assert refusal(path) == f"{path}: line 2: column {name} is not text: write it as text"


def test_half_a_character_is_refused_by_line(tmp_path: Path) -> None:
    assert "line 1: column note has half a character" in refusal(write(tmp_path / "notes.jsonl", [{**ROW, "note": "\ud800"}]))


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_column_is_named_with_those_found_and_the_remedy(tmp_path: Path, name: str) -> None:
    rows = [{"visit": "a1", "patient_id": "p1", "note": CANARY, "code": "I10"}]
    path = write(tmp_path / name, rows)
    assert refusal(path) == (
        f"{path}: has no column id, only visit, patient_id, note, code: "
        "name each by `columns` in run.yaml (id: NAME) or by --column id=NAME"
    )
    assert values(path, id="visit") == [{"id": "a1", "patient_id": "p1", "note": CANARY, "code": "I10"}]


@pytest.mark.parametrize("name", NAMES)
def test_a_mapped_column_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    message = refusal(write(tmp_path / name, [ROW]), sex="gender")
    assert "has no column gender, only" in message or "column gender is in no line" in message


def test_a_first_row_that_is_no_header_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_text(f'a1,p1,"Chief complaint: {CANARY}, worse",I10\n')
    assert "only a1, p1, I10 and 1 others" in refusal(path)


def test_a_column_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("id,patient_id,note,code,note\na,p,x,I10,y\n")
    assert "column note occurs twice" in refusal(tmp_path / "notes.csv")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f'a2,p1,"{CANARY}" {CANARY},I10', "row 3: its quotes are broken"),
        (f'a2,p1,"{CANARY},I10', "row 3: its quotes are broken"),
        (f"a2,p1,{CANARY}, {CANARY},I10", "row 3: has 5 cells, the header has 4"),
        (f"a2,p1,{CANARY}", "row 3: has 3 cells, the header has 4"),
    ],
)
def test_a_broken_row_of_csv_is_named_by_number(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "notes.csv"
    path.write_text(f'id,patient_id,note,code\na1,p1,"two\nlines",I10\n{line}\n')
    assert message in refusal(path)


@pytest.mark.parametrize("line", [f'{{"id": "{CANARY}"', f'["{CANARY}"]', "null", "[" * 100_000])
def test_a_broken_line_of_json_is_named_by_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text(f"{json.dumps(ROW)}\n\n{line}\n")
    assert "notes.jsonl: line 3: is not " in refusal(path)


def test_a_key_that_a_line_of_json_has_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text(f'{json.dumps(ROW)[:-1]}, "note": "{CANARY}"}}\n')
    assert "line 1: 'note' is given twice: keep one of them" in refusal(path)


@pytest.mark.parametrize(
    ("name", "where"), [("notes.csv", "row 3: is not UTF-8 text"), ("notes.jsonl", "line 2: is not JSON in UTF-8")]
)
def test_text_that_is_not_utf8_is_named_by_row(tmp_path: Path, name: str, where: str) -> None:
    path = write(tmp_path / name, [ROW, {**ROW, "note": f"{CANARY} MARK"}])
    path.write_bytes(path.read_bytes().replace(b"MARK", "größer".encode("latin-1")))
    assert where in refusal(path)


def test_text_of_parquet_that_is_not_utf8_is_named_by_rows(tmp_path: Path) -> None:
    broken = pa.array([b"a1", b"\xff" + CANARY.encode()]).view(pa.string())
    pq.write_table(
        pa.table({"id": ["1", "2"], "patient_id": ["p", "p"], "note": broken, "code": ["I10", "I10"]}), tmp_path / "n.parquet"
    )
    assert "rows 1 to 2: text that is not UTF-8" in refusal(tmp_path / "n.parquet")


def test_a_packed_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    for name in ("notes.csv.gz", "notes.jsonl.gz"):
        path = write(tmp_path / name, [{**ROW, "note": CANARY * 100}])
        path.write_bytes(path.read_bytes()[:-9])
        assert "cut off or damaged" in refusal(path)


@pytest.mark.parametrize("name", ["notes.csv", "notes.jsonl"])
def test_an_empty_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    assert str(tmp_path / name) in refusal(tmp_path / name)


def test_a_pattern_names_several_files_in_their_order(tmp_path: Path) -> None:
    write(tmp_path / "notes-2.jsonl", [{**ROW, "id": "b"}])
    write(tmp_path / "notes-1.csv", [{**ROW, "id": "a"}])
    assert [row["id"] for row in values(tmp_path / "notes-*")] == ["a", "b"]


def test_several_files_and_patterns_are_read_in_their_order_each_file_once(tmp_path: Path) -> None:
    for name in ("b.csv", "a-1.jsonl", "a-2.parquet"):
        write(tmp_path / name, [{**ROW, "id": name}])
    source = NotesSource(files=tuple(str(tmp_path / name) for name in ("b.csv", "a-*", "a-2.parquet")))
    assert [row["id"] for row in read(source)] == ["b.csv", "a-1.jsonl", "a-2.parquet"]


def test_a_missing_one_of_several_files_is_named_before_any_is_read(tmp_path: Path) -> None:
    (tmp_path / "broken.csv").write_text("x")
    source = NotesSource(files=(str(tmp_path / "broken.csv"), str(tmp_path / "absent.csv")))
    with pytest.raises(UserError, match=r"absent\.csv: no such file"):
        next(read(source))


@pytest.mark.parametrize("name", ["notes.csv", "notes.csv.gz", "notes.jsonl"])
def test_lines_may_end_in_cr_alone(tmp_path: Path, name: str) -> None:
    rows = [{**ROW, "note": "two\nlines"}, {**ROW, "id": "a2", "note": "x" * 3_000_000}]
    path = write(tmp_path / name, rows)
    pack, unpack = (gzip.compress, gzip.decompress) if name.endswith(".gz") else (bytes, bytes)
    path.write_bytes(pack(unpack(path.read_bytes()).replace(b"\r\n", b"\r").replace(b"}\n", b"}\r")))
    assert values(path) == rows


def test_a_broken_row_between_cr_is_named_by_number(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_bytes(b"id,patient_id,note,code\ra1,p1,x,I10\ra2,p1,x\r")
    assert "row 3: has 3 cells, the header has 4" in refusal(path)


def test_missing_files_and_other_kinds_are_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "none-*.csv")
    (tmp_path / "notes.xlsx").write_text("x")
    assert "is not a .parquet, .csv, .csv.gz, .jsonl or .jsonl.gz file" in refusal(tmp_path / "notes.xlsx")
