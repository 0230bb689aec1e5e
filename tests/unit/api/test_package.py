from __future__ import annotations

import ast
import doctest
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import deepicd
from deepicd.run_layout import RunLayout

ROOT = Path(__file__).parents[3]


def test_import_deepicd_imports_nothing_else() -> None:
    show = "import sys; before = set(sys.modules); import deepicd; print(*set(sys.modules) - before)"
    loaded = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == ["deepicd"]


def test_type_checkers_see_the_names_that_are_imported_on_first_use() -> None:
    seen: dict[str, str] = {}
    for node in ast.walk(ast.parse(Path(deepicd.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            seen |= {alias.name: node.module for alias in node.names if node.module.startswith("deepicd")}
    names = set(seen) | {"__version__"}
    assert names == set(deepicd.__all__)
    for name, module in seen.items():
        expected = import_module("deepicd.icd10") if name == "icd10" else getattr(import_module(module), name)
        assert getattr(deepicd, name) is expected
    assert names <= set(dir(deepicd))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'deepicd' has no attribute 'scores'"):
        _ = deepicd.scores  # type: ignore[attr-defined]


def test_the_version_is_that_of_the_package() -> None:
    assert deepicd.__version__ == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.mark.parametrize(
    "module",
    ["deepicd", "deepicd.completion", "deepicd.icd10", "deepicd.api.score", "deepicd.api.metrics", "deepicd.api.run"],
)
def test_the_examples_of_the_docstrings_print_what_they_show(
    module: str, layout: RunLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(layout.folder.parents[1])
    found = doctest.testmod(import_module(module))
    assert found.attempted > 0
    assert found.failed == 0
