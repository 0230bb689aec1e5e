from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import timedelta

import pytest

from deepicd.errors import StallError
from deepicd.phases import Phase
from deepicd.training.gpu_activity import IdleWatch, gpus_idle

NVML = """
#include <stdlib.h>
#include <string.h>
/* Device n is as busy as the nth letter of BUSY; 'm' is a part of a GPU, of which NVML does not know. */
static const char *busy(void) { return getenv("BUSY"); }
int nvmlInit_v2(void) { return busy() ? 0 : 9; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = strlen(busy()); return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, const char **device) {
  if (index >= strlen(busy())) return 2;
  *device = busy() + index; return 0;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, const char **device) {
  return strncmp(uuid, "GPU-", 4) ? 2 : nvmlDeviceGetHandleByIndex_v2(atoi(uuid + 4), device);
}
int nvmlDeviceGetUtilizationRates(const char *device, unsigned *rates) {
  if (*device == 'm') return 3;
  rates[0] = *device - '0'; rates[1] = 7; return 0;
}
"""


@pytest.fixture(scope="module")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library with NVML's functions, in place of a driver's."""
    folder = tmp_path_factory.mktemp("nvml")
    (folder / "nvml.c").write_text(NVML)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", folder / "nvml.so", folder / "nvml.c"], check=True)
    return str(folder / "nvml.so")


@pytest.mark.parametrize(
    ("busy", "visible", "idle"),
    [
        ("00", None, True),
        ("01", None, False),
        ("01", "0", True),
        ("01", "0,1", False),
        ("00", "GPU-0,GPU-1", True),
        ("0m", None, None),
        ("0", "MIG-0", None),
        ("0", "0,1", None),
        ("0", "", None),
    ],
)
def test_gpus_are_idle_if_nvml_knows_that_all_are(
    busy: str, visible: str | None, idle: bool | None, nvml: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUSY", busy)
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert gpus_idle(environment, nvml)() is idle


def test_without_a_driver_nothing_is_known(nvml: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BUSY", raising=False)
    assert gpus_idle({}, nvml)() is None
    assert gpus_idle({}, "libnone.so")() is None


def watched(answers: Iterator[bool | None]) -> IdleWatch:
    return IdleWatch(timedelta(seconds=150), lambda: next(answers))


def test_idle_gpus_end_a_stage_only_after_its_first_step() -> None:
    watch = watched(iter([True] * 2))
    watch.check(1000)
    watch.moved()
    watch.check(1001)
    with pytest.raises(StallError):
        watch.check(1152)


@pytest.mark.parametrize("answer", [False, None])
def test_a_busy_or_unknown_gpu_starts_the_time_again(answer: bool | None) -> None:
    watch = watched(iter([True, answer, True, True]))
    watch.moved()
    for now in (0, 140, 150, 299):
        watch.check(now)


def test_a_step_starts_the_time_again() -> None:
    watch = watched(iter([True] * 3))
    watch.moved()
    watch.check(0)
    watch.moved()
    watch.check(149)
    watch.check(290)


def test_gpus_may_be_idle_while_a_checkpoint_is_written() -> None:
    watch = watched(iter([True] * 2))
    watch.moved()
    watch.enter(Phase.SAVING)
    watch.check(0)
    watch.check(1000)
    watch.enter(Phase.STEPS)
    watch.check(1001)
    watch.check(1100)
