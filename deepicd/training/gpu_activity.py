"""Whether this machine's GPUs are idle, according to NVML, and what that means for a stage that makes no step."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from deepicd.errors import StallError
from deepicd.phases import Phase
from deepicd.spec.base import format_duration
from deepicd.training.gpus import VISIBLE, gpus_of, library, visible

_WITHOUT_GPUS = frozenset({Phase.SAVING, Phase.ENDING})
"""Phases in which GPUs may be idle for minutes."""


class IdleWatch:
    """Ends a stage that has made a step and then makes none while all GPUs are idle. Times are seconds of one monotonic
    clock.
    """

    def __init__(self, limit: timedelta, idle: Callable[[], bool | None]) -> None:
        """`idle`: whether all GPUs are idle now; None if that is unknown."""
        self._limit, self._idle = limit, idle
        self._moved = False
        self._phase: Phase | None = None
        self._since: float | None = None

    def enter(self, phase: Phase) -> None:
        """A phase begins."""
        self._phase, self._since = phase, None

    def moved(self) -> None:
        """A step was made."""
        self._moved, self._since = True, None

    def check(self, now: float) -> None:
        """Look at the GPUs. Raises: StallError: they have been idle for longer than the limit."""
        if not self._moved or self._phase in _WITHOUT_GPUS or not self._idle():
            self._since = None
        elif self._since is None:
            self._since = now
        elif now - self._since > self._limit.total_seconds():
            raise StallError(
                f"no step, and idle GPUs, for {format_duration(self._limit)} (recovery.idleAfter): run again to resume from "
                "the last checkpoint, or raise the limit if the reward takes that long"
            )


def gpus_idle(environment: Mapping[str, str] = os.environ, api: Any | None = None) -> Callable[[], bool | None]:
    """A function that returns whether all GPUs that this process may use have done nothing in NVML's last interval.

    It returns None if NVML does not know, for example without a driver or for MIG instances. `api`: the module pynvml; by
    default the installed one.
    """
    nvml = library() if api is None else api
    if nvml is None:
        return lambda: None
    shown = visible(environment.get(VISIBLE), gpus_of(nvml))
    if not shown or any(gpu.is_instance for gpu in shown):
        return lambda: None
    handles = [nvml.nvmlDeviceGetHandleByIndex(gpu.index) for gpu in shown]

    def idle() -> bool | None:
        try:
            return all(nvml.nvmlDeviceGetUtilizationRates(handle).gpu == 0 for handle in handles)
        except nvml.NVMLError:
            return None

    return idle
