"""What the live table knows about one stage, and which columns fit. No terminal here."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean

from deepicd.phases import Phase, PhaseStart
from deepicd.spec.progress import Diagnostics
from deepicd.training.step_metrics import StepMetrics

TREND_STEPS = 10
BASE = ("STAGE", "STEP", "S/STEP", "ETA", "LOSS", "REWARD", "TREND", "LEN", "FORMAT", "TIME")
"""Columns of an 80-column terminal."""
WIDE = ("STAGE", "STEP", "S/STEP", "ETA", "LOSS", "REWARD", "TREND", "LEN", "FORMAT", "TRUNC", "VALID", "KL", "TIME")
"""Columns of a wide one, in their order."""
_DISTILLED = ("KEPT", "ANSWERS/S", "COST")
"""Columns of the stage `distill`, in runs that have it."""
_TRAINED = ("LOSS", "REWARD", "TREND", "LEN", "FORMAT")
"""Columns that are left out while only `distill` has made progress."""
_WIDE_FROM = 100
_DROPPED = ("TRUNC", "KL", "VALID", "S/STEP", "LEN", "TREND", "FORMAT", "LOSS", *_DISTILLED)
"""The first to go if the terminal is too narrow."""


def show_seconds(seconds: float | None) -> str:
    """`75` as `1m15s`."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def show_number(value: float | None) -> str:
    """A number, or an empty text for None; tiny numbers keep their first digits."""
    if value is None:
        return ""
    return f"{value:.1e}" if 0 < abs(value) < 1e-3 else f"{value:.3f}"


def _short(value: float | None) -> str:
    """A number in at most 7 characters, for a column."""
    if value is None:
        return ""
    return f"{value:.0e}".replace("e-0", "e-") if 0 < abs(value) < 1e-3 else f"{value:.3f}"


def _pace(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.2f}" if seconds < 1 else f"{seconds:.1f}" if seconds < 100 else f"{seconds:.0f}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"


def words_of(known: StepMetrics | Diagnostics) -> dict[str, str]:
    """A training step's diagnostics that have no column, as text by name; empty where unknown."""
    rate, memory, left = known.tokens_per_second, known.gpu_memory, known.gpu_hours_left
    spent = known.gpu_hours if isinstance(known, StepMetrics) else None  # the operator counts those of a cluster
    return {
        "gradient": _short(known.gradient_norm),
        "entropy": _short(known.entropy),
        "clipped": _percent(known.clipped),
        "off vLLM by": _short(known.rollout_difference),
        "groups without variance": _percent(known.groups_without_variance),
        "second judge": _short(known.second_judge),
        "judges' kappa": _short(known.judges_kappa),
        "tokens/s": "" if rate is None else f"{rate:,.0f}",
        "MFU": _percent(known.mfu),
        "GPU memory": "" if memory is None else f"{memory:.1f} GiB",
        "GPU-hours": "" if spent is None else f"{spent:.1f}",
        "GPU-hours left": "" if left is None else f"{left:.1f}",
    }


class Trend:
    """A value against the mean of the values before it."""

    def __init__(self, steps: int = TREND_STEPS) -> None:
        self._before: deque[float] = deque(maxlen=steps)

    def add(self, value: float) -> float | None:
        """The value minus the mean of the last `steps` before it; None before the third."""
        change = value - fmean(self._before) if len(self._before) > 1 else None
        self._before.append(value)
        return change


