"""Progress of a run: a live table on a terminal, log lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

import structlog
from rich.console import Console
from rich.live import Live
from rich.table import Table

from deepicd.training.step_metrics import StepMetrics


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


class LiveProgress:
    """A table with a row per stage, redrawn in place."""

    def __init__(self, console: Console, kl_name: str) -> None:
        self._kl_name = kl_name
        self._rows: dict[str, list[str]] = {}
        self._began: dict[str, float] = {}
        self._spent: dict[str, float] = {}
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=2)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), caption=f"KL is {self._kl_name}.", caption_justify="left")
        for name in ("STAGE", "STEP", "LOSS", "REWARD", "KL", "ETA", "TIME"):
            table.add_column(name, justify="left" if name == "STAGE" else "right", no_wrap=True)
        for stage, row in self._rows.items():
            running = stage not in self._spent
            spent = time.monotonic() - self._began[stage] if running else self._spent[stage]
            table.add_row(stage, *row, show_seconds(spent), style="bold" if running else None)
        return table

    def stage_started(self, stage: str) -> None:
        """See `deepicd.run.reporter.Reporter`."""
        self._began[stage] = time.monotonic()
        self._rows[stage] = [""] * 5

    def step(self, stage: str, row: StepMetrics, total: int | None, eta: float | None) -> None:
        """See `deepicd.run.reporter.Reporter`."""
        steps = f"{row.step}/{total}" if total else str(row.step)
        reward = row.reward if row.reward is not None else row.validation_reward
        shown = [steps, show_number(row.loss), show_number(reward), show_number(row.kl), show_seconds(eta)]
        before = self._rows[stage]
        self._rows[stage] = [new or old for new, old in zip(shown, before, strict=True)]

    def stage_finished(self, stage: str, seconds: float, *, already: bool) -> None:
        """See `deepicd.run.reporter.Reporter`."""
        self._spent[stage] = seconds
        self._rows.setdefault(stage, [""] * 5)[-1] = "done before" if already else "done"


class LogProgress:
    """A structured log line per event."""

    def __init__(self, run: str, kl_name: str) -> None:
        self._log = structlog.get_logger().bind(run=run)
        self._kl_name = kl_name

    def stage_started(self, stage: str) -> None:
        """See `deepicd.run.reporter.Reporter`."""
        self._log.info("stage started", stage=stage)

    def step(self, stage: str, row: StepMetrics, total: int | None, eta: float | None) -> None:
        """See `deepicd.run.reporter.Reporter`."""
        values = {
            "loss": row.loss, "reward": row.reward, "validation_reward": row.validation_reward,
            "kl": row.kl, "kl_is": self._kl_name if row.kl is not None else None,
            "eta_seconds": round(eta) if eta is not None else None,
        }  # fmt: skip
        shown = {name: value for name, value in values.items() if value is not None}
        self._log.info("step", stage=stage, step=row.step, steps=total, **shown)

    def stage_finished(self, stage: str, seconds: float, *, already: bool) -> None:
        """See `deepicd.run.reporter.Reporter`."""
        self._log.info("stage finished", stage=stage, seconds=round(seconds, 1), already=already)
