"""The shipped file against the official release, node by node."""

import lzma
import warnings
from importlib import resources
from types import ModuleType

import pytest

from deepicd import icd10
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


def test_the_shipped_file_is_what_the_build_writes(official: ModuleType) -> None:
    shipped = resources.files("deepicd.icd10").joinpath(table.FILE).read_bytes()
    assert lzma.decompress(shipped) == build.table_text()


def test_the_same_text_gives_the_same_bytes() -> None:
    assert build.compressed(b"A00\tCholera" * 99) == build.compressed(b"A00\tCholera" * 99)


def test_the_shipped_file_is_compact() -> None:
    assert len(resources.files("deepicd.icd10").joinpath(table.FILE).read_bytes()) < 600_000


def test_every_official_code_is_valid_and_no_other(official_codes: list[str]) -> None:
    assert sorted(official_codes) == table.table().codes


def test_billable_means_leaf(official: ModuleType, official_codes: list[str]) -> None:
    assert sorted(filter(official.is_leaf, official_codes)) == list(icd10.billable_codes())


def test_descriptions(official: ModuleType, official_codes: list[str]) -> None:
    for code in official_codes:
        assert icd10.description(code) == " ".join(official.get_description(code).split())


def test_ancestors_block_and_chapter(official: ModuleType, official_codes: list[str]) -> None:
    for code in official_codes:
        above = official.get_ancestors(code)
        depth = len(icd10.ancestors(code))
        assert icd10.ancestors(code) == _without_dot(above[:depth])
        assert icd10.block(code) == above[depth]
        assert icd10.chapter(code) == int(above[-1])


def test_children(official: ModuleType, official_codes: list[str]) -> None:
    for code in official_codes:
        assert icd10.children(code) == tuple(sorted(_without_dot(official.get_children(code))))


def test_405_billable_codes_fail_the_released_pattern() -> None:
    from deepicd.rewards.deepicd_r1 import CODE

    assert sum(CODE.fullmatch(code) is None for code in icd10.billable_codes()) == 405
