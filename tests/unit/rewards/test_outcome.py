import pytest

from deepicd.rewards.terms import outcome


@pytest.mark.parametrize(("code", "value"), [("M5116", 1.0), ("M5117", 0.0), ("M51", 0.0), ("M51169", 0.0), (None, 0.0)])
def test_only_the_gold_code_counts(code: str | None, value: float) -> None:
    assert outcome(code, "M5116") == value
