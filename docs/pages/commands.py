"""The page about the commands, from their help texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from deepicd.cli.main import cli
from deepicd.cli.program import EXAMPLE, default_of, named
from deepicd_operator.main import cli as operator_cli
from docs.pages.markdown import cell


def commands_page() -> str:
    """Return the page: every command with its arguments and options."""
    programs = (("deepicd", cli), ("deepicd-operator", operator_cli))
    parts = "".join(_command(path, each) for name, app in programs for path, each in commands(app, name))
    return f"# Commands\nThe text of `--help`. Exit codes: see [a run, in depth](../run.md#what-can-go-wrong).\n{parts}"


def commands(app: typer.Typer, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the commands of a program with their full names, including those in groups."""

    def below(path: str, command: Any) -> Iterator[tuple[str, Any]]:
        yield path, command
        for child, each in getattr(command, "commands", {}).items():
            yield from below(f"{path} {child}", each)

    return below(name, typer.main.get_command(app))


def _command(path: str, command: Any) -> str:
    about, example = [], ""
    for paragraph in (command.help or "").split("\n\n"):
        if paragraph.startswith(EXAMPLE):
            example = f"Example:\n\n```sh\n{paragraph.removeprefix(EXAMPLE).strip().strip('`')}\n```\n"
        else:
            about.append(paragraph.replace("<", "&lt;"))
    if hasattr(command, "commands"):
        return f"\n## {path}\n" + "\n\n".join(about) + "\n"
    usage = command.get_usage(typer.Context(command, info_name=path)).removeprefix("Usage: ")
    rows = "".join(_parameter(each) for each in command.params)
    table = f"\n| argument, option | default | meaning |\n|---|---|---|\n{rows}" if rows else ""
    text = "\n\n".join(about)
    return f"\n### {path}\n{text}\n\n```sh\n{' '.join(usage.split())}\n```\n{table}\n{example}"


def _parameter(parameter: Any) -> str:
    default = "required" if parameter.required else default_of(parameter)
    return f"| {cell(f'`{named(parameter)}`')} | {cell(default)} | {cell(parameter.help or '')} |\n"
