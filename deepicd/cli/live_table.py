"""Progress of a run on a terminal: a table that is redrawn in place, and below it what the running stage does."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from deepicd.cli.stage_view import TREND_STEPS, StageView, columns
from deepicd.phases import PhaseStart
from deepicd.training.step_metrics import StepMetrics


class LiveProgress:
    """A row per stage; the running stage's phase and log; what a signal to stop leads to."""

    def __init__(self, console: Console, kl_name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._legend = {
            "TREND": f"TREND: the reward, or SFT's loss, minus its mean over the {TREND_STEPS} steps before",
            "KL": f"KL: {kl_name}",
        }
        self._clock = clock
        self._stages: dict[str, StageView] = {}
        self._notice = ""
        # A log that goes to a file must not end up on the terminal.
        live = Live(console=console, get_renderable=self.view, refresh_per_second=4, redirect_stderr=sys.stderr.isatty())
        self._live = live

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._notice = ""
        self._live.stop()

    def view(self) -> Group:
        """What is shown now. Another thread than the reporting one may call it."""
        now, stages, width = self._clock(), list(self._stages.items()), self._console.width
        rows = [stage.cells(name, now) for name, stage in stages]
        names, gap = columns(rows, width)
        table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, collapse_padding=True)
        for name in names:
            table.add_column(name, justify="left" if name == "STAGE" else "right", no_wrap=True)
        for (_, stage), row in zip(stages, rows, strict=True):
            table.add_row(*(row.get(name, "") for name in names), style="bold" if stage.running else None)
        lines = [Text("")]
        for name, stage in stages:
            if stage.running and (phase := stage.phase(now)):
                lines.append(Text(f"{name}: {phase}"))
                lines += [Text(before)] if (before := stage.before(width)) else []
                lines += [Text(facts)] if (facts := stage.diagnostics()) else []
                lines += [Text(f"log: {_from_here(stage.log)}")] if stage.log else []
        lines += [Text(self._legend[name], style="dim") for name in names if name in self._legend and len(stages) > 1]
        lines += [Text(self._notice, style="bold yellow")] if self._notice else []
        return Group(table, *lines)

    def stage_started(self, stage: str) -> None:
        """See `deepicd.run.reporter.Reporter`."""
        self._stages[stage] = StageView(self._clock())

    def phase(self, stage: str, start: PhaseStart) -> None:
        """See `deepicd.run.reporter.Reporter`."""
        self._stages[stage].enter(start, self._clock())

    def step(self, stage: str, row: StepMetrics, total: int | None, eta: float | None) -> None:
        """See `deepicd.run.reporter.Reporter`."""
        self._stages[stage].step(row, total, eta)

    def stage_finished(self, stage: str, seconds: float, *, already: bool) -> None:
        """See `deepicd.run.reporter.Reporter`."""
        self._stages.setdefault(stage, StageView(self._clock())).finish(seconds, already=already)

    def stopping(self, signals: int, text: str) -> None:
        """Show what the signals that have arrived lead to."""
        self._notice = text
        self._live.refresh()


def _from_here(path: str) -> str:
    """The path as short as it can be typed."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative
