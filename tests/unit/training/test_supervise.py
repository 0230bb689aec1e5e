from __future__ import annotations

import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from deepicd.errors import CrashError, DeepICDError, HostMemoryError, StallError, TerminatedError, UserError
from deepicd.training.launch import GuardedProcess
from deepicd.training.stage_files import StageFiles
from deepicd.training.step_metrics import StepMetrics
from deepicd.training.supervise import LEAVE_SECONDS, RayStartError, Watch, explain_exit, supervise
from tests.unit.stops import NeverStop


def watch(stall_after: int = 60) -> Watch:
    return Watch(timedelta(seconds=stall_after), started=0.0)


def test_a_stage_that_makes_steps_does_not_stall() -> None:
    seen = watch(60)
    for now in range(0, 600, 50):
        seen.check_stall(now)
        seen.check_step(StepMetrics(step=now), now)


def test_no_step_for_the_limit_is_a_stall_that_names_the_field() -> None:
    with pytest.raises(StallError, match=r"no step for 1m \(recovery.stallAfter\)"):
        watch(60).check_stall(60.5)


def test_starting_up_counts_as_no_step() -> None:
    seen = watch(60)
    seen.check_stall(59)
    with pytest.raises(StallError):
        seen.check_stall(61)


def test_a_metric_that_is_not_finite_is_for_the_user_to_mend() -> None:
    with pytest.raises(UserError, match="actor/pg_loss is not a finite number at step 7"):
        watch().check_step(StepMetrics(step=7, not_finite="actor/pg_loss"), 1.0)


def test_a_dead_worker_is_a_crash_once_the_main_process_had_time_to_say_so() -> None:
    seen = watch()
    seen.check_workers({1: "raylet", 2: "EngineCore"}, 0)
    seen.check_workers({1: "raylet"}, 10)
    with pytest.raises(CrashError, match="the process EngineCore died"):
        seen.check_workers({1: "raylet"}, 10.1 + LEAVE_SECONDS)


def test_new_workers_are_no_crash() -> None:
    seen = watch()
    seen.check_workers({1: "raylet"}, 0)
    seen.check_workers({1: "raylet", 2: "WorkerDict"}, 100)
    seen.check_workers({1: "raylet", 2: "WorkerDict"}, 200)


GPU_MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
HOST_MEMORY = "1 worker(s) were killed due to the node running low on memory."
CPU_ALLOCATOR = "RuntimeError: [enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"


@pytest.mark.parametrize(
    ("lines", "kind", "text"),
    [
        (["OSError: [Errno 28] No space left on device"], UserError, "the disk is full"),
        ([f"(WorkerDict pid=7) {GPU_MEMORY}"], UserError, "a GPU ran out of memory: lower microBatchSizePerGpu"),
        (["RuntimeError: CUDA error: out of memory"], UserError, "a GPU ran out of memory"),
        (["ray.exceptions.RayTaskError(OutOfMemoryError): x", GPU_MEMORY], UserError, "a GPU ran out of memory"),
        ([f"ray.exceptions.OutOfMemoryError: {HOST_MEMORY}"], HostMemoryError, "raise compute.memory"),
        ([CPU_ALLOCATOR], HostMemoryError, "raise compute.memory"),
        (["ray.exceptions.RayTaskError(ValueError): x", "ValueError: secret text"], CrashError, "(ValueError)"),
        (["(TaskRunner pid=12) KeyError: 'x'"], CrashError, "(KeyError)"),
        ([], CrashError, "exit code 1: see the log"),
    ],
)
def test_an_exit_is_explained_by_the_log(lines: list[str], kind: type[DeepICDError], text: str) -> None:
    error = explain_exit(1, lines)
    assert type(error) is kind
    assert text in str(error)


def test_an_exceptions_own_text_is_never_quoted() -> None:
    assert "secret" not in str(explain_exit(1, ["ValueError: secret text"]))


