import json
import sys
from collections.abc import Callable
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepicd import icd10
from deepicd.written_codes import written_codes

# The end of F01.A18 is a code too: with a comma for the dot, there are two.
CODES = st.sampled_from([code for code in icd10.billable_codes() if not icd10.is_valid(code[3:])])

WRAPPINGS: dict[str, Callable[[str, str], str]] = {
    "bold": lambda code, title: f"**{code}**",
    "emphasis": lambda code, title: f"_{code}_",
    "heading": lambda code, title: f"# {code}",
    "item": lambda code, title: f"- {code}",
    "numbered": lambda code, title: f"1. {code}",
    "quotes": lambda code, title: f'"{code}"',
    "typographic quotes": lambda code, title: f"„{code}“",
    "backticks": lambda code, title: f"`{code}`",
    "fence": lambda code, title: f"```\n{code}\n```",
    "brackets": lambda code, title: f"【{code}】",
    "HTML": lambda code, title: f"<b>{code}</b>",
    "LaTeX": lambda code, title: f"$\\boxed{{\\text{{{code}}}}}$",
    "JSON": lambda code, title: json.dumps({"icd10": code, "description": title}),
    "label": lambda code, title: f"ICD-10: {code}",
    "longer label": lambda code, title: f"Principal diagnosis (ICD-10-CM code) = {code}",
    "title before": lambda code, title: f"{title} ({code})",
    "title before, sentence": lambda code, title: f"The code for {title} is {code}.",
    "title after": lambda code, title: f"{code}: {title}",
    "title after a dash": lambda code, title: f"{code} - {title}",
    "title after a line": lambda code, title: f"{code}\n{title}",
    "final dot": lambda code, title: f"{code}.",
    "question": lambda code, title: f"{code}?",
    "asterisk": lambda code, title: f"{code}*",
    "dagger": lambda code, title: f"{code}†",
    "written twice": lambda code, title: f"{code} ({code.replace('.', '')})",
    "zero width": lambda code, title: code[0] + "\N{ZERO WIDTH SPACE}" + code[1:],
    "soft hyphen": lambda code, title: code[:2] + "\N{SOFT HYPHEN}" + code[2:],
    "byte order mark": lambda code, title: "\N{ZERO WIDTH NO-BREAK SPACE}" + code,
    "full width": lambda code, title: "".join(chr(ord(character) + 0xFEE0) for character in code),
    "bold letters": lambda code, title: code.replace("A", "\N{MATHEMATICAL BOLD CAPITAL A}"),
    "letters apart": lambda code, title: " ".join(code),
    "comma": lambda code, title: code.replace(".", ","),
    "comma in words": lambda code, title: f"{title} ({code.replace('.', ',')})",
    "middle dot": lambda code, title: code.replace(".", "·"),
    "bullet": lambda code, title: code.replace(".", " • "),
    "hyphen": lambda code, title: code.replace(".", "-"),
    "underscore": lambda code, title: code.replace(".", "_"),
    "space": lambda code, title: code.replace(".", " "),
    "no-break space": lambda code, title: code.replace(".", ".\N{NO-BREAK SPACE}"),
    "space for the dot, labelled": lambda code, title: f"Code: {code.replace('.', ' ')}",
    "a letter apart": lambda code, title: f"{title} ({code[0].upper()} {code[1:].upper()})" if "." in code else code,
    "entity": lambda code, title: f"{title} (&quot;{code.replace('.', '&#46;')}&quot;)",
    "hexadecimal entity": lambda code, title: code.replace(".", "&#x2E;"),
    "escaped dot": lambda code, title: f"{title} ({code.replace('.', chr(92) + '.')})",
    "escaped line breaks": lambda code, title: f"\\n{code.upper()}\\n",
    "Chinese": lambda code, title: f"主要诊断{code}急性",
    "Cyrillic": lambda code, title: code.upper().translate(str.maketrans("ABCEHIKMOPTX", "АВСЕНІКМОРТХ")),
    "Greek": lambda code, title: code.upper().translate(str.maketrans("ABEZHIKMNOPT", "ΑΒΕΖΗΙΚΜΝΟΡΤ")),
    "subscript": lambda code, title: code.translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")),
    "Arabic digits": lambda code, title: code.translate(str.maketrans("0123456789.", "٠١٢٣٤٥٦٧٨٩٫")),
    "Arabic": lambda code, title: f"التشخيص{code}",
    "dots": lambda code, title: code.replace(".", "..") + ".",
    "dot elsewhere": lambda code, title: code[0] + "." + code[1:].replace(".", ""),
}


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS)
@given(code=CODES, lower=st.booleans(), dot=st.booleans())
def test_a_code_in_any_wrapping_is_the_only_one_found(
    wrap: Callable[[str, str], str], code: str, lower: bool, dot: bool
) -> None:
    shown = icd10.display(code) if dot else code
    text = wrap(shown.lower() if lower else shown, icd10.description(code))
    assert written_codes(text) == (code,)


