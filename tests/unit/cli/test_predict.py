"""`deepicd predict`: how a model is asked, and which part of a summary."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from deepicd.cli.predict import _output_of_vllm, admission_note, how_to_ask, read_request
from deepicd.errors import CrashError, UserError
from deepicd.prompt import DEEPICD, Asked, Prompt

OWN = Prompt("Think in <think>, answer in <diagnosis>: {note}")
FILE = "user: 'Other <think> <diagnosis>: {note}'"


def test_a_model_is_asked_as_it_was_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Asked(OWN, 100, 50).store(tmp_path)
    assert how_to_ask(tmp_path, None, None, None) == Asked(OWN, 100, 50)
    assert capsys.readouterr().err == ""


def test_a_model_without_a_stored_prompt_is_asked_with_the_preset_and_a_note_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert how_to_ask(tmp_path, None, None, None) == Asked(DEEPICD, 2048, 1024)
    assert "has no deepicd.json" in (printed := capsys.readouterr().err)
    assert "preset 'deepicd'; give --prompt" in printed


def test_the_options_come_before_what_is_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "prompt.yaml").write_text(FILE)
    Asked(OWN, 100, 50).store(tmp_path)
    assert how_to_ask(tmp_path, tmp_path / "prompt.yaml", 200, None) == Asked(
        Prompt("Other <think> <diagnosis>: {note}"), 200, 50
    )
    assert capsys.readouterr().err == ""


def test_a_prompt_file_works_for_a_model_trained_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "prompt.yaml").write_text(FILE)
    assert how_to_ask(tmp_path, tmp_path / "prompt.yaml", None, None).prompt.user == "Other <think> <diagnosis>: {note}"
    assert capsys.readouterr().err == ""


def test_an_invalid_prompt_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "prompt.yaml").write_text("user: x")
    with pytest.raises(UserError, match=r"prompt\.yaml: prompt\.user: must have \{note\} once"):
        how_to_ask(tmp_path, tmp_path / "prompt.yaml", None, None)


def test_only_the_admission_part_of_a_whole_summary_is_used() -> None:
    summary = (
        "Chief Complaint:\ncough\n\nHistory of Present Illness:\nHe came with a cough.\n\n"
        "Brief Hospital Course:\nIt was pneumonia.\n\nDischarge Diagnosis:\nPneumonia\n"
    )
    assert admission_note(summary, "admission") == "Chief Complaint: cough\nHistory of Present Illness: He came with a cough."


def test_a_text_without_an_admission_part_has_no_admission_note() -> None:
    assert admission_note("Discharge Diagnosis:\nPneumonia\n", "admission") is None


@pytest.mark.parametrize("note", ["", " \n", "\u200b\ufeff", "\0", "___ ."])
def test_a_note_without_words_is_not_asked_about(note: str) -> None:
    assert admission_note(note, "none") is None
    assert admission_note(f"{note} Husten {note}", "none") == f"{note} Husten {note}"


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"id": 1, "note": "pain \\ud800"}',
        b'{"id": 1, "note": "pain \xff"}',
        b'{"id": 1, "note": ["pain"]}',
        b'{"id": 1}',
        b'"pain"',
    ],
    ids=range(6),
)
def test_a_line_that_is_no_request_is_named_and_not_quoted(line: bytes) -> None:
    with pytest.raises(UserError, match=r"^standard input line 3: (note: )?(is|has) (not|missing|half) ?") as error:
        read_request(3, line)
    assert "pain" not in str(error.value)


def test_a_misnamed_note_is_named() -> None:
    with pytest.raises(UserError, match=r"^standard input line 3: unknown field 'Note': did you mean 'note'"):
        read_request(3, b'{"id": 1, "Note": "pain"}')


def test_what_vllm_prints_is_hidden(capfd: pytest.CaptureFixture[str]) -> None:
    with _output_of_vllm(shown=False):
        os.write(1, b"of vllm\n")
        os.write(2, b"a warning\n")
    os.write(1, b"a result\n")
    assert capfd.readouterr() == ("a result\n", "")


def test_what_vllm_prints_is_on_stderr_on_request(capfd: pytest.CaptureFixture[str]) -> None:
    with _output_of_vllm(shown=True):
        os.write(1, b"of vllm\n")
    assert capfd.readouterr() == ("", "of vllm\n")


def test_a_failure_of_vllm_names_the_log_with_what_it_printed() -> None:
    def fail() -> None:
        with _output_of_vllm(shown=False):
            os.write(2, b"a warning\n")
            raise ZeroDivisionError

    with pytest.raises(CrashError, match=r"^the model gave no answers \(ZeroDivisionError\): see .*, or give --ver") as error:
        fail()
    log = Path(str(error.value).split("see ")[1].partition(",")[0])
    assert "a warning" in log.read_text()
    assert log.stat().st_mode & 0o77 == 0
    log.unlink()


def test_an_error_of_the_user_leaves_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(UserError), _output_of_vllm(shown=False):
        raise UserError("x")
    assert [*tmp_path.iterdir()] == []


def test_a_byte_order_mark_before_a_request_is_skipped() -> None:
    assert read_request(1, b'\xef\xbb\xbf{"id": "a", "note": "pain \\u0000"}') == ("a", "pain \0")


def test_what_is_no_model_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("deepicd")), "predict", "--model", str(tmp_path)]
    result = subprocess.run(command, input=json.dumps({"id": 1, "note": "x"}), capture_output=True, text=True, check=False)
    assert result.returncode == 64
    assert "no config.json" in result.stderr