LOSES_ITS_WORKER = """
import pathlib, subprocess, sys, time
worker = subprocess.Popen(["ray::Worker", "-c", "import time; time.sleep(60)"], executable=sys.executable)
time.sleep(1.5)
for path in sys.argv[1:]:
    pathlib.Path(path).touch()
worker.kill()
worker.wait()
time.sleep(4)
print("ended by itself", flush=True)
"""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor looks often, and gives the main process less time than it takes."""
    monkeypatch.setattr("deepicd.training.supervise.POLL_SECONDS", 0.05)
    monkeypatch.setattr("deepicd.training.supervise.LEAVE_SECONDS", 1)


@pytest.mark.usefixtures("impatient")
def test_a_worker_that_dies_ends_the_stage_while_steps_are_made(tmp_path: Path) -> None:
    with pytest.raises(CrashError, match="the process Worker died"):
        follow([sys.executable, "-c", LOSES_ITS_WORKER], StageFiles(tmp_path))


LOSES_RAYS_NODE = """
import pathlib, subprocess, sys, time
logs = pathlib.Path(sys.argv[1], "session_latest", "logs")
logs.mkdir(parents=True)
node = subprocess.Popen(["/of/ray/raylet", "-c", "import time; time.sleep(60)"], executable=sys.executable)
time.sleep(1.5)
(logs / "raylet.err").write_text("waited for a port in vain")
node.kill()
node.wait()
time.sleep(float(sys.argv[2]))
sys.exit(1)
"""


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("main_ends_after", "message"), [(0.5, "exit code 1"), (60, "the process raylet died")])
def test_ray_has_not_started_where_its_node_dies_before_the_first_step(
    main_ends_after: float, message: str, tmp_path: Path
) -> None:
    files = StageFiles(tmp_path)
    with pytest.raises(RayStartError, match=message):
        follow([sys.executable, "-c", LOSES_RAYS_NODE, "{scratch}", str(main_ends_after)], files)
    assert files.log.read_text().endswith("raylet: waited for a port in vain\n")


@pytest.mark.usefixtures("impatient")
def test_rays_node_that_dies_once_steps_are_made_is_a_crash(tmp_path: Path) -> None:
    files = StageFiles(tmp_path)
    files.enter_loop(9)
    with pytest.raises(CrashError) as raised:
        follow([sys.executable, "-c", LOSES_RAYS_NODE, "{scratch}", "60"], files)
    assert type(raised.value) is CrashError


@pytest.mark.usefixtures("impatient")
def test_a_worker_that_ends_after_the_last_step_is_no_crash_however_long_the_rest_takes(tmp_path: Path) -> None:
    files = StageFiles(tmp_path)
    follow([sys.executable, "-c", LOSES_ITS_WORKER, str(files.loop_left)], files)
    assert files.log.read_text().endswith("ended by itself\n")


SAVES_WHEN_ASKED = "import pathlib, sys, time\nwhile not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.05)"


def follow(command: list[str], files: StageFiles) -> None:
    process = GuardedProcess(command, {}, files.log)
    stall = timedelta(minutes=1)
    supervise(process, files, files.metrics, stall_after=stall, stop=NeverStop(), on_step=lambda row, total: None)


def test_another_node_that_asks_for_a_stop_ends_the_stage_once_training_has_saved(tmp_path: Path) -> None:
    files = StageFiles(tmp_path)
    files.enter_loop(9)
    asking = threading.Timer(0.5, files.stop_request.touch)
    asking.start()
    with pytest.raises(TerminatedError, match="stopped on request after step 0"):
        follow([sys.executable, "-c", SAVES_WHEN_ASKED, str(files.stop_request)], files)
    asking.join()


def test_another_node_that_asks_for_a_stop_before_the_first_step_is_not_waited_with(tmp_path: Path) -> None:
    files = StageFiles(tmp_path)
    files.stop_request.touch()
    with pytest.raises(TerminatedError):
        follow([sys.executable, "-c", "import time; time.sleep(600)"], files)
