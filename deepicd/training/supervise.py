"""Follows a training stage and ends it when it cannot continue. `Watch` decides, `supervise` acts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import psutil

from deepicd.errors import CrashError, NotANumberError, StallError, TerminatedError
from deepicd.phases import OnPhase, PhaseFile, ignore
from deepicd.spec.base import format_duration
from deepicd.training.exit_reasons import explain_exit, known_reason
from deepicd.training.gpu_activity import IdleWatch
from deepicd.training.log_tail import LogTail
from deepicd.training.process_names import RAY_NODE, node_name, worker_name
from deepicd.training.stage_files import StageFiles
from deepicd.training.step_metrics import MetricsFile, StepMetrics

POLL_SECONDS = 0.5
SKIPPED_UPDATES = 5
"""Steps in a row whose gradient may be NaN or infinite; verl skips their updates."""
LEAVE_SECONDS = 20.0
"""How long the main process may take to fail after one of its workers has died."""
_ROLLOUT_FAILURE = "Error in _run_prompt"
_MOST_CHARACTERS = 8000
"""Maximum number of characters taken from a dead process's own log."""


class RayStartError(CrashError):
    """Ray's node died before the first step. It does so if one of its own processes takes more than 15 s to start."""


class Stop(Protocol):
    """Whether SIGTERM or Ctrl-C has arrived."""

    @property
    def requested(self) -> bool:
        """Stop after the current step."""

    @property
    def insisted(self) -> bool:
        """Stop immediately."""

    def raise_when_requested(self, wanted: bool) -> None:
        """Whether a signal raises TerminatedError immediately: for work that is repeated from its start."""


@dataclass
class Watch:
    """Pure part: follows a stage, and decides whether it must end. Times are seconds of one monotonic clock."""

    stall_after: timedelta
    started: float
    last_progress: float = field(init=False)
    _workers: dict[int, str] = field(default_factory=dict)
    _missing_since: float | None = None
    _skipped: int = 0
    """Updates in a row that verl has skipped."""
    missing: str = ""
    """Name of the first of the workers that died."""

    def __post_init__(self) -> None:
        self.last_progress = self.started

    def check_step(self, row: StepMetrics, now: float) -> None:
        """Record a step.

        Raises:
            NotANumberError: reward or loss is NaN or infinite, or the gradient in `SKIPPED_UPDATES` steps in a row.
        """
        if row.update_skipped is not None:
            self._skipped = self._skipped + 1 if row.update_skipped else 0
        if self._skipped == SKIPPED_UPDATES:
            raise NotANumberError(
                f"the gradient is not finite in {SKIPPED_UPDATES} steps up to {row.step}, so nothing is learned: "
                "lower the learning rate, or set model.dtype to float32 in a new run"
            )
        if row.not_finite:
            raise NotANumberError(
                f"{row.not_finite} is not a finite number at step {row.step}: lower the learning rate, or check the reward; "
                "run again to resume from the last checkpoint"
            )
        self.last_progress = now

    def pause(self, now: float) -> None:
        """Training waits for disk space, which is not a stall."""
        self.last_progress = now

    def check_stall(self, now: float) -> None:
        """Raises: StallError: no step for `stall_after`."""
        if now - self.last_progress > self.stall_after.total_seconds():
            raise StallError(
                f"no step for {format_duration(self.stall_after)} (recovery.stallAfter): "
                "run again to resume from the last checkpoint, or raise the limit"
            )

    def check_workers(self, living: dict[int, str], now: float) -> None:
        """Record the living Ray and vLLM processes.

        Raises:
            CrashError: one of them died, and the main process did not end within `LEAVE_SECONDS`.
        """
        gone = [name for pid, name in self._workers.items() if pid not in living]
        if gone and self._missing_since is None:
            self._missing_since, self.missing = now, gone[0]
        self._workers |= living
        if self._missing_since is not None and now - self._missing_since > LEAVE_SECONDS:
            raise CrashError(f"the process {self.missing} died: see the log; run again to resume from the last checkpoint")


def workers(pid: int) -> dict[int, str]:
    """Ray's and vLLM's long-lived processes among the descendants of `pid`, by process id."""
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return {}
    found: dict[int, str] = {}
    parents: dict[int, int] = {}
    for child in children:
        try:
            command = child.cmdline()
            name = worker_name(command) or node_name(command)
            if name and child.status() != psutil.STATUS_ZOMBIE:
                found[child.pid], parents[child.pid] = name, child.ppid()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    # A short-lived fork of a worker has the worker's name.
    return {child: name for child, name in found.items() if found.get(parents[child]) != name}


