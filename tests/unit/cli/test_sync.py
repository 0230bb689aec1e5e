"""`deepicd sync` as a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deepicd.artifacts.layout import CheckpointRef, ModelRef
from deepicd.artifacts.retention import committed, read_manifests
from deepicd.artifacts.store.folder import FolderStore
from deepicd.cli import logs, sync
from deepicd.cli.main import cli
from deepicd.errors import UserError

DEEPICD = str(Path(sys.executable).with_name("deepicd"))
SECONDS = 240.0
HELD = "a folder where the store wants a file: every write fails"

Start = Callable[..., "subprocess.Popen[str]"]


def save(folder: Path, step: int) -> None:
    (folder / f"global_step_{step}" / "actor").mkdir(parents=True)
    (folder / f"global_step_{step}" / "actor" / "model.pt").write_text(f"weights {step}")
    (folder / "latest_checkpointed_iteration.txt").write_text(str(step))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    processes = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        command = [DEEPICD, "sync", *(str(argument) for argument in arguments)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code, and its error line."""
    lines = process.communicate(timeout=SECONDS)[1].splitlines()
    return process.returncode, next((line for line in lines if line.startswith("error: ")), "")


def eventually(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def handles_sigterm(process: subprocess.Popen[str]) -> bool:
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def test_once_uploads_and_ends(start: Start, tmp_path: Path) -> None:
    save(tmp_path / "c", 50)
    code, _ = end(start("--dir", tmp_path / "c", "--store", tmp_path / "s" / "quickstart", "--attempt", 3, "--once"))
    assert code == 0
    store = FolderStore(tmp_path / "s" / "quickstart")
    ref = CheckpointRef(3, "grpo", 50)
    made = read_manifests(store, committed(store.list()))[ref]
    assert made is not None
    assert (made.run, [file.path for file in made.files]) == ("quickstart", ["actor/model.pt"])


def test_it_is_started_before_the_trainer_and_ends_with_the_run(start: Start, tmp_path: Path) -> None:
    process = start("--dir", tmp_path / "c", "--store", tmp_path / "s", "--attempt", 1)
    eventually(lambda: handles_sigterm(process))
    save(tmp_path / "c", 5)
    eventually((tmp_path / "c" / "global_step_5.durable").exists)
    save(tmp_path / "c", 10)
    (tmp_path / "c" / "run-finished").touch()
    assert end(process)[0] == 0
    assert committed(FolderStore(tmp_path / "s").list()) == [CheckpointRef(1, "grpo", 5), CheckpointRef(1, "grpo", 10)]


def test_sigterm_finishes_what_is_complete(start: Start, tmp_path: Path) -> None:
    save(tmp_path / "c", 5)
    process = start("--dir", tmp_path / "c", "--store", tmp_path / "s", "--attempt", 1)
    eventually((tmp_path / "c" / "global_step_5.durable").exists)
    save(tmp_path / "c", 10)
    process.send_signal(signal.SIGTERM)
    assert end(process)[0] == 0
    assert CheckpointRef(1, "grpo", 10) in committed(FolderStore(tmp_path / "s").list())


def break_store(folder: Path) -> None:
    """From now on nothing can be written below the attempt's checkpoints."""
    (folder / "attempts" / "1").mkdir(parents=True, exist_ok=True)
    (folder / "attempts" / "1" / "checkpoints").write_text(HELD)


def test_after_its_grace_it_says_what_is_missing(start: Start, tmp_path: Path) -> None:
    break_store(tmp_path / "s")
    (tmp_path / "c").mkdir()
    process = start("--dir", tmp_path / "c", "--store", tmp_path / "s", "--attempt", 1, "--grace", "1s")
    eventually((tmp_path / "s" / "attempts" / "1" / "writer.json").exists)
    save(tmp_path / "c", 5)
    save(tmp_path / "c", 10)
    process.send_signal(signal.SIGTERM)
    code, last = end(process)
    assert code == 75
    assert last.startswith("error: not stored within the grace period: grpo step 10, grpo step 5: ")
    assert last.endswith("Not a directory: check that the folder can be reached, then try again")


def test_a_second_sigterm_ends_it_immediately(start: Start, tmp_path: Path) -> None:
    break_store(tmp_path / "s")
    save(tmp_path / "c", 5)
    process = start("--dir", tmp_path / "c", "--store", tmp_path / "s", "--attempt", 1)
    eventually((tmp_path / "s" / "attempts" / "1" / "writer.json").exists)

    def ended_by_another() -> bool:
        process.send_signal(signal.SIGTERM)
        return process.poll() is not None

    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    eventually(ended_by_another)  # repeated, since two that a busy process has not handled yet are one
    assert end(process)[0] == 143


def test_one_of_two_writers_of_an_attempt_stops_with_an_error(start: Start, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(tmp_path / name, 5)
    processes = [start("--dir", tmp_path / name, "--store", tmp_path / "s", "--attempt", 1, "--once") for name in ("a", "b")]
    (first, _), (second, last) = sorted(end(process) for process in processes)
    assert (first, second) == (0, 64)
    assert "attempt 1 is being written by another process (host " in last


def test_a_run_yaml_gives_all_of_it(start: Start, tmp_path: Path) -> None:
    content = {
        "model": {"path": "m"},
        "data": {"prepared": "d"},
        "stages": {"grpo": {}},
        "storage": {"folder": str(tmp_path / "s")},
    }
    head = {"apiVersion": "deepicd.io/v1alpha1", "kind": "DeepICDRun", "metadata": {"name": "quickstart"}}
    (tmp_path / "run.yaml").write_text(json.dumps({**head, "spec": content}))
    stages = tmp_path / "runs" / "quickstart" / "stages"
    save(stages / "grpo" / "checkpoints", 5)
    (stages / "prepare" / "model").mkdir(parents=True)
    (stages / "prepare" / "model" / "config.json").write_text("{}")
    (stages / "prepare.completed.json").write_text("{}")
    (stages / "grpo" / "metrics").mkdir()
    line = {"step": 5, "data": {"critic/score/mean": 0.5, "val-core/x/reward/mean@1": 0.75}}
    (stages / "grpo" / "metrics" / "launch-0001.jsonl").write_text(json.dumps(line) + "\n")
    assert end(start("--spec", "run.yaml", "--once"))[0] == 0
    (root,) = (tmp_path / "s" / "quickstart").iterdir()
    store = FolderStore(root)
    manifests = read_manifests(store, committed(store.list()))
    assert list(manifests) == [CheckpointRef(1, "grpo", 5), ModelRef(1, "base")]
    made = manifests[CheckpointRef(1, "grpo", 5)]
    assert made is not None
    assert made.metrics == {"reward": 0.75, "trainingReward": 0.5}
    assert len(made.spec_digest) == 64
    assert store.read("attempts/1/logs/grpo/metrics/launch-0001.jsonl") is not None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dir", "none", "--store", "s", "--once"], "none: does not exist"),
        (["--dir", "c"], "--store: give the run's root in the store, or --spec"),
        (["--store", "s"], "--dir: give the folder"),
        (["--dir", "c", "--store", "ftp://x"], "is not the address of a store"),
        (["--dir", "c", "--store", "s", "--grace", "soon"], "--grace: a duration is"),
        (["--dir", "c", "--store", "s", "--stage", "base"], "--stage: is 'base'"),
    ],
)
def test_what_the_user_must_fix_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logs, "configure", lambda *, as_json: None)  # it would outlive this test's standard error
    monkeypatch.setattr(sync, "Signals", lambda: None)  # so would these
    save(tmp_path / "c", 5)
    error = CliRunner().invoke(cli, ["sync", *arguments]).exception
    assert isinstance(error, UserError)
    assert words in str(error)
    assert "\n" not in str(error)
