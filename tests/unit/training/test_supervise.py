from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from deepicd.errors import CrashError, DeepICDError, GpuMemoryError, NotANumberError, StallError, TerminatedError, UserError
from deepicd.phases import Phase, PhaseFile
from deepicd.training.gpu_activity import IdleWatch
from deepicd.training.stage_files import StageFiles
from deepicd.training.step_metrics import StepMetrics
from deepicd.training.supervise import LEAVE_SECONDS, SKIPPED_UPDATES, RayStartError, Watch, supervise, workers
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


def test_a_metric_that_is_not_finite_is_for_the_user_to_fix() -> None:
    with pytest.raises(UserError, match="actor/pg_loss is not a finite number at step 7"):
        watch().check_step(StepMetrics(step=7, not_finite="actor/pg_loss"), 1.0)


def test_gradients_that_stay_not_finite_end_the_run() -> None:
    seen = watch()
    for step in range(1, 2 * SKIPPED_UPDATES):  # one good step among them
        seen.check_step(StepMetrics(step=step, update_skipped=step != SKIPPED_UPDATES), now=0)
        seen.check_step(StepMetrics(step=step, validation_loss=1.0), now=0)
    with pytest.raises(NotANumberError, match="the gradient is not finite in 5 steps up to 10"):
        seen.check_step(StepMetrics(step=2 * SKIPPED_UPDATES, update_skipped=True), now=0)


def test_a_dead_worker_is_a_crash_once_the_main_process_had_time_to_report_it() -> None:
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


class Stage:
    """A stage's process and its Ray processes on a clock that moves only while the supervisor sleeps."""

    def __init__(self, folder: Path, *, lasts: float, code: int = 0) -> None:
        self.files = StageFiles(folder)
        self.files.log.touch()
        self.pid, self.scratch, self.ended = 1, folder / "scratch", False
        self.now = 0.0
        self._lasts, self._code = lasts, code
        self._living: dict[int, str] = {}
        self._later: list[tuple[float, Callable[[], object]]] = []

    def at(self, when: float, act: Callable[[], object]) -> None:
        self._later.append((when, act))

    def has(self, name: str, *, until: float) -> None:
        pid = 100 + len(self._living)
        self._living[pid] = name
        self.at(until, lambda: self._living.pop(pid))

    def poll(self) -> int | None:
        return self._code if self.now >= self._lasts else None

    def end(self) -> None:
        self.ended = True

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        due = [act for when, act in self._later if when <= self.now]
        self._later = [(when, act) for when, act in self._later if when > self.now]
        for act in due:
            act()

    def follow(self, **options: Any) -> None:
        usual: dict[str, Any] = {"stop": NeverStop(), "on_step": lambda row, total: None}
        supervise(
            self, self.files, self.files.metrics, stall_after=timedelta(minutes=1),
            living=lambda pid: dict(self._living), clock=lambda: self.now, sleep=self._sleep, **{**usual, **options},
        )  # fmt: skip


def test_phases_and_steps_are_reported_in_the_order_in_which_they_began(tmp_path: Path) -> None:
    stage, seen = Stage(tmp_path, lasts=9), list[str]()
    stage.files.begin_phases()
    stage.at(3, lambda: PhaseFile(stage.files.phases).enter(Phase.STEPS))
    stage.at(3, lambda: stage.files.metrics.write_text('{"step": 1, "data": {}}\n'))
    stage.at(5, lambda: PhaseFile(stage.files.phases).enter(Phase.SAVING))
    stage.follow(on_step=lambda row, total: seen.append(f"step {row.step}"), on_phase=lambda start: seen.append(f"{start}"))
    assert seen == ["imports", "steps", "step 1", "saving"]


class Insists(NeverStop):
    """Two signals have come."""

    requested = insisted = True


def test_a_second_signal_ends_the_stage_amid_a_step(tmp_path: Path) -> None:
    stage = Stage(tmp_path, lasts=1000)
    stage.files.enter_loop(5)
    with pytest.raises(TerminatedError, match="stopped on request after step 0"):
        stage.follow(stop=Insists())
    assert (stage.ended, stage.now) == (True, 0.0)


def test_a_worker_that_dies_ends_the_stage_while_steps_are_made(tmp_path: Path) -> None:
    stage = Stage(tmp_path, lasts=LEAVE_SECONDS + 9)
    stage.has("Worker", until=2)
    with pytest.raises(CrashError, match="the process Worker died"):
        stage.follow()
    assert stage.ended


OUT_OF_MEMORY = "(EngineCore pid=9) torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n"


def test_a_worker_that_died_for_lack_of_memory_is_not_taken_for_a_crash(tmp_path: Path) -> None:
    stage = Stage(tmp_path, lasts=1000)
    stage.has("EngineCore", until=2)
    stage.at(2, lambda: stage.files.log.write_text(OUT_OF_MEMORY))
    with pytest.raises(GpuMemoryError, match="a GPU ran out of memory: lower maxTokensPerGpu"):
        stage.follow()


def test_an_engine_that_cannot_generate_for_lack_of_memory_is_not_taken_for_a_crash(tmp_path: Path) -> None:
    stage = Stage(tmp_path, lasts=1000)
    stage.at(2, lambda: stage.files.log.write_text(OUT_OF_MEMORY + "Error in _run_prompt: EngineDeadError\n"))
    with pytest.raises(GpuMemoryError):
        stage.follow()


def test_the_reason_is_found_before_what_other_ranks_add(tmp_path: Path) -> None:
    stage = Stage(tmp_path, lasts=3, code=1)
    stage.at(3, lambda: stage.files.log.write_text(OUT_OF_MEMORY + "a frame of another rank\n" * 2000))
    with pytest.raises(GpuMemoryError):
        stage.follow()