@pytest.mark.parametrize("joint", [", ", "; ", " or ", " and ", "/", "\n", " - ", ",", " (", " → ", " • ", "+"])
@given(codes=st.lists(CODES, min_size=2, max_size=4, unique=True), dot=st.booleans())
def test_different_codes_are_all_found(joint: str, codes: list[str], dot: bool) -> None:
    text = joint.join(icd10.display(code) if dot else code for code in codes)
    assert written_codes(text) == tuple(codes)


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("", ()),
        ("**", ()),
        ("back pain", ()),
        ("410.71", ()),
        ("02703DZ", ()),
        ("unknown", ()),
        ("A1C above 9", ()),
        ("Vitamin B12 deficiency anemia, D51.9", ("D519",)),
        ("L4/L5 disc, M51.16", ("M5116",)),
        ("COVID-19 (U07.1)", ("U071",)),
        ("M51.169: disc", ("M51169",)),  # with its dot, so meant as a code
        ("M51169: disc", ()),
        ("**M51169**", ("M51169",)),
        ("`ZZ999`", ("ZZ999",)),
        ("M51.1-", ("M511",)),
        ("M51.16XXX", ()),
        ("see xM51.16", ()),
        ("éM51.16", ()),
        ("M51.16é", ()),
        ("disc.M51.16", ("M5116",)),
        ("sciatica M51.16. The rest", ("M5116",)),
        ("fracture, S72.001.A", ("S72001A",)),
        ("S72.001 A", ("S72001A",)),
        ("I10.Hypertension", ("I10",)),
        ("M51.16¹", ("M5116",)),
        ("J44.0/1", ("J440", "J441")),
        ("J44.0-J44.9", ("J440", "J449")),
        ("J44.0-9", ("J440", "J449")),
        ("J44.0/99 mmHg", ("J440",)),
        ("F01,A18", ("F01", "A18")),  # F01.A18 exists too
        ("dementia (F01.A18)", ("F01A18",)),
        ("F01. A18", ("F01", "A18")),
        ("J44 9 pages", ("J44",)),
        ("K85.9 0%", ("K859",)),  # billable once, and K85.90 since
        ("J44, not J45", ("J44", "J45")),
        ("&#" + "9" * 5_000 + ";", ()),
        ("&lt;M51.16&gt;", ("M5116",)),
        ("vitamin D 25.9 low (E55.9)", ("E559",)),
        ("I 21.5", ()),
    ],
)
def test_what_counts_as_a_code(text: str, codes: tuple[str, ...]) -> None:
    assert written_codes(text) == codes


def test_no_official_title_names_a_code() -> None:
    assert [code for code in icd10.billable_codes() if written_codes(icd10.description(code))] == []


@given(st.text())
def test_any_text_gives_different_codes_in_their_form(text: str) -> None:
    codes = written_codes(text)
    assert len(set(codes)) == len(codes)
    assert all(code.isascii() and code.isalnum() and code == code.upper() and 3 <= len(code) <= 7 for code in codes)


HOSTILE = {
    "candidates": "M51",
    "near codes": "M5",
    "codes": "M51.16, ",
    "categories": "M51 ",
    "dotted": "M51.",
    "dots": ".",
    "a code and dots": "M51........",
    "letters and dots": "a.",
    "invisible": "M51.16\N{ZERO WIDTH SPACE}",
    "signs": "M51-",
    "space": "M51    ",
    "labels": "M51:",
    "marks": "\N{COMBINING ACUTE ACCENT}\N{COMBINING DOT BELOW}",
    "ends": "J44.0-9/",
    "entities": "&#46;",
    "open entities": "&#1",
    "backslashes": "\\",
    "letters apart": "I 21.4 ",
}


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE)
def test_the_work_grows_with_the_text(piece: str) -> None:
    """Counted are calls of functions, Python's and C's; what one call costs is bounded by its regular expression."""
    written_codes(piece * 200)  # the table and the characters are known from here on
    small, large = (_calls(piece * times) for times in (200, 2_000))
    assert large <= 11 * small


@pytest.mark.timeout(20)  # quadratic time would take minutes
@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE)
def test_a_megabyte_is_read_to_its_end(piece: str) -> None:
    found = written_codes(piece * (1_000_000 // len(piece)) + " Final answer: I21.4")
    assert "I214" in str(found)


def _calls(text: str) -> int:
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        written_codes(text)
    finally:
        sys.setprofile(before)
    return count
