"""The shipped file: what the build writes, its totals, and the newest release node by node."""

import lzma
import unicodedata
import warnings
from importlib import resources
from pathlib import Path
from types import ModuleType

import pytest

from deepicd import icd10
from deepicd.errors import UserError
from deepicd.icd10 import build, table


@pytest.fixture(scope="module")
def official() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import simple_icd_10_cm

    module: ModuleType = simple_icd_10_cm
    return module


@pytest.fixture(scope="module")
def official_codes(official: ModuleType) -> list[str]:
    nodes = dict.fromkeys(official.get_all_codes(with_dots=False))
    return [node for node in nodes if official.is_category_or_subcategory(node)]


def _without_dot(codes: list[str]) -> tuple[str, ...]:
    return tuple(code.replace(".", "") for code in codes)


def _newest(code: str) -> bool:
    """Whether the newest release has the code."""
    era = icd10.era(code)
    return icd10.LAST_YEAR in era.billable or icd10.LAST_YEAR in era.header


def _years(years: range) -> str:
    return f"{years[0]}-{years[-1]}" if years else "-"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The build's input, from the shipped table's facts, in no order."""
    lines = [
        f"{code}\t{_years(icd10.era(code).billable)}\t{_years(icd10.era(code).header)}\t{icd10.description(code)}"
        for code in reversed(table.table().codes)
    ]
    path = tmp_path / "codes.tsv.xz"
    path.write_bytes(lzma.compress("\n".join(["# a comment", *lines]).encode(), preset=0))
    return path


def test_the_shipped_file_is_what_the_build_writes(official: ModuleType, source: Path) -> None:
    shipped = resources.files("deepicd.icd10").joinpath(table.FILE).read_bytes()
    assert lzma.decompress(shipped) == build.table_text(source)


def test_the_same_text_gives_the_same_bytes() -> None:
    assert build.compressed(b"A00\tCholera" * 99) == build.compressed(b"A00\tCholera" * 99)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("A00\t2016-2026\tCholera", "line 2: is not code, billable, header, title"),
        ("A00\t2016\t-\tCholera", "line 2: is not"),
        ("a00\t-\t2016-2026\tCholera", "line 2: is not"),
        ("ZZ9\t-\t2016-2026\tNothing", "ZZ9: the newest tabular list has no category ZZ9"),
    ],
)
def test_a_source_of_another_form_is_refused(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "codes.tsv"
    path.write_text(f"# codes\n{line}\n")
    with pytest.raises(UserError, match=message):
        build.table_text(path)


@pytest.mark.parametrize("arguments", [[], ["missing.tsv.xz"]])
def test_a_missing_source_is_named(arguments: list[str]) -> None:
    with pytest.raises(UserError, match="codes by year"):
        build.main(arguments)


def test_the_shipped_file_is_compact() -> None:
    assert len(resources.files("deepicd.icd10").joinpath(table.FILE).read_bytes()) < 600_000


def test_totals() -> None:
    codes = table.table().codes
    assert (len(codes), len(icd10.billable_codes()), len(icd10.billable_codes(2026))) == (98_847, 75_719, 74_719)
    assert codes == sorted(set(codes))
    of_mimic = set().union(*(icd10.billable_codes(year) for year in range(2016, 2024)))
    retired = of_mimic.difference(icd10.billable_codes(2026))
    assert (len(of_mimic), len(retired)) == (74_585, 1_000)
    assert sum(2026 in icd10.era(code).header for code in retired) == 396


@pytest.mark.parametrize(
    ("code", "billable", "header"),
    [
        ("A000", "2016-2026", "-"),
        ("M51", "-", "2016-2026"),
        ("K859", "2016-2016", "2017-2026"),
        ("K8590", "2017-2026", "-"),
        ("T814XXA", "2016-2018", "-"),
        ("M4806", "2016-2017", "2018-2026"),
        ("M5136", "2016-2024", "2025-2026"),
        ("I481", "2016-2019", "2020-2026"),
        ("I471", "2016-2023", "2024-2026"),
        ("K358", "-", "2016-2026"),
        ("K5660", "2016-2017", "2018-2026"),
        ("E872", "2016-2022", "2023-2026"),
        ("G20", "2016-2023", "2024-2026"),
        ("G35", "2016-2025", "2026-2026"),
        ("M545", "2016-2021", "2022-2026"),
        ("N183", "2016-2020", "2021-2026"),
        ("U071", "2021-2026", "-"),
    ],
)
def test_the_years_of_a_code(code: str, billable: str, header: str) -> None:
    assert (_years(icd10.era(code).billable), _years(icd10.era(code).header)) == (billable, header)


def test_every_code_has_years_and_those_ever_billable_chapter_block_and_category() -> None:
    assert all(icd10.era(code).billable or icd10.era(code).header for code in table.table().codes)
    for code in icd10.billable_codes():
        assert icd10.is_valid(icd10.category(code))
        assert icd10.chapter_title(icd10.chapter(code))
        assert icd10.block_title(icd10.block(code))


def test_the_newest_release_is_the_official_one_and_its_leaves_are_billable(
    official: ModuleType, official_codes: list[str]
) -> None:
    assert sorted(official_codes) == [code for code in table.table().codes if _newest(code)]
    assert sorted(filter(official.is_leaf, official_codes)) == list(icd10.billable_codes(icd10.LAST_YEAR))


def test_titles_are_cms_own_which_lack_accents_and_some_inclusion_terms(
    official: ModuleType, official_codes: list[str]
) -> None:
    others = 0
    for code in official_codes:
        title = " ".join(official.get_description(code).split())
        plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
        assert plain.startswith(icd10.description(code))
        others += title != icd10.description(code)
    assert others == 678


def test_ancestors_block_and_chapter(official: ModuleType, official_codes: list[str]) -> None:
    for code in official_codes:
        above = official.get_ancestors(code)
        depth = len(icd10.ancestors(code))
        assert icd10.ancestors(code) == _without_dot(above[:depth])
        assert icd10.block(code) == above[depth]
        assert icd10.chapter(code) == int(above[-1])


def test_children(official: ModuleType, official_codes: list[str]) -> None:
    for code in official_codes:
        newest = tuple(child for child in icd10.children(code) if _newest(child))
        assert newest == tuple(sorted(_without_dot(official.get_children(code))))


def test_405_billable_codes_of_the_newest_release_fail_the_released_pattern() -> None:
    from deepicd.rewards.deepicd_r1 import CODE

    assert sum(CODE.fullmatch(code) is None for code in icd10.billable_codes(icd10.LAST_YEAR)) == 405
