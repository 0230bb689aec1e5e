"""What the programs `deepicd` and `deepicd-operator` share: plain help, `--version`, and 64 for a command line in error."""

from __future__ import annotations

import inspect
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from importlib.metadata import version
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from typer.core import TyperCommand, TyperGroup

from deepicd.errors import ExitCode
from deepicd.spec.wording import expected

EXAMPLE = "Example: "
"""How the last paragraph of a command's help begins."""
_USAGE = 2
"""Exit code of typer for a command line that it does not understand."""
_TYPES = {int: "N", float: "X"}
"""What the help shows as a value of these types; a text or a path needs a metavar."""
_EXAMPLE_WIDTH = 74
_WIDEST = 30
"""Of the column of options: the text of a longer one begins below it."""


class _Plain:
    """Help as plain text, complete at 80 columns. typer's own tables cut long names of options."""

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        for paragraph in paragraphs(self):
            formatter.write_paragraph()
            if paragraph.startswith(EXAMPLE):
                lines = textwrap.wrap(paragraph.removeprefix(EXAMPLE), _EXAMPLE_WIDTH, break_on_hyphens=False)
                formatter.write(f"{EXAMPLE.strip()}\n  " + " \\\n    ".join(lines) + "\n")
            else:
                formatter.write_text(paragraph)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        parameters = [each for each in self.get_params(ctx) if not getattr(each, "hidden", False)]  # type: ignore[attr-defined]
        for heading, kind in (("Arguments", "argument"), ("Options", "option")):
            _write(formatter, heading, [(named(each), meaning(each)) for each in parameters if each.param_type_name == kind])
        panels: dict[str, list[tuple[str, str]]] = {}
        for name, command in getattr(self, "commands", {}).items():
            about = paragraphs(command)[0].partition(". ")[0].rstrip(".")
            panels.setdefault(command.rich_help_panel or "Commands", []).append((name, about))
        for heading, rows in panels.items():
            _write(formatter, heading, rows)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]  # type: ignore[misc]

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        try:
            return super().parse_args(ctx, args)  # type: ignore[misc]
        except typer.BadParameter as error:
            if isinstance(error.__cause__, ValidationError):
                error.message = expected(error.__cause__.errors(include_url=False)[0])
            raise


class Command(_Plain, TyperCommand):
    """A command."""


class Group(_Plain, TyperGroup):
    """A group of commands."""


class Program(typer.Typer):
    """A program, or a group of its commands."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            cls=Group,
            no_args_is_help=True,
            rich_markup_mode=None,
            pretty_exceptions_enable=False,
            context_settings={"help_option_names": ["-h", "--help"]},
            **settings,
        )

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        """See `typer.Typer.command`."""
        return super().command(name, cls=Command, **settings)


def add_version(program: Program, name: str) -> None:
    """Give a program the option `--version`."""

    def show(asked: bool) -> None:
        if asked:
            typer.echo(f"{name} {version('deepicd')}")
            raise typer.Exit

    asked = typer.Option("--version", callback=show, is_eager=True, help="Print the version.")

    def root(version: bool = False) -> None:
        pass

    root.__annotations__["version"] = Annotated[bool, asked]
    program.callback()(root)


def call(program: Program) -> None:
    """Run a command line. Raises SystemExit unless it succeeded: 64 if it is not understood, 141 if nobody reads its output."""
    try:
        program()
    except SystemExit as left:
        if left.code == _USAGE:
            sys.exit(ExitCode.USER_ERROR)
        if isinstance(left.__context__, BrokenPipeError):  # typer exits with 1
            sys.exit(ExitCode.BROKEN_PIPE)
        if left.code:
            raise
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would try again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.BROKEN_PIPE)


def paragraphs(command: Any) -> list[str]:
    """The paragraphs of a command's help, each on one line, without the marks for code."""
    text = inspect.cleandoc(command.help or "").replace("`", "")
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


def named(parameter: Any) -> str:
    """An option's names and its value's, or an argument's name, as the help shows them."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar)
    names = ", ".join(sorted(parameter.opts, key=len))
    if parameter.is_flag:
        return " / ".join([names, *parameter.secondary_opts])
    return f"{names} {value_of(parameter)}"


def value_of(parameter: Any) -> str:
    """What stands for an option's value: `FILE`, `N`, `none|admission`."""
    if parameter.metavar is not None:
        return str(parameter.metavar)
    described = parameter.type_descriptor
    if described.choices is not None:
        return "|".join(str(choice.value if isinstance(choice, Enum) else choice) for choice in described.choices)
    return _TYPES[described.annotation]


def meaning(parameter: Any) -> str:
    """A parameter's help, with its bounds and its default in brackets."""
    notes = "; ".join(_notes(parameter))
    help_text = (parameter.help or "").replace("`", "")
    return f"{help_text} [{notes}]" if notes else help_text


def _notes(parameter: Any) -> Iterator[str]:
    if parameter.min is not None and parameter.max is not None:
        yield f"{parameter.min} to {parameter.max}"
    elif parameter.min is not None:
        yield f"at least {parameter.min}"
    if parameter.envvar is not None:
        yield f"or ${parameter.envvar}"
    if parameter.required:
        yield "required"
    elif default := default_of(parameter):
        yield f"default: {default}"


def default_of(parameter: Any) -> str:
    """A parameter's default as the help shows it; empty if there is nothing to say."""
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    value = parameter.default
    if not parameter.show_default or value is None or value is False or value == []:
        return ""
    if value is True:
        return str(parameter.opts[0])
    return str(value.value if isinstance(value, Enum) else value)


def _write(formatter: Any, heading: str, rows: Sequence[tuple[str, str]]) -> None:
    if rows:
        with formatter.section(heading):
            formatter.write_dl(rows, col_max=_WIDEST)
