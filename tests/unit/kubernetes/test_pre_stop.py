from __future__ import annotations

import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

from deepicd.kubernetes.pre_stop import is_command, leave
from deepicd.spec.environment import ATTEMPT_COMMAND
from deepicd.training.stage_files import StageFiles

WAITS_FOR_SIGTERM = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), print("saved", flush=True), sys.exit(143)))
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("before", [(), ("/usr/bin/python3",)])
def test_the_attempts_command_is_known_with_and_without_its_interpreter(before: tuple[str, ...]) -> None:
    assert is_command([*before, "/usr/bin/deepicd", *ATTEMPT_COMMAND[1:]], ATTEMPT_COMMAND)


@pytest.mark.parametrize("found", [[], ["deepicd", "sync"], [*ATTEMPT_COMMAND, "--more"], ["run"]])
def test_other_commands_are_left_alone(found: list[str]) -> None:
    assert not is_command(found, ATTEMPT_COMMAND)


def nobody(found: Sequence[str]) -> bool:
    return False


def test_the_run_is_asked_to_leave_and_waited_for(tmp_path: Path) -> None:
    # Only of this test: the machine may execute other runs.
    command = ("deepicd", "run", f"{uuid.uuid4()}.yaml")
    run = subprocess.Popen([sys.executable, "-c", WAITS_FOR_SIGTERM, *command[1:]], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.readline() == "ready\n"
    leave(command, StageFiles(tmp_path), nobody)
    # It had ended, and printed so, before `leave` returned.
    assert run.poll() == 143
    assert run.stdout.read() == "saved\n"


ENDS_WHEN_THE_STAGE_DOES = """
import pathlib, sys, time
asked = pathlib.Path(sys.argv[1])
while not asked.exists():
    time.sleep(0.05)
time.sleep(0.5)
"""


def test_a_worker_asks_the_stage_to_stop_and_waits_for_its_actors(tmp_path: Path) -> None:
    stage, name = StageFiles(tmp_path), f"ray::Of{uuid.uuid4().hex}"
    arguments = [name, "-c", ENDS_WHEN_THE_STAGE_DOES, str(stage.stop_request)]
    actor = subprocess.Popen(arguments, executable=sys.executable)
    leave(("deepicd", f"{uuid.uuid4()}.yaml"), stage, lambda found: list(found[:1]) == [name])
    assert actor.poll() == 0


def test_a_pod_without_training_asks_for_nothing(tmp_path: Path) -> None:
    stage = StageFiles(tmp_path)
    leave(("deepicd", f"{uuid.uuid4()}.yaml"), stage, nobody)
    assert not stage.stop_request.exists()


IGNORES_SIGINT = """
from deepicd.cli.stop import SignalStop
stop = SignalStop()
stop.install()
print("ready", flush=True)
input()
print(stop.requested, flush=True)
"""


def test_a_sigint_that_is_ignored_from_the_start_asks_for_nothing() -> None:
    command = f"trap '' INT; exec {sys.executable} -c \"$0\""
    run = subprocess.Popen(["sh", "-c", command, IGNORES_SIGINT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.readline() == "ready\n"
    run.send_signal(signal.SIGINT)
    time.sleep(0.2)
    out, _ = run.communicate("\n", timeout=30)
    assert out == "False\n"
