import subprocess
import sys

import pytest

from deepicd import icd10


@pytest.mark.parametrize("year", [None, 2016, 2026])
def test_billable_codes_are_those_of_the_year_sorted(year: int | None) -> None:
    codes = icd10.billable_codes(year)
    assert list(codes) == sorted(codes)
    assert ("K859" in codes, "K8590" in codes, "K85" in codes) == (year != 2026, year != 2016, False)


@pytest.mark.parametrize(
    ("code", "valid", "billable"),
    [
        ("M5116", True, True),
        ("M51", True, False),
        ("M1A00X0", True, True),
        ("C7A010", True, True),
        ("Z3A20", True, True),
        ("QA0", True, False),
        ("A33", True, True),
        ("K859", True, True),
        ("T814XXA", True, True),
        ("G20", True, True),
        ("M51169", False, False),
        ("M98", False, False),
        ("m5116", False, False),
        ("M51.16", False, False),
        ("M50-M54", False, False),
        ("13", False, False),
        ("", False, False),
    ],
)
def test_valid_and_billable(code: str, valid: bool, billable: bool) -> None:
    assert (icd10.is_valid(code), icd10.is_billable(code)) == (valid, billable)


@pytest.mark.parametrize(
    ("code", "chapter"),
    [("C7A", 2), ("D3A0", 2), ("D49", 2), ("D500", 3), ("H59", 7), ("H60", 8), ("O9A", 15), ("U071", 22), ("Z3A", 21)],
)
def test_chapters_follow_the_official_table_not_the_first_letter(code: str, chapter: int) -> None:
    assert icd10.chapter(code) == chapter


def test_a_code_that_does_not_exist_is_in_the_chapter_of_its_category() -> None:
    assert icd10.chapter("M51169999") == 13


@pytest.mark.parametrize("code", ["M98", "M9", "", "13", "I51"[::-1]])
def test_chapter_of_an_unknown_category_is_a_key_error(code: str) -> None:
    with pytest.raises(KeyError):
        icd10.chapter(code)


@pytest.mark.parametrize("look_up", [icd10.description, icd10.children, icd10.era])
def test_looking_up_an_unknown_code_is_a_key_error(look_up: object) -> None:
    assert callable(look_up)
    with pytest.raises(KeyError):
        look_up("M51169")


def test_there_are_22_chapter_titles() -> None:
    assert icd10.chapter_title(2) == "Neoplasms (C00-D49)"
    assert icd10.chapter_title(22) == "Codes for special purposes (U00-U85)"
    with pytest.raises(KeyError):
        icd10.chapter_title(23)


@pytest.mark.parametrize(
    ("code", "ancestors"),
    [
        ("M5116", ("M511", "M51")),
        ("M51", ()),
        ("W378XXS", ("W378", "W37")),
        ("T443X6A", ("T443X6", "T443X", "T443", "T44")),
        ("M51169", ("M5116", "M511", "M51")),
        ("M98", ()),
    ],
)
def test_ancestors_are_nearest_first_and_skip_placeholders_that_are_no_level(code: str, ancestors: tuple[str, ...]) -> None:
    assert icd10.ancestors(code) == ancestors


@pytest.mark.parametrize(
    ("code", "children"),
    [
        ("M511", ("M5114", "M5115", "M5116", "M5117")),
        ("M5116", ()),
        ("W378", ("W378XXA", "W378XXD", "W378XXS")),
        ("M4806", ("M48061", "M48062")),
    ],
)
def test_children(code: str, children: tuple[str, ...]) -> None:
    assert icd10.children(code) == children


def test_blocks_are_the_innermost_ones() -> None:
    assert [icd10.block(code) for code in ("C01", "C50919", "C7A010", "M5116")] == ["C00-C14", "C50", "C7A", "M50-M54"]


@pytest.mark.parametrize("written", ["M51.16", " m5116\n", "M51.16.", "M5116 .", "m51.16"])
def test_normalise_drops_space_dots_and_case(written: str) -> None:
    assert icd10.normalise(written) == "M5116"


def test_display_puts_the_dot_back() -> None:
    assert [icd10.display(code) for code in ("M5116", "M51", "A33")] == ["M51.16", "M51", "A33"]


def test_the_last_code_of_the_file_has_its_description() -> None:
    assert icd10.description(max(icd10.billable_codes()))


def test_import_reads_nothing() -> None:
    check = "import deepicd.icd10, deepicd.icd10.table as t; print(t.table.cache_info().currsize)"
    done = subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, text=True)
    assert done.stdout == "0\n"


@pytest.mark.parametrize(
    ("code", "years", "other"),
    [
        ("K859", range(2014, 2018), False),
        ("K859", range(2017, 2021), True),
        ("K859", range(2014, 2016), None),  # ICD-10-CM came into use in FY2016
        ("K859", range(2027, 2030), None),
        ("K859", range(0), None),
        ("G20", range(2023, 2030), False),
        ("G20", range(2024, 2030), True),
        ("U071", range(2017, 2021), True),
        ("M51", range(2016, 2027), False),
        ("M51169", range(2016, 2027), False),
    ],
)
def test_a_code_is_of_other_years_where_it_was_billable_in_none_of_these(code: str, years: range, other: bool | None) -> None:
    assert icd10.is_of_other_years(code, years) is other


def test_block_titles() -> None:
    assert icd10.block_title("M50-M54") == "Other dorsopathies (M50-M54)"
    with pytest.raises(KeyError):
        icd10.block_title("M98-M99")
