"""The NVIDIA GPUs that a process may use: the driver's, as selected by CUDA_VISIBLE_DEVICES."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepicd.errors import UserError

VISIBLE = "CUDA_VISIBLE_DEVICES"
_NUMBER = re.compile(r"\+?([0-9]+)")
"""CUDA reads a number as C's strtoul does, ignoring what follows it."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU, or an instance of one that is split by MIG."""

    index: int
    """Index of the GPU, as the driver counts."""
    uuid: str
    """UUID such as `GPU-…` or `MIG-…`; empty if unknown."""
    is_instance: bool = False

    @property
    def named(self) -> str:
        """Its name in CUDA_VISIBLE_DEVICES."""
        return self.uuid if self.is_instance else str(self.index)


def visible(chosen: str | None, present: Sequence[Gpu]) -> list[Gpu]:
    """The GPUs that CUDA shows, by its own rules (CUDA Programming Guide, "CUDA Environment Variables").

    Args:
        chosen: the value of CUDA_VISIBLE_DEVICES; None if it is not set. It names indices, or beginnings of UUIDs; what
            follows an entry that names no GPU is not shown, and if two entries name the same GPU none is.
        present: the driver's GPUs.
    """
    if chosen is None:
        return list(present)
    found: list[Gpu] = []
    for entry in map(str.strip, chosen.split(",")):
        gpu = _named(entry, present)
        if gpu in found:
            return []
        if gpu is None:
            break
        found.append(gpu)
    return found


def _named(entry: str, present: Sequence[Gpu]) -> Gpu | None:
    """The GPU that an entry names."""
    if number := _NUMBER.match(entry):
        return next((gpu for gpu in present if gpu.index == int(number[1])), None)
    named = [gpu for gpu in present if entry and gpu.uuid.startswith(entry)]
    return named[0] if len(named) == 1 else None


def check(gpus: int, chosen: str | None, present: Sequence[Gpu]) -> None:
    """Refuse a run for which this machine lacks the GPUs; arguments as for `visible`.

    Raises:
        UserError: fewer are visible, or some of several are MIG instances, between which NCCL has no path.
    """
    shown = visible(chosen, present)
    if not present:
        raise UserError(
            f"spec.compute.gpus: {gpus} wanted, this machine has none: use one with NVIDIA's GPUs and driver, "
            "or install deepicd[train-cpu] to train on CPUs"
        )
    if len(shown) < gpus:
        hidden = f" and {VISIBLE}={chosen} shows {len(shown)}" if len(present) > len(shown) else ""
        remedy = f"change {VISIBLE}" if hidden and len(present) >= gpus else "lower it"
        raise UserError(f"spec.compute.gpus: {gpus} wanted, this machine has {len(present)}{hidden}: {remedy}")
    if gpus > 1 and any(gpu.is_instance for gpu in shown[:gpus]):
        raise UserError(
            f"spec.compute.gpus: {gpus} wanted, and GPUs here are split by MIG, whose instances cannot train together: "
            "use whole GPUs, or gpus: 1"
        )


def present() -> list[Gpu]:
    """The GPUs of this machine, or of this container; a GPU that is split by MIG counts as its instances."""
    api = library()
    if api is None:
        numbers = sorted(int(path.name.removeprefix("nvidia")) for path in Path("/dev").glob("nvidia[0-9]*"))
        return [Gpu(number, "") for number in numbers]
    return gpus_of(api)


def library() -> Any | None:
    """pynvml, NVIDIA's driver library, initialised; None if it or the driver is missing."""
    try:
        import pynvml
    except ModuleNotFoundError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def gpus_of(api: Any) -> list[Gpu]:
    """The GPUs that pynvml knows; for a split GPU its MIG instances instead."""
    return [gpu for index in range(api.nvmlDeviceGetCount()) for gpu in _of_device(api, index)]


def _of_device(api: Any, index: int) -> list[Gpu]:
    device = api.nvmlDeviceGetHandleByIndex(index)
    try:
        split = api.nvmlDeviceGetMigMode(device)[0] == api.NVML_DEVICE_MIG_ENABLE
    except api.NVMLError_NotSupported:
        split = False
    if not split:
        return [Gpu(index, _text(api.nvmlDeviceGetUUID(device)))]
    found = []
    for place in range(api.nvmlDeviceGetMaxMigDeviceCount(device)):
        try:
            instance = api.nvmlDeviceGetMigDeviceHandleByIndex(device, place)
        except api.NVMLError_NotFound:
            continue
        found.append(Gpu(index, _text(api.nvmlDeviceGetUUID(instance)), is_instance=True))
    return found


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
