"""What is used of pynvml, without a driver."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace


class Nvml:
    """GPUs that are busy to some percent, None where the driver does not say; each split by MIG into `parts`, or whole."""

    NVML_DEVICE_MIG_ENABLE = 1

    class NVMLError(Exception):
        """Any error."""

    class NVMLError_NotSupported(NVMLError):  # noqa: N801 - pynvml's name
        """GPUs before MIG."""

    class NVMLError_NotFound(NVMLError):  # noqa: N801 - pynvml's name
        """No part at this place."""

    def __init__(self, busy: Sequence[int | None], parts: int = 0) -> None:
        self._busy, self._parts = busy, parts

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - pynvml's name
        return len(self._busy)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        return f"GPU-{index}"

    def nvmlDeviceGetUUID(self, handle: str) -> str:  # noqa: N802
        return handle

    def nvmlDeviceGetMigMode(self, handle: str) -> list[int]:  # noqa: N802
        if not self._parts:
            raise self.NVMLError_NotSupported
        return [self.NVML_DEVICE_MIG_ENABLE, self.NVML_DEVICE_MIG_ENABLE]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: str) -> int:  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: str, place: int) -> str:  # noqa: N802
        if place >= self._parts:
            raise self.NVMLError_NotFound
        return f"MIG-{handle}-{place}"

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> SimpleNamespace:  # noqa: N802
        percent = self._busy[int(handle.removeprefix("GPU-"))]
        if percent is None:
            raise self.NVMLError
        return SimpleNamespace(gpu=percent)
