"""Whether this machine's GPUs are idle, by NVML, and what that means for a stage that makes no step."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping
from datetime import timedelta

from deepicd.errors import StallError
from deepicd.phases import Phase
from deepicd.spec.base import format_duration

_WITHOUT_GPUS = frozenset({Phase.SAVING, Phase.ENDING})
"""Phases in which GPUs may be idle for minutes."""


class IdleWatch:
    """Ends a stage that has made a step, and then none while all GPUs are idle. Times are seconds of one monotonic clock."""

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


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


def gpus_idle(environment: Mapping[str, str] = os.environ, library: str = "libnvidia-ml.so.1") -> Callable[[], bool | None]:
    """A function that returns whether all GPUs that this process may use have done nothing in NVML's last interval.

    It returns None where NVML does not know, as without a driver and for parts of a GPU (MIG).
    """
    try:
        nvml = ctypes.CDLL(library)
    except OSError:
        return lambda: None
    handles = _handles(nvml, environment.get("CUDA_VISIBLE_DEVICES")) if nvml.nvmlInit_v2() == 0 else []

    def idle() -> bool | None:
        rates = _Utilization()
        for handle in handles:
            if nvml.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(rates)) != 0:
                return None
            if rates.gpu > 0:
                return False
        return True if handles else None

    return idle


def _handles(nvml: ctypes.CDLL, visible: str | None) -> list[ctypes.c_void_p]:
    """NVML's handles of the GPUs; none if one of them is not a whole GPU."""
    if visible is None:
        count = ctypes.c_uint()
        nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
        names = [str(number) for number in range(count.value)]
    else:
        names = [name.strip() for name in visible.split(",") if name.strip()]
    found = []
    for name in names:
        handle = ctypes.c_void_p()
        if name.isdecimal():
            code = nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(int(name)), ctypes.byref(handle))
        else:
            code = nvml.nvmlDeviceGetHandleByUUID(name.encode(), ctypes.byref(handle))
        if code != 0:
            return []
        found.append(handle)
    return found
