import pytest

from deepicd.completion import parse
from deepicd.rewards.terms import format_term

ANSWER = "<diagnosis>M5116</diagnosis>"


@pytest.mark.parametrize(
    ("text", "truncated", "thirds"),
    [
        (f"x</think>{ANSWER}", False, 3),
        ("x</think><diagnosis>M51.1</diagnosis>", False, 0),  # a header
        ("x</think><diagnosis>M51.169</diagnosis>", False, 0),  # in no release
        ("x</think><diagnosis>Q99.ZZZ</diagnosis>", False, 0),
        ("x</think><diagnosis>**M51.16**</diagnosis>", False, 2),
        ("x</think><diagnosis>M51.16: disc</diagnosis> y", False, 1),
        ("</think>y<diagnosis>M51.16.</diagnosis>", False, 0),
        (f"is it <diagnosis>M51</diagnosis>?</think>{ANSWER}", False, 2),
        (f"x</think>{ANSWER}", True, 2),
        (f"x</think>{ANSWER} y", False, 2),
        (f"x</think>{ANSWER} y", True, 2),
        (ANSWER, False, 2),
        (f"</think>y{ANSWER}", False, 1),
        (f"x</think>{ANSWER}{ANSWER}", False, 2),
        (f"x</think>{ANSWER}<diagnosis>M51.17</diagnosis>", False, 0),
        ("x</think><diagnosis>pain</diagnosis>", False, 0),
        ("x</think>", False, 0),
        ("", False, 0),
    ],
)
def test_share_of_the_form_that_is_there(text: str, truncated: bool, thirds: int) -> None:
    assert format_term(parse(text, opened_think=True, truncated=truncated)) == thirds / 3
