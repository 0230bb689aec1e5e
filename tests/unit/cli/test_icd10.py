"""`deepicd icd10`."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from deepicd.cli.icd10 import icd10
from deepicd.errors import UserError

APP = typer.Typer()
APP.command()(icd10)


def run(*arguments: str) -> str:
    return CliRunner().invoke(APP, list(arguments), catch_exceptions=False).stdout


@pytest.mark.parametrize("written", ["M51.16", "m5116", " M51.16 "])
def test_a_code_shows_title_years_path_and_children(written: str) -> None:
    assert run(written).splitlines() == [
        "M51.16    Intervertebral disc disorders with radiculopathy, lumbar region",
        "billable  FY2016 to FY2026",
        "path      13        Diseases of the musculoskeletal system and connective tissue",
        "                    (M00-M99)",
        "          M50-M54   Other dorsopathies (M50-M54)",
        "          M51       Thoracic, thoracolumbar, and lumbosacral intervertebral disc",
        "                    disorders",
        "          M51.1     Thoracic, thoracolumbar and lumbosacral intervertebral disc",
        "                    disorders with radiculopathy",
        "children  none",
    ]


def test_codes_are_printed_as_json_on_request() -> None:
    (found,) = json.loads(run("M48.06", "--json"))
    assert found["code"] == "M4806"
    assert (found["billable"], found["header"]) == ([2016, 2017], [2018, 2026])
    assert found["chapter"]["number"] == 13
    assert found["ancestors"] == ["M48", "M480"]
    assert found["children"] == ["M48061", "M48062"]
    first, second = json.loads(run("lumbar", "disc", "--limit", "2", "--json"))
    assert "lumbar" in first["title"]
    assert set(second) == {"code", "display", "title", "billable", "header"}


def test_a_code_that_became_a_header_shows_both_spans_and_its_children() -> None:
    printed = run("M48.06")
    assert "billable  FY2016 to FY2017\nheader    FY2018 to FY2026\n" in printed
    assert "children  M48.061   Spinal stenosis, lumbar region without neurogenic" in printed


def test_a_child_that_is_not_billable_today_says_so() -> None:
    printed = " ".join(run("T81.4").split())
    assert "billable never header FY2016 to FY2026" in printed
    assert "T81.4XXA Infection following a procedure, initial encounter [billable FY2016 to FY2018]" in printed
    assert "T81.44 Sepsis following a procedure [header]" in printed


def test_several_codes_are_shown_one_after_the_other() -> None:
    assert run("I10", "j189") == f"{run('I10')}\n{run('J18.9')}"


def test_words_show_the_codes_whose_titles_have_them() -> None:
    printed = run("lumbar", "disc", "radiculopathy")
    assert printed == "M51.16    Intervertebral disc disorders with radiculopathy, lumbar region\n"


def test_a_long_list_is_cut_at_the_limit_and_says_so() -> None:
    printed = run("fracture", "--limit", "3").splitlines()
    assert sum(line[0] != " " for line in printed) == 4
    assert printed[-1].startswith("3 of ")


@pytest.mark.parametrize("arguments", [["fracture", "--limit", "500"], ["S52.5"], ["U07.1"], ["W37.8XXS"]])
def test_no_line_is_longer_than_80_columns(arguments: list[str]) -> None:
    assert max(map(len, run(*arguments).splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["M51.169"], r"code: M51\.169 is in no release of ICD-10-CM FY2016 to FY2026: nearest are M51\.16, "),
        (["ZZ9.99"], r"code: ZZ9\.99 is in no release .*: search for words"),
        (["lumbar", "radiculopaty"], "words: .*no title has radiculopaty, the nearest word is radiculopathy"),
        (["lumbar", "pneumonia"], "words: no title has all of these words: give fewer words"),
        (["?"], "words: no title"),
        ([" "], r"CODE\|WORDS: is empty: give codes, or words of a title"),
        (["ZZZ99"], r"code: ZZZ99 is not formatted like an ICD-10-CM code, such as M51\.16"),
        (["250.00"], r"code: 250\.00 is formatted like an ICD-9-CM code: give one of ICD-10-CM"),
        (["M5116 foo"], "words: M5116 is a code and others are not"),
    ],
)
def test_what_is_missing_is_an_error_of_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        run(*arguments)
    assert "\n" not in str(error.value)
