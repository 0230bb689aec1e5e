"""`deepicd icd10`: titles, years and places in the tree of codes, or the codes whose titles have some words."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from deepicd import icd10 as table
from deepicd.completion import as_code
from deepicd.errors import UserError
from deepicd.icd10.titles import nearest_codes, nearest_words, search

_WIDTH = 80
_LONGEST = 20
"""Characters of a mistyped code that a message shows."""
_LABEL = 10
_ICD9 = re.compile(r"[0-9]{3}(\.[0-9]{1,2})?")
_CODE = 9  # the longest has 8 characters with its dot


def icd10(
    query: Annotated[list[str], typer.Argument(help="Codes, or words of a title.", metavar="CODE|WORDS")],
    limit: Annotated[int, typer.Option(min=1, help="Most codes to show for a search.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: a list of codes.")] = False,
) -> None:
    """Look up ICD-10-CM codes of any release from FY2016 to FY2026, or search titles for words.

    Shows for each code the title, the fiscal years in which it was billable or a header, its path and its children. Words
    may be incomplete: `disc disor` finds "disc disorder".

    Example: deepicd icd10 M51.16
    """
    words = " ".join(query).split()
    if not words:
        raise UserError("CODE|WORDS: is empty: give codes, or words of a title")
    codes = [code for code in map(as_code, words) if code is not None]
    if len(codes) < len(words):
        _refuse_mixed(words)
        found = _search(" ".join(words))
        if as_json:
            typer.echo(json.dumps([_facts(code) for code in found[:limit]], indent=2))
        else:
            typer.echo("\n".join(_listed(found, limit)))
        return
    for code in codes:
        _check(code)
    if as_json:
        typer.echo(json.dumps([_facts(code) | _place(code) for code in codes], indent=2))
    else:
        typer.echo("\n\n".join("\n".join(_code(code)) for code in codes))


def _refuse_mixed(words: Sequence[str]) -> None:
    """Raise for words of which one is an existing code, or has the form of one of ICD-9-CM and starts no word of a title."""
    for word in words:
        code = as_code(word)
        if code is not None and table.is_valid(code):
            raise UserError(f"words: {word} is a code and others are not: give only codes, or only words of a title")
        if _ICD9.fullmatch(word) and nearest_words(word):
            raise UserError(f"code: {word} is formatted like an ICD-9-CM code: give one of ICD-10-CM, or words of its title")


def _check(code: str) -> None:
    if not table.is_valid(code):
        alike = ", ".join(map(table.display, nearest_codes(code)))
        remedy = f"nearest are {alike}" if alike else "search for words of its title"
        raise UserError(f"code: {table.display(code)} is in no release of {table.RELEASES}: {remedy}")


def _facts(code: str) -> dict[str, Any]:
    """A code for JSON; years are fiscal, the first and the last."""
    era = table.era(code)
    spans = {"billable": era.billable, "header": era.header}
    years = {name: [span[0], span[-1]] if span else None for name, span in spans.items()}
    return {"code": code, "display": table.display(code), "title": table.description(code)} | years


def _place(code: str) -> dict[str, Any]:
    """A code's place in the tree, for JSON."""
    chapter, block = table.chapter(code), table.block(code)
    return {
        "chapter": {"number": chapter, "title": table.chapter_title(chapter)},
        "block": {"name": block, "title": table.block_title(block)},
        "ancestors": list(reversed(table.ancestors(code))),
        "children": list(table.children(code)),
    }


def _code(code: str) -> Iterator[str]:
    era, block, chapter = table.era(code), table.block(code), table.chapter(code)
    yield from _entry("", code, table.description(code))
    yield f"{'billable':<{_LABEL}}{_years(era.billable)}"
    if era.header:
        yield f"{'header':<{_LABEL}}{_years(era.header)}"
    yield from _wrapped("path", f"{chapter:<{_CODE}}", table.chapter_title(chapter))
    yield from _wrapped("", f"{block:<{_CODE}}", table.block_title(block))
    for above in reversed(table.ancestors(code)):
        yield from _entry("", above, table.description(above), indent=_LABEL)
    below = table.children(code)
    for place, child in enumerate(below):
        yield from _entry("children" if place == 0 else "", child, _title(child), indent=_LABEL)
    if not below:
        yield f"{'children':<{_LABEL}}none"


def _search(text: str) -> Sequence[str]:
    found = search(text)
    if not found:
        if len(text.split()) == 1 and any(sign.isdigit() for sign in text):
            raise UserError(f"code: {text[:_LONGEST]} is not formatted like an ICD-10-CM code, such as M51.16: correct it")
        hints = [
            f"no title has {word}, the nearest word is {alike}" if alike else f"replace {word}, which no title has"
            for word, alike in nearest_words(text).items()
        ]
        raise UserError(f"words: no title has all of these words: {'; '.join(hints) or 'give fewer words, or a code'}")
    return found


def _listed(found: Sequence[str], limit: int) -> Iterator[str]:
    for code in found[:limit]:
        yield from _entry("", code, _title(code))
    if len(found) > limit:
        yield f"{limit} of {len(found):,} shown: add a word, or give --limit"


def _title(code: str) -> str:
    """The title, and in brackets why the code is not billable in the newest release."""
    era = table.era(code)
    if table.LAST_YEAR in era.billable:
        return table.description(code)
    state = [f"billable {_years(era.billable)}"] if era.billable else []
    if era.header:
        state.append("header" if table.LAST_YEAR in era.header else f"header {_years(era.header)}")
    return f"{table.description(code)} [{', '.join(state)}]"


def _years(years: range) -> str:
    if not years:
        return "never"
    return f"FY{years[0]}" if len(years) == 1 else f"FY{years[0]} to FY{years[-1]}"


def _entry(label: str, code: str, title: str, *, indent: int = 0) -> Iterator[str]:
    yield from _wrapped(label, f"{table.display(code):<{_CODE}}", title, indent=indent)


def _wrapped(label: str, name: str, text: str, *, indent: int = _LABEL) -> Iterator[str]:
    """Lines of at most 80 columns: label, name, and the text in its own column."""
    head = f"{label:<{indent}}{name} "
    yield from textwrap.wrap(text, _WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
