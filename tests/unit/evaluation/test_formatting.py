import pytest

from deepicd.evaluation import formatting


@pytest.mark.parametrize(("value", "text"), [(0.0243, "+2.4"), (-0.003, "−0.3"), (0.0, "+0.0"), (-0.0001, "+0.0"), (None, "–")])
def test_differences_carry_their_sign(value: float | None, text: str) -> None:
    assert formatting.signed(value, formatting.percent) == text


def test_interval_uses_true_minus_signs() -> None:
    assert formatting.interval({"value": 0.0, "interval": [-0.012, 0.03]}, formatting.percent) == "−1.2 to 3.0"
    assert formatting.interval({"value": 0.0, "interval": None}, formatting.percent) == ""


@pytest.mark.parametrize(
    ("ends", "excluded"),
    [([0.1, 0.2], True), ([-0.2, -0.1], True), ([-0.1, 0.1], False), ([0.0, 0.1], False), (None, False)],
)
def test_an_interval_that_touches_zero_does_not_exclude_it(ends: list[float] | None, excluded: bool) -> None:
    assert formatting.excludes_zero({"value": 0.0, "interval": ends}) is excluded


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.23, "4.2 s"), (42, "42 s"), (59.9, "1 min 00 s"), (185, "3 min 05 s"), (7620, "2 h 07 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert formatting.duration(seconds) == text
