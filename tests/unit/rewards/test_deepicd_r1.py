import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepicd.rewards.deepicd_r1 import Pair, deepicd_r1, pairs

GOLD = "M5116"
RELEASED = re.compile(
    r"^\s*(?:<think>((?:(?!</?think>).)*)</think>)?\s*<diagnosis>((?:(?!</?diagnosis>).)*)</diagnosis>",
    re.MULTILINE | re.DOTALL,
)
FRAGMENTS = st.lists(
    st.sampled_from(["<think>", "</think>", "<diagnosis>", "</diagnosis>", "M5116", "x", " ", "\n", "\t", "\x85", "<"]),
    max_size=16,
).map("".join)


def answered(code: str) -> str:
    return f"x</think>\n<diagnosis>{code}</diagnosis>"


@pytest.mark.parametrize(
    ("completion", "gold", "value"),
    [
        (answered("M5116"), GOLD, 76),
        (answered("M51.16"), GOLD, 76),
        (answered("m5116"), GOLD, 0),
        (answered("M51169"), GOLD, 61),
        (answered("M5117"), GOLD, 43),
        (answered("M51"), GOLD, 25),
        (answered("M5416"), GOLD, 7),
        (answered("G8929"), GOLD, 0),
        ("", GOLD, -6),
        ("x", GOLD, -1),
        ("</think><diagnosis>M5116</diagnosis>", GOLD, 75),
        ("<diagnosis>M5116</diagnosis>", GOLD, -1),
        (answered("M1A00X0"), "M1A00X0", 0),
    ],
)
def test_the_published_examples(completion: str, gold: str, value: float) -> None:
    assert deepicd_r1(completion, gold).value == value


@pytest.mark.parametrize(
    ("completion", "value"),
    [
        ("x</think><diagnosis> \n M5116\n</diagnosis>", 76),
        ("x</think><diagnosis>.M.5.1.1.6.</diagnosis>", 76),
        ("x</think><diagnosis>M5116 .</diagnosis>", 0),  # the space inside stays when the dot goes
        ("x</think><diagnosis></diagnosis>", 0),
        ("x</think> \t\n <diagnosis>M5116</diagnosis>", 76),
        ("x</think> so <diagnosis>M5116</diagnosis>", -1),
        ("x</think> so\n<diagnosis>M5116</diagnosis>", 75),  # a pair of its own, without a trace
        ("x\n<diagnosis>M5116</diagnosis>", 75),
        ("x<think>y</think><diagnosis>M5116</diagnosis>", -1),
        ("x\n<think>y</think><diagnosis>M5116</diagnosis>", 76),
        ("<think>x</think><diagnosis>M5116</diagnosis>", -1),
        (" </think><diagnosis>M5116</diagnosis>", 76),
        ("<diagnosis>G8929</diagnosis></think><diagnosis>M5116</diagnosis>", 76),
        ("x</think><diagnosis>M5116</diagnosis> and more", 76),
        ("x</think><diagnosis>M5116</diagnosis><diagnosis>M5116</diagnosis>", 76),  # the second starts no line
        ("x</think><diagnosis>M5116</diagnosis>\n<diagnosis>G8929</diagnosis>", 75),
        ("x</think><diagnosis>G8929</diagnosis>\n<diagnosis>M5116</diagnosis>\n<diagnosis>M5116</diagnosis>", -2),
        ("x</think><diagnosis><diagnosis>M5116</diagnosis>", -1),
        ("x</think><diagnosis>M5116", -1),
        ("x</think><DIAGNOSIS>M5116</DIAGNOSIS>", -1),
        (" ", -1),
    ],
)
def test_which_pair_counts(completion: str, value: float) -> None:
    assert deepicd_r1(completion, GOLD).value == value


def test_the_score_is_the_sum_of_its_terms() -> None:
    score = deepicd_r1(answered("M5117") + "\n<diagnosis>M5116</diagnosis>", GOLD)
    assert score.terms == {"code": 42.0, "trace": 1.0, "several": -1.0, "empty": 0.0}
    assert score.value == 42


@given(FRAGMENTS)
def test_pairs_are_those_of_the_released_pattern(completion: str) -> None:
    text = "<think>" + completion
    assert list(pairs(text)) == [Pair(match[1], match[2]) for match in RELEASED.finditer(text)]


@pytest.mark.timeout(20)  # quadratic time would take minutes
@pytest.mark.parametrize(
    "text",
    [
        "<think>" * 140_000,
        "<diagnosis>" * 90_000,
        "\n<think>" * 120_000,
        "\n<diagnosis>" * 80_000,
        "x</think>" + " " * 1_000_000 + "<diagnosis",
        "\n" * 1_000_000,
        (" " * 50 + "<think></think>") * 15_000,
        "</think>" * 120_000,
    ],
    ids=lambda text: ascii(text[:12]),
)
def test_a_megabyte_of_hostile_text_holds_no_pair(text: str) -> None:
    assert deepicd_r1(text, GOLD).value == -1