def _check_workers(watch: Watch, living: dict[int, str], now: float, scratch: Path, log: LogTail) -> None:
    """`Watch.check_workers`; if a worker died, its own log, which may have the reason, is added to the stage's log."""
    already = watch.missing
    try:
        watch.check_workers(living, now)
    except CrashError as died:
        raise known_reason(log.recent) or died from None
    if watch.missing != already:
        # Ray's own logs go with the temporary folder.
        for path in scratch.glob(f"session_latest/logs/{watch.missing}.err"):
            with log.path.open("a") as file:
                file.write(f"{watch.missing}: {path.read_text(errors='replace')[:_MOST_CHARACTERS]}\n")


def _check_stall(watch: Watch, idle: IdleWatch | None, files: StageFiles, now: float) -> None:
    if files.waiting_for_disk.exists():
        watch.pause(now)
    elif idle is not None:
        idle.check(now)
    watch.check_stall(now)


class Process(Protocol):
    """A stage's process, such as `GuardedProcess`."""

    @property
    def pid(self) -> int:
        """Its id."""

    @property
    def scratch(self) -> Path:
        """Its temporary folder."""

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""

    def end(self) -> None:
        """End its whole tree."""


def supervise(
    process: Process,
    files: StageFiles,
    metrics: Path,
    *,
    stall_after: timedelta,
    stop: Stop,
    on_step: Callable[[StepMetrics, int | None], None],
    on_phase: OnPhase = ignore,
    training: bool = True,
    untried: str | None = None,
    idle: IdleWatch | None = None,
    living: Callable[[int], dict[int, str]] = workers,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait for a stage's process, reporting its phases and steps; end its whole tree before returning or raising.

    `training`: the process saves a checkpoint when it is asked to stop, and the end of a Ray or vLLM process means a crash
    until all steps are made; one that only generates is ended immediately, and ends its engines itself.
    `untried`: the field with the user's settings for the training stack, if no step has been made with them.
    `idle`: ends the stage when its GPUs are idle, if that is looked at.
    `living`: its Ray and vLLM processes.

    Raises:
        UserError, CrashError, RayStartError, StallError: the stage failed; see `Watch`.
        TerminatedError: a stop was requested, by a signal or in `files`; a checkpoint was saved if training was under way.
    """
    watch = Watch(stall_after, clock())
    phases = PhaseFile(files.phases, files.log)

    def report(now: float) -> bool:
        """Report what is new; returns whether steps are among it."""
        # Phases first: a step line belongs to the phase in which it was made.
        for start in phases.new():
            on_phase(start)
            if idle is not None:
                idle.enter(start.phase)
        made = list(rows.new_steps())
        for row in made:
            watch.check_step(row, now)
            on_step(row, files.total_steps)
        if idle is not None and any(row.step > 0 for row in made):
            idle.moved()
        return bool(made)

    rows = MetricsFile(metrics)
    try:
        _follow(
            process, files, watch, stop, report, training=training, untried=untried, idle=idle, living=living, clock=clock,
            sleep=sleep,
        )  # fmt: skip
    except CrashError as error:
        if watch.missing in RAY_NODE and not files.loop_entered.exists():
            raise RayStartError(str(error)) from error
        raise


def _follow(
    process: Process,
    files: StageFiles,
    watch: Watch,
    stop: Stop,
    report: Callable[[float], bool],
    *,
    training: bool,
    untried: str | None,
    idle: IdleWatch | None,
    living: Callable[[int], dict[int, str]],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    log = LogTail(files.log)

    def stop_requested() -> bool:
        # Another node of the run that has to end may have requested it.
        return stop.requested or (training and files.stop_request.exists())

    try:
        while True:
            code = process.poll()
            now = clock()
            if report(now):
                untried = None
            lines = log.new_lines()
            if failure := files.reported_failure():
                raise failure
            if code is not None:
                log.read_rest()
                break
            if any(_ROLLOUT_FAILURE in line for line in lines):
                failed = "vLLM failed to generate: see the log; run again to resume from the last checkpoint"
                raise known_reason(log.recent) or CrashError(failed)
            if stop.requested:
                files.stop_request.touch()
            if stop_requested() and (stop.insisted or not training or not files.loop_entered.exists()):
                break
            _check_stall(watch, idle, files, now)
            if training and not files.loop_left.exists():
                _check_workers(watch, living(process.pid), now, process.scratch, log)
            sleep(POLL_SECONDS)
    finally:
        process.end()
    if code:
        raise explain_exit(code, log.recent, untried)
    if stop_requested():
        raise TerminatedError(f"stopped on request after step {files.checkpoints.last_step}: run again to resume")