class StageView:
    """One stage: its cells and phases. Times are seconds of one monotonic clock."""

    def __init__(self, now: float) -> None:
        self._began = now
        self._spent: float | None = None
        self._cells: dict[str, str] = {}
        self._trend = Trend()
        self._diagnostics: dict[str, str] = {}
        self._phases: list[tuple[PhaseStart, float]] = []

    @property
    def running(self) -> bool:
        """Whether the stage has not ended."""
        return self._spent is None

    @property
    def log(self) -> str | None:
        """Path of the log of what runs now."""
        return str(self._phases[-1][0].log) if self._phases and self._phases[-1][0].log else None

    def enter(self, start: PhaseStart, now: float) -> None:
        """A phase begins."""
        self._phases = [*self._phases, (start, now)]

    def step(self, row: StepMetrics, total: int | None, eta: float | None) -> None:
        """A step was made, or a validation. What it does not say stays as it was."""
        reward = row.reward if row.reward is not None else row.validation_reward
        followed = row.reward if row.reward is not None else row.loss
        trend = None if followed is None else self._trend.add(followed)
        pace = row.seconds if row.seconds is not None else eta / (total - row.step) if eta and total else None
        cells = {
            "STEP": f"{row.step}/{total}" if total else str(row.step),
            "S/STEP": _pace(pace),
            "ETA": show_seconds(eta),
            "LOSS": _short(row.loss),
            "REWARD": _short(reward),
            "TREND": "" if trend is None else f"{trend:+.3f}",
            "LEN": "" if row.response_tokens is None else f"{row.response_tokens:.0f}",
            "FORMAT": _percent(row.format_rate),
            "TRUNC": _percent(row.truncated),
            "VALID": _short(row.validation_reward if row.validation_reward is not None else row.validation_loss),
            "KL": _short(row.kl),
            "KEPT": _percent(row.kept),
            "ANSWERS/S": _pace(row.rate),
            "COST": "" if row.cost is None else f"{row.cost:,.2f}",
        }
        self._cells = self._cells | {name: text for name, text in cells.items() if text}
        facts = words_of(row)
        self._diagnostics = self._diagnostics | {name: text for name, text in facts.items() if text}

    def diagnostics(self) -> str:
        """What the last step says about whether the stage learns and how fast, in one line; empty if nothing is known."""
        return ", ".join(f"{name} {text}" for name, text in self._diagnostics.items())

    def finish(self, seconds: float, *, already: bool) -> None:
        """The stage has ended."""
        self._spent = seconds
        self._cells = self._cells | {"ETA": "earlier" if already else "done"}

    def cells(self, stage: str, now: float) -> Mapping[str, str]:
        """Text by column; a missing one is empty."""
        spent = now - self._began if self._spent is None else self._spent
        return {"STAGE": stage, **self._cells, "TIME": show_seconds(spent)}

    def phase(self, now: float) -> str:
        """What the stage does, and for how long; empty if unknown."""
        if not self._phases:
            return ""
        start, began = self._phases[-1]
        return f"{start} {show_seconds(now - began)}"

    def before(self, width: int) -> str:
        """Until the first step: the phases that have ended, with their times, in at most `width` characters."""
        if any(start.phase == Phase.STEPS for start, _ in self._phases):
            return ""
        spans = pairwise(self._phases)
        ended = [f"{start} {show_seconds(end - began)}" for (start, began), (_, end) in spans]
        text = f"after {', '.join(ended)}" if ended else ""
        while len(text) > width and ended:
            ended = ended[1:]
            text = f"after …, {', '.join(ended)}"
        return text


def columns(rows: Sequence[Mapping[str, str]], width: int) -> tuple[list[str], int]:
    """The columns that fit into `width` characters, and the space between them."""
    *others, time = WIDE if width >= _WIDE_FROM else BASE
    possible = (*others, *_DISTILLED, time)
    filled = {name for row in rows for name, text in row.items() if text}
    spared = _TRAINED if filled.intersection(_DISTILLED) and not filled.intersection(_TRAINED) else ()
    wanted = [name for name in possible if (name in BASE and name not in spared) or name in filled]
    for gap in (2, 1):
        if _width(wanted, rows, gap) <= width:
            return wanted, gap
    for dropped in _DROPPED:
        wanted = [name for name in wanted if name != dropped]
        if _width(wanted, rows, 1) <= width:
            break
    return wanted, 1


def _width(names: Sequence[str], rows: Sequence[Mapping[str, str]], gap: int) -> int:
    cells = ((name, *(row.get(name, "") for row in rows)) for name in names)
    return sum(max(map(len, column)) for column in cells) + gap * (len(names) - 1)
