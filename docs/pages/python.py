"""The page about the Python package, from the docstrings of what `import deepicd` offers."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from enum import EnumType
from itertools import pairwise
from typing import Any

import deepicd
from docs.pages.markdown import cell

FUNCTIONS = ("parse", "score", "metrics", "load_run")
CLASSES = ("Run", "Completion", "Fault", "Sample", "Score")
REST = (
    "## Other names\n"
    "- `RunSpec`: `spec` of a [run.yaml](run-yaml.md), as a pydantic model.\n"
    "- `UserError`: the error that all of these raise; one line with what was found and what to do.\n"
    "- `__version__`: the version of the package.\n"
)


def python_page() -> str:
    """Return the page: every function with its arguments and examples, every class with its fields."""
    parts = [_function(f"deepicd.{name}", getattr(deepicd, name)) for name in FUNCTIONS]
    parts += [_class(name, getattr(deepicd, name)) for name in CLASSES]
    _, _, about = inspect.getdoc(deepicd).partition("\n\n")  # type: ignore[union-attr]
    return "# Python\n" + "\n".join([markdown(about), *parts, _codes(), REST])


def _function(name: str, function: Any, level: str = "##") -> str:
    short = name.rpartition(".")[2]
    return f"{level} `{short}`\n```python\n{signature(name, function)}\n```\n{markdown(inspect.getdoc(function) or '')}"


def signature(name: str, function: Any) -> str:
    """Return a function's signature, on one line if it fits."""
    shown = _on_one_line(name, function)
    if len(shown) <= 100:
        return shown
    inner, _, returned = shown.removeprefix(f"{name}(").rpartition(") -> ")
    return f"{name}(\n    " + re.sub(r", (?=\w+:|\*,)", ",\n    ", inner) + f",\n) -> {returned}"


def _on_one_line(name: str, function: Any) -> str:
    found = inspect.signature(function)
    parameters = [each.replace(annotation=_Plain(each.annotation)) for each in found.parameters.values() if each.name != "self"]
    return f"{name}{found.replace(parameters=parameters, return_annotation=_Plain(found.return_annotation))}"


class _Plain(str):
    """An annotation's text, which `inspect` shows without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def _class(name: str, of: Any) -> str:
    about = markdown(inspect.getdoc(of) or "")
    meanings = _attribute_docstrings(of)
    if isinstance(of, EnumType):
        rows = "".join(f"| `{each}` | {cell(meanings[each.name])} |\n" for each in list[Any](of))
        return f"## `{name}`\n{about}\n| value | meaning |\n|---|---|\n{rows}"
    rows = "".join(
        f"| `{each.name}` | `{cell(str(each.type))}` | {cell(meanings.get(each.name, ''))} |\n"
        for each in dataclasses.fields(of)
        if not each.name.startswith("_")
    )
    table = f"| field | type | meaning |\n|---|---|---|\n{rows}"
    return f"## `{name}`\n{about}\n{table}\n" + "\n".join(_members(of))


def _members(of: Any) -> Iterator[str]:
    for name, member in vars(of).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            yield f"### `.{name}`\n{markdown(inspect.getdoc(member) or '')}"
        elif inspect.isfunction(member) and member.__doc__:
            yield _function(f"{of.__name__.lower()}.{name}", member, "###")


def _codes() -> str:
    from deepicd import icd10

    functions = [(name, member) for name in icd10.__all__ if inspect.isfunction(member := inspect.unwrap(getattr(icd10, name)))]
    rows = "".join(
        f"| `{cell(_on_one_line(name, member))}` | {cell((inspect.getdoc(member) or '').partition(chr(10) * 2)[0])} |\n"
        for name, member in functions
    )
    return f"## `icd10`\n{markdown(inspect.getdoc(icd10) or '')}\n| function | returns |\n|---|---|\n{rows}"


def _attribute_docstrings(of: Any) -> dict[str, str]:
    """The text below each field of a class."""
    [body] = (node.body for node in ast.parse(textwrap.dedent(inspect.getsource(of))).body if isinstance(node, ast.ClassDef))
    found = {}
    for field, text in pairwise(body):
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                found[field.target.id] = inspect.cleandoc(text.value.value)
            elif isinstance(field, ast.Assign) and isinstance(field.targets[0], ast.Name):
                found[field.targets[0].id] = inspect.cleandoc(text.value.value)
    return found


def markdown(docstring: str) -> str:
    """Return a docstring with its sections as lists, and its examples as code."""
    paragraphs = []
    for paragraph in re.split(r"\n\n+", docstring):
        head, _, body = paragraph.partition("\n")
        text = textwrap.dedent(body)
        if head == "Example:":
            paragraphs.append(f"```pycon\n{text}\n```")
        elif head in {"Args:", "Raises:"}:
            items = re.split(r"\n(?=\S)", text)
            lines = (re.sub(r"^([\w ]+?): *", r"- `\1`: ", " ".join(item.split())) for item in items)
            paragraphs.append(f"**{head.removesuffix(':')}**\n\n" + "\n".join(lines))
        elif head == "Returns:":
            paragraphs.append(f"**Returns** {' '.join(text.split())}")
        elif textwrap.dedent(paragraph).startswith(">>>"):
            paragraphs.append(f"```pycon\n{textwrap.dedent(paragraph)}\n```")
        else:
            paragraphs.append(paragraph)
    return "\n\n".join(paragraphs) + "\n"
