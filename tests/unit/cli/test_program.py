"""What `deepicd` and `deepicd-operator` share: help, the version, and the exit code of a command line in error."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from deepicd.cli.main import app, cli
from deepicd.cli.program import EXAMPLE
from deepicd_operator.main import app as operator_app
from deepicd_operator.main import cli as operator_cli
from docs.pages.commands import commands

PROGRAMS = {"deepicd": cli, "deepicd-operator": operator_cli}
TREE = [(program, path, command) for name, program in PROGRAMS.items() for path, command in commands(program, name)]
WIDTH = 80


def left(line: str, monkeypatch: pytest.MonkeyPatch) -> object:
    """The exit code of a command line, run in this process."""
    monkeypatch.setattr(sys, "argv", line.split())
    with pytest.raises(SystemExit) as error:
        (operator_app if line.startswith("deepicd-operator") else app)()
    return error.value.code


def shown(program: typer.Typer, path: str, option: str = "--help") -> str:
    result = CliRunner().invoke(program, [*path.split()[1:], option], env={"COLUMNS": str(WIDTH)})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(("program", "path", "command"), TREE, ids=[path for _, path, _ in TREE])
def test_help_is_whole_at_80_columns(program: typer.Typer, path: str, command: Any) -> None:
    text = shown(program, path)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "`" not in text
    words = text.split()
    for parameter in command.params:
        names = [*parameter.opts, *parameter.secondary_opts] if parameter.param_type_name == "option" else [parameter.metavar]
        assert {*names} <= {word.rstrip(",") for word in words}, names
        assert parameter.help, f"{names} has no help"
    for about in (command.help, *(parameter.help for parameter in command.params)):
        for word in about.replace("`", "").replace(EXAMPLE, "").split():
            assert word in text or "-" in word, word


@pytest.mark.parametrize(("program", "path", "command"), TREE, ids=[path for _, path, _ in TREE])
def test_values_of_options_have_names_and_no_types(program: typer.Typer, path: str, command: Any) -> None:
    options = shown(program, path).partition("\nOptions:")[2].partition("\nCommands:")[0]
    for line in options.splitlines():
        head = line.strip().partition("  ")[0]
        if head.startswith("-"):
            value = head.split(" ")[-1]
            assert value.startswith("-") or value.isupper() or "|" in value or value == "NAME=COLUMN", head


@pytest.mark.parametrize(("program", "path", "command"), TREE, ids=[path for _, path, _ in TREE])
def test_h_is_help(program: typer.Typer, path: str, command: Any) -> None:
    assert shown(program, path, "-h") == shown(program, path)


def test_a_long_example_is_broken_as_a_shell_takes_it() -> None:
    text = shown(cli, "deepicd predict")
    assert "deepicd predict --model runs/quickstart/stages/grpo/model < notes.jsonl > \\\n    codes.jsonl\n" in text


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_version_is_printed(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert left(f"{name} --version", monkeypatch) == 0
    assert capsys.readouterr().out == f"{name} {version('deepicd')}\n"


@pytest.mark.parametrize(
    "line",
    [
        "deepicd nothing", "deepicd --nothing", "deepicd run", "deepicd run a b", "deepicd data nothing",
        "deepicd artifacts get",
        "deepicd reward --preset nothing", "deepicd icd10 --limit 0 M51", "deepicd predict --model", "deepicd-operator nothing",
        "deepicd-operator run --nothing", "deepicd-operator run --port x", "deepicd-operator run --log-level loud",
        "deepicd", "deepicd-operator",
    ],
)  # fmt: skip
def test_a_command_line_that_is_not_understood_ends_with_64(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert left(line, monkeypatch) == 64
    printed = capsys.readouterr()
    assert re.search("^(Usage|Error): ", printed.err + printed.out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["data", "synthetic", "--out", "x", "--admissions", "many"], 'must be a whole number (got "many")'),
        (["data", "synthetic", "--out", "x", "--admissions", "0"], "must be at least 1"),
        (["data", "mimic", "--hosp", "x", "--note", "x", "--out", "x", "--train", "x"], 'must be a number (got "x")'),
    ],
)
def test_a_wrong_value_is_named_in_our_words(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(cli, arguments)
    assert words in result.stderr
    assert "nput should" not in result.stderr


PRINTS = """
import sys
from deepicd.cli.program import Program, call
program = Program()
@program.command()
def prints() -> None:
    sys.stdout.write("x" * {})
call(program)
"""


@pytest.mark.parametrize("characters", [1, 1_000_000])
def test_a_program_whose_reader_has_gone_ends_as_by_sigpipe(characters: int) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as output:
        done = subprocess.run(
            [sys.executable, "-c", PRINTS.format(characters)], check=False, stdout=output, stderr=subprocess.PIPE
        )
    assert (done.returncode, done.stderr) == (141, b"")


def test_completion_can_be_shown() -> None:
    command = [str(Path(sys.executable).with_name("deepicd")), "--show-completion", "bash"]
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    assert "complete -o default" in subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
