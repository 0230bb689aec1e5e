"""Finds the codes in an answer that is not just a bare code: quoted, bold, labelled, or next to its description.

A piece of text counts as a code

* if ICD-10-CM has it: `NSTEMI (I21.4)`, `"I214"`, `I21.4*`, `I21,4`. A word such as `B12` does not count: no release has it.
* if it has its dot in the right place (`**I21.49**`), or if it is the only word (`**I2149**`): then it need not exist.

From each place, a search looks at a bounded stretch of text, so time is linear in the text's length.
"""

from __future__ import annotations

import html
import re
import unicodedata

from deepicd import icd10

# No letter or digit may adjoin a code. Underscores may: Markdown puts them around words. So may letters of scripts without
# capitals, such as Chinese, where no space is between words: _PLAIN makes them spaces.
_START, _END = r"(?<![^\W_])", r"(?![^\W_]|\.[0-9])"
_CATEGORY = r"[A-Za-z](?:[0-9][0-9A-Za-z]|[A-Za-z][0-9])"
_CANDIDATE = re.compile(rf"{_START}[A-Za-z]\.?(?:[0-9]\.?[0-9A-Za-z]|[A-Za-z]\.?[0-9])")
_DOTTED = re.compile(rf"{_CATEGORY}\.[0-9A-Z]{{1,4}}")
# Dots in any place: `I2.14`, `I21..4`, `T81.4.XXA`.
_WITH_DOTS = re.compile(rf"[A-Za-z]\.?(?:[0-9]\.?[0-9A-Za-z]|[A-Za-z]\.?[0-9])(?:\.{{0,2}}[0-9A-Za-z]){{0,4}}{_END}")
# Another sign instead of the dot, or space beside the dot: `I21,4`, `I21-4`, `I21. 4`.
_WITH_SIGN = re.compile(rf"({_CATEGORY})(?:\s{{0,2}}\.\s{{0,2}}|[,:;_'/\N{{EN DASH}}-])([0-9A-Za-z]{{1,4}}){_END}")
# Only the end of a second code of the same category: `I21.4/9`, `I21.0-4`.
_ANOTHER_END = re.compile(rf"[/&+\N{{EN DASH}}-]\.?([0-9][0-9A-Za-z]{{0,3}}){_END}")
# The letter apart from its digits, within words: `NSTEMI (I 21.4)`.
_APART = re.compile(rf"{_START}([A-Z])\s{{1,2}}([0-9][0-9A-Z]\.[0-9A-Z]{{1,4}}){_END}")
_NO_WORDS = re.compile(r"[\W_]+")
# HTML's `&#46;` and `&quot;`; bounded, since a number of thousands of digits is an error.
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]{1,31});")
_ESCAPED_BREAK, _ESCAPED_DOT = re.compile(r"\\[nrt](?![a-z])"), re.compile(r"\\(?=[.,])")
_SHORTEST, _LONGEST = 3, 7
_DOTS = "·•‧∙⋅・。｡٫\N{GREEK ANO TELEIA}\N{WORD SEPARATOR MIDDLE DOT}"
# Cyrillic and Greek letters that look like Latin ones.
_LOOKALIKES = dict(zip("АВСЕНІЈКМОРЅТХУасеіјорѕхуΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABCEHIJKMOPSTXYaceijopsxyABEZHIKMNOPTYXo", strict=True))
_SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉"


def written_codes(text: str) -> tuple[str, ...]:
    """The distinct codes that a text names, normalised, in the order of the text. Some may not exist.

    Args:
        text: the content of a diagnosis tag, of any length and content.
    """
    if "&" in text:
        text = _ENTITY.sub(lambda found: html.unescape(found[0]), text)
    if "\\" in text:
        text = _ESCAPED_DOT.sub("", _ESCAPED_BREAK.sub(" ", text))
    text = text if text.isascii() else text.translate(_PLAIN)
    found = tuple(dict.fromkeys(_search(text)))
    if len(found) > 1 or (found and len(found[0]) > _SHORTEST and icd10.is_billable(found[0])):
        return found  # a category or another header may be the start of a longer code
    # The whole text, or its part after a label: `I 21.4`, `Code: I21 4`, `**I2149**`.
    place = max(text.rfind(":"), text.rfind("=")) + 1
    for value in (text, text[place:]):
        code = _NO_WORDS.sub("", value).upper()
        if _SHORTEST <= len(code) <= _LONGEST and icd10.is_valid(code):
            return (code,)
    return found or _apart(text) or _alone(text)


def _search(text: str) -> list[str]:
    found = []
    place = 0
    while candidate := _CANDIDATE.search(text, place):
        code, place = _read(text, candidate.start())
        if code is None:
            continue
        found.append(code)
        if (more := _ANOTHER_END.match(text, place)) and icd10.is_valid(another := code[:_SHORTEST] + more[1].upper()):
            found.append(another)
            place = more.end()
    return found


def _read(text: str, start: int) -> tuple[str | None, int]:
    """The code that starts at `start`, or None, and where to continue the search."""
    dotted = _WITH_DOTS.match(text, start)
    if dotted and icd10.is_valid(code := icd10.normalise(dotted[0])) and len(code) > _SHORTEST:
        return code, dotted.end()
    signed = _WITH_SIGN.match(text, start)
    if signed and icd10.is_valid(joined := (signed[1] + signed[2]).upper()) and not icd10.is_valid(signed[2].upper()):
        return joined, signed.end()
    if dotted and (icd10.is_valid(code) or _DOTTED.fullmatch(dotted[0])):
        return code, dotted.end()
    return None, start + 1


def _apart(text: str) -> tuple[str, ...]:
    codes = (letter + icd10.normalise(rest) for letter, rest in _APART.findall(text))
    return tuple(dict.fromkeys(filter(icd10.is_valid, codes)))


def _alone(text: str) -> tuple[str, ...]:
    """A code that no release has, if only signs and space surround it."""
    found = _CANDIDATE.search(text)
    code = found and _WITH_DOTS.match(text, found.start())
    if not code or _NO_WORDS.sub("", text[: code.start()] + text[code.end() :]):
        return ()
    return (icd10.normalise(code[0]),)


class _Plain(dict[int, str]):
    """For `str.translate`: drops invisible characters, and maps variants and lookalikes of ASCII to ASCII."""

    def __missing__(self, number: int) -> str:
        character = chr(number)
        kind = unicodedata.category(character)
        plain = character
        if character in _DOTS:
            plain = "."
        elif character in _LOOKALIKES:
            plain = _LOOKALIKES[character]
        elif kind in {"Cf", "Mn", "Me"}:
            plain = ""
        elif kind == "Nd" or character in _SUBSCRIPTS:
            plain = str(unicodedata.digit(character))
        elif kind in {"No", "Lo"}:  # the number of a footnote or a list item; a letter without a capital
            plain = " "
        elif (same := unicodedata.normalize("NFKC", character)).isascii() and len(same) == 1:
            plain = same
        self[number] = plain
        return plain


_PLAIN = _Plain()