def test_the_reason_is_found_however_much_is_written_at_the_end(tmp_path: Path) -> None:
    stage = Stage(tmp_path, lasts=3, code=1)
    stage.at(3, lambda: stage.files.log.write_text(f"{'x' * 1000}\n" * 20_000 + OUT_OF_MEMORY))
    with pytest.raises(GpuMemoryError):
        stage.follow()


def test_the_main_process_may_say_why_its_worker_died(tmp_path: Path) -> None:
    stage = Stage(tmp_path, lasts=LEAVE_SECONDS, code=1)
    stage.has("Worker", until=2)
    with pytest.raises(CrashError, match="exit code 1"):
        stage.follow()


@pytest.mark.parametrize(("steps", "kind"), [(0, UserError), (1, CrashError)])
def test_only_before_the_first_step_is_a_refused_setting_taken_for_the_users(
    steps: int, kind: type[DeepICDError], tmp_path: Path
) -> None:
    stage = Stage(tmp_path, lasts=3, code=1)
    if steps:
        stage.at(1, lambda: stage.files.metrics.write_text('{"step": 1, "data": {}}\n'))
    stage.at(2, lambda: stage.files.log.write_text("ValueError: x\n"))
    with pytest.raises(DeepICDError) as error:
        stage.follow(untried="spec.stages.grpo.overrides")
    assert type(error.value) is kind


def test_an_engine_that_ends_where_nothing_trains_is_no_crash(tmp_path: Path) -> None:
    stage = Stage(tmp_path, lasts=LEAVE_SECONDS + 9)
    stage.has("VLLM::EngineCore", until=2)
    stage.follow(training=False)
    assert stage.now > LEAVE_SECONDS


def loses_rays_node(stage: Stage) -> None:
    logs = stage.scratch / "session_latest" / "logs"
    logs.mkdir(parents=True)
    stage.at(2, lambda: (logs / "raylet.err").write_text("waited for a port in vain"))
    stage.has("raylet", until=2)


@pytest.mark.parametrize(("lasts", "message"), [(3, "exit code 1"), (LEAVE_SECONDS + 9, "the process raylet died")])
def test_ray_has_not_started_where_its_node_dies_before_the_first_step(lasts: float, message: str, tmp_path: Path) -> None:
    stage = Stage(tmp_path, lasts=lasts, code=1)
    loses_rays_node(stage)
    with pytest.raises(RayStartError, match=message):
        stage.follow()
    assert stage.files.log.read_text() == "raylet: waited for a port in vain\n"


def test_rays_node_that_dies_once_steps_are_made_is_a_crash(tmp_path: Path) -> None:
    stage = Stage(tmp_path, lasts=LEAVE_SECONDS + 9)
    loses_rays_node(stage)
    stage.files.enter_loop(9)
    with pytest.raises(CrashError) as raised:
        stage.follow()
    assert type(raised.value) is CrashError


def test_a_worker_that_ends_after_the_last_step_is_no_crash_however_long_the_rest_takes(tmp_path: Path) -> None:
    stage = Stage(tmp_path, lasts=LEAVE_SECONDS + 9)
    stage.at(2, stage.files.loop_left.touch)
    stage.has("Worker", until=2)
    stage.follow()
    assert stage.now >= LEAVE_SECONDS + 9


def test_a_stop_requested_by_another_node_ends_the_stage_once_training_has_saved(tmp_path: Path) -> None:
    stage = Stage(tmp_path, lasts=5)
    stage.files.enter_loop(9)
    stage.at(2, stage.files.stop_request.touch)
    with pytest.raises(TerminatedError, match="stopped on request after step 0"):
        stage.follow()
    assert stage.now >= 5


def test_a_stop_requested_by_another_node_before_the_first_step_ends_the_stage_immediately(tmp_path: Path) -> None:
    stage = Stage(tmp_path, lasts=600)
    stage.files.stop_request.touch()
    with pytest.raises(TerminatedError):
        stage.follow()
    assert stage.now < 1


def test_rays_processes_are_found_by_the_names_that_they_give_themselves() -> None:
    named = {"ray::WorkerDict": "WorkerDict", "/of/ray/raylet": "raylet", "ray::a_task": None}
    began = [
        subprocess.Popen([name, "-c", "print(flush=True); input()"], executable=sys.executable, stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE)
        for name in named
    ]  # fmt: skip
    try:
        for process in began:
            assert process.stdout is not None
            process.stdout.readline()
        found = workers(os.getpid())
    finally:
        for process in began:
            process.communicate(b"\n")
    assert [found.get(process.pid) for process in began] == list(named.values())


def with_step(folder: Path) -> Stage:
    """A stage that makes one step, after a validation, and then none."""
    stage = Stage(folder, lasts=50)
    stage.files.begin_phases()
    stage.at(5, lambda: stage.files.metrics.write_text('{"step": 0, "data": {}}\n'))
    stage.at(20, lambda: stage.files.metrics.write_text('{"step": 0, "data": {}}\n{"step": 1, "data": {}}\n'))
    return stage


def test_a_stage_whose_gpus_stay_idle_after_a_step_has_stalled(tmp_path: Path) -> None:
    stage = with_step(tmp_path)
    with pytest.raises(StallError, match=r"no step, and idle GPUs, for 10s \(recovery.idleAfter\)"):
        stage.follow(idle=IdleWatch(timedelta(seconds=10), lambda: True))
    assert 30 <= stage.now < 32
    assert stage.ended


def test_gpus_may_be_idle_while_the_disk_is_waited_for(tmp_path: Path) -> None:
    stage = with_step(tmp_path)
    stage.at(21, stage.files.waiting_for_disk.touch)
    stage.follow(idle=IdleWatch(timedelta(seconds=10), lambda: True))
    assert stage.now >= 50
