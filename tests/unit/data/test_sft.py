"""SFT examples from a cohort and traces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepicd import prompt
from deepicd.data import sft
from deepicd.errors import UserError

if TYPE_CHECKING:
    from tests.unit.data.conftest import Hospital

CANARY = "zebracanary"


@pytest.fixture
def train(hospital: Hospital) -> Path:
    hospital.write().extract()
    return hospital.folder / "out" / "train.parquet"


def admissions(train: Path) -> list[str]:
    found: list[str] = pq.read_table(train).column("id").to_pylist()
    return found


def traces(folder: Path, by_admission: dict[str, str]) -> Path:
    path = folder / "traces.jsonl"
    lines = [json.dumps({"id": admission, "trace": trace}) for admission, trace in by_admission.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_an_example_is_the_prompt_and_the_answer(train: Path, tmp_path: Path) -> None:
    first = admissions(train)[0]
    counts = sft.write(train, traces(tmp_path, {first: "pain."}), tmp_path / "sft.parquet")
    (row,) = pq.read_table(tmp_path / "sft.parquet").to_pylist()
    assert row == {
        "messages": [
            *prompt.messages("Chief Complaint: back pain"),
            {"role": "assistant", "content": "<think>\npain.</think>\n<diagnosis>M5116</diagnosis>"},
        ],
        "id": first,
        "subject_id": pq.read_table(train)["subject_id"][0].as_py(),
    }
    assert counts == sft.Examples(
        traces=1, written=1, untagged=0, empty=0, tagged=0, elsewhere=0, without_trace=len(admissions(train)) - 1
    )


def test_examples_keep_the_order_of_the_cohort(train: Path, tmp_path: Path) -> None:
    order = admissions(train)
    sft.write(train, traces(tmp_path, dict.fromkeys(reversed(order), "x")), tmp_path / "sft.parquet")
    assert admissions(tmp_path / "sft.parquet") == order


@pytest.mark.parametrize(
    ("trace", "empty", "tagged"),
    [
        ("", 1, 0), ("  ", 1, 0), ("<THINK>", 1, 0), ("<think> </think>", 1, 0),
        ("so </think> then", 0, 1), ("it is <diagnosis>A00</diagnosis>", 0, 1),
        ("<think>x</think>\n<diagnosis>A00</diagnosis>", 0, 1), ("<think><think>x</think></think>", 0, 1),
    ],
)  # fmt: skip
def test_a_trace_that_would_break_the_answer_is_left_out_and_counted(
    train: Path, tmp_path: Path, trace: str, empty: int, tagged: int
) -> None:
    first, second = admissions(train)[:2]
    counts = sft.write(train, traces(tmp_path, {first: trace, second: "good"}), tmp_path / "sft.parquet")
    assert (counts.written, counts.empty, counts.tagged, counts.traces) == (1, empty, tagged, 2)


@pytest.mark.parametrize(
    ("trace", "text"),
    [
        ("<think>pain.</think>", "pain."),
        (" <think>pain.", "pain."),
        ("pain.</think>\n", "pain."),
        ("<Think>\na\nb\n</THINK>", "a\nb"),
    ],
)
def test_think_tags_around_a_trace_are_taken_off(train: Path, tmp_path: Path, trace: str, text: str) -> None:
    first, second = admissions(train)[:2]
    counts = sft.write(train, traces(tmp_path, {first: trace, second: "good"}), tmp_path / "sft.parquet")
    assert (counts.written, counts.untagged) == (2, 1)
    row = pq.read_table(tmp_path / "sft.parquet").to_pylist()[0]
    assert row["messages"][-1]["content"].startswith(f"<think>\n{text}</think>\n<diagnosis>")


def test_traces_of_other_admissions_are_counted_apart(train: Path, tmp_path: Path) -> None:
    counts = sft.write(train, traces(tmp_path, {admissions(train)[0]: "x", "1": "y", "2": "z"}), tmp_path / "sft.parquet")
    assert (counts.traces, counts.written, counts.elsewhere) == (3, 1, 2)


def test_counts_are_read_back_and_those_of_an_earlier_version_are_unknown(tmp_path: Path) -> None:
    counts = sft.Examples(traces=7, written=1, untagged=1, empty=1, tagged=2, elsewhere=3, without_trace=4)
    counts.write(tmp_path / "traces.json")
    assert sft.Examples.read(tmp_path / "traces.json") == counts
    assert sft.Examples.read(tmp_path / "none.json") is None


def test_traces_of_other_admissions_only_are_an_error(train: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has a usable trace \(1 traces: 1 of other admissions, 0 empty"):
        sft.write(train, traces(tmp_path, {"1": "x"}), tmp_path / "sft.parquet")
    assert not (tmp_path / "sft.parquet").exists()


@pytest.mark.parametrize(
    "line",
    [
        '{"id": 1',
        f'["{CANARY}"]',
        '{"id": 1.5, "trace": "x"}',
        '{"id": 1}',
        '{"id": true, "trace": ""}',
        '{"trace": "x"}',
    ],
)
def test_a_bad_line_is_named_by_number_without_its_text(train: Path, tmp_path: Path, line: str) -> None:
    path = tmp_path / "traces.jsonl"
    path.write_text(f'{{"id": 5, "trace": "x"}}\n\n{line}\n')
    with pytest.raises(UserError, match=r"traces\.jsonl: line 3:? is not") as caught:
        sft.write(train, path, tmp_path / "sft.parquet")
    assert CANARY not in str(caught.value)


def test_an_admission_with_two_traces_is_refused(train: Path, tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    path.write_text('{"id": 5, "trace": "x"}\n{"hadm_id": 5, "trace": "x"}\n')
    with pytest.raises(UserError, match="line 2: its id already has a trace"):
        sft.write(train, path, tmp_path / "sft.parquet")


def test_a_trace_may_name_its_admission_by_hadm_id_or_by_a_number(train: Path, tmp_path: Path) -> None:
    first, second = admissions(train)[:2]
    path = tmp_path / "traces.jsonl"
    path.write_text(f'{{"id": 0, "hadm_id": {first}, "trace": "x"}}\n{{"id": {second}, "trace": "y"}}\n')
    assert sft.write(train, path, tmp_path / "sft.parquet").written == 2


def test_a_cohort_of_an_earlier_version_is_keyed_by_hadm_id(train: Path, tmp_path: Path) -> None:
    first = admissions(train)[0]
    table = pq.read_table(train)
    old = table.append_column("hadm_id", table["id"].cast(pa.int64())).drop_columns(["id"])
    pq.write_table(old, train)
    sft.write(train, traces(tmp_path, {first: "x"}), tmp_path / "sft.parquet")
    assert admissions(tmp_path / "sft.parquet") == [first]


def test_missing_files_are_named(train: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.jsonl: no such file"):
        sft.write(train, tmp_path / "none.jsonl", tmp_path / "sft.parquet")
    with pytest.raises(UserError, match=r"none\.parquet: no such file"):
        sft.write(tmp_path / "none.parquet", traces(tmp_path, {"1": "x"}), tmp_path / "sft.parquet")


def test_traces_that_are_not_text_are_refused(train: Path, tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(UserError, match="not UTF-8"):
        sft.write(train, path, tmp_path / "sft.parquet")


@pytest.mark.parametrize(("begin", "end"), [("\ufeff", "\n"), ("", "\r\n"), ("\ufeff", "\r\n")])
def test_files_as_windows_writes_them_are_read(train: Path, tmp_path: Path, begin: str, end: str) -> None:
    path = tmp_path / "traces.jsonl"
    lines = [json.dumps({"id": admission, "trace": "good"}) for admission in admissions(train)[:2]]
    path.write_bytes((begin + end.join([*lines, ""])).encode())
    sft.look(path)
    assert sft.write(train, path, tmp_path / "sft.parquet").written == 2


def test_half_of_a_character_is_named_by_its_line(train: Path, tmp_path: Path) -> None:
    path = traces(tmp_path, {admissions(train)[0]: f"{CANARY} \ud800"})
    with pytest.raises(UserError, match=r"line 1: trace: has half of a character .*, which cannot be stored") as error:
        sft.write(train, path, tmp_path / "sft.parquet")
    assert CANARY not in str(error.value)


def test_a_folder_for_the_traces_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read .Is a directory.: give the JSON-lines file of traces"):
        sft.look(tmp_path)


def test_a_cohort_file_without_prompts_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"hadm_id": [1], "code": ["A00"]}), tmp_path / "train.parquet")
    with pytest.raises(UserError, match="column prompt, subject_id is missing"):
        sft.write(tmp_path / "train.parquet", traces(tmp_path, {"1": "x"}), tmp_path / "sft.parquet")


def test_a_damaged_cohort_file_is_refused(train: Path, tmp_path: Path) -> None:
    train.write_bytes(train.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"train\.parquet"):
        sft.write(train, traces(tmp_path, {"1": "x"}), tmp_path / "sft.parquet")
