"""Only codes of the table inside the diagnosis tag."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deepicd import icd10
from deepicd.evaluation.constraint import grammar, structural_tag

xgrammar = pytest.importorskip("xgrammar")


@pytest.fixture(scope="module")
def compiler() -> Any:
    tokens = [bytes([value]) for value in range(256)] + ["</s>"]
    return xgrammar.GrammarCompiler(xgrammar.TokenizerInfo(tokens, stop_token_ids=[256]))


def accepts(compiled: Any, text: str) -> bool:
    """Whether the text may be generated, and be the whole completion."""
    matcher = xgrammar.GrammarMatcher(compiled)
    return bool(matcher.accept_string(text) and matcher.accept_token(256))


@pytest.fixture(scope="module")
def table(compiler: Any) -> Any:
    return compiler.compile_structural_tag(structural_tag(["Z9Z9Z"]))


@pytest.mark.parametrize("code", ["M5116", "A000", "U071", "Z9Z9Z", *list(icd10.billable_codes())[::9000]])
def test_each_code_of_the_table_and_each_local_one_can_be_generated(table: Any, code: str) -> None:
    assert accepts(table, f"It fits <b> a disc.</think>\n<diagnosis>{code}</diagnosis>")


@pytest.mark.parametrize("text", ["M51", "M51.16", "M51169", "ZZZZ", "m5116", "M5116 ", "", "sciatica"])
def test_nothing_else_can_stand_in_the_tag(table: Any, text: str) -> None:
    assert not accepts(table, f"It fits.</think>\n<diagnosis>{text}</diagnosis>")


def test_nothing_follows_the_diagnosis(table: Any) -> None:
    assert not accepts(table, "</think><diagnosis>M5116</diagnosis> or so")


def test_a_code_that_is_the_start_of_another_one_can_end(compiler: Any) -> None:
    tag = json.loads(structural_tag())
    tag["format"]["tags"][0]["content"]["grammar"] = grammar(["I10", "M51", "M5116"])
    compiled = compiler.compile_structural_tag(json.dumps(tag))
    assert all(accepts(compiled, f"<diagnosis>{code}</diagnosis>") for code in ("I10", "M51", "M5116"))
    assert not accepts(compiled, "<diagnosis>M5</diagnosis>")
