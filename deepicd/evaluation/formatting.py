"""Number formats of the report."""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup

from deepicd.evaluation.metrics_schema import Measure

NOTHING = "–"
_MINUS = "−"


def percent(value: float | None) -> str:
    """A share in percent: `41.3`."""
    return NOTHING if value is None else f"{100 * value:.1f}"


def share(part: int, whole: int) -> str:
    """`part` of `whole` in percent: `41.3 %`; empty if `whole` is 0."""
    return f"{percent(part / whole)} %" if whole else ""


def reward_title(name: str) -> str:
    """The heading of a reward's column, by its name in metrics.json."""
    return "Reward without judge" if name == "reward_without_judge" else "Reward"


def reward(value: float | None) -> str:
    """A reward: `0.413`."""
    return NOTHING if value is None else f"{value:.3f}"


def interval(measure: Measure, write: Callable[[float | None], str]) -> str:
    """The ends of an interval: `38.9 to 43.5`; empty without an interval."""
    if measure["interval"] is None:
        return ""
    return " to ".join(minus(write(end)) for end in measure["interval"])


def with_interval(measure: Measure, write: Callable[[float | None], str]) -> str:
    """A number with its interval: `41.3 [38.9, 43.5]`; the number without an interval."""
    ends = [minus(write(end)) for end in measure["interval"] or ()]
    return f"{minus(write(measure['value']))} [{', '.join(ends)}]" if ends else minus(write(measure["value"]))


def signed_with_interval(measure: Measure, write: Callable[[float | None], str]) -> str:
    """A difference with its interval: `+2.4 [1.2, 3.6]`."""
    return signed(measure["value"], lambda _: with_interval(measure, write))


def signed(value: float | None, write: Callable[[float | None], str]) -> str:
    """A difference with its sign: `+2.4`, `−0.3`."""
    text = minus(write(value))
    return text if value is None or text.startswith(_MINUS) else f"+{text}"


def minus(text: str) -> str:
    """The number with a true minus sign; zero has none."""
    if text.startswith("-"):
        return _MINUS + text[1:] if text.strip("-0.") else text[1:]
    return text


def breakable(name: str) -> Markup:
    """A name such as `seed-0/grpo` for HTML, with a possible line break after each slash."""
    return Markup("/<wbr>").join(name.split("/"))


def excludes_zero(measure: Measure) -> bool:
    """Whether the interval excludes 0."""
    ends = measure["interval"]
    return ends is not None and (ends[0] > 0 or ends[1] < 0)


MOST_BY_CHANCE = 0.05
"""A difference counts as real if its p-value, after Holm's correction, is below this."""


def is_real(measure: Measure, p: float | None = None) -> bool:
    """Whether a difference is beyond chance, by its corrected p-value or, if there is none, by its interval."""
    return measure["value"] is not None and (excludes_zero(measure) if p is None else p < MOST_BY_CHANCE)


def p_value(p: float) -> str:
    """`p = 0.031`, `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def duration(seconds: float) -> str:
    """A time span: `42 s`, `3 min 05 s`, `2 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if seconds >= 10 else f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
