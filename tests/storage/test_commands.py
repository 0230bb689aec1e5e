"""`deepicd sync` and `deepicd artifacts` as processes, on a real S3 server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.storage.fault_proxy import FaultProxy
from tests.storage.seaweed import ACCESS_KEY, BUCKET, SECRET_KEY, Seaweed

DEEPICD = str(Path(sys.executable).with_name("deepicd"))


class Machine:
    """Runs commands with credentials from the environment."""

    def __init__(self, seaweed: Seaweed, folder: Path) -> None:
        self.seaweed = seaweed
        self.root = f"s3://{BUCKET}/{folder.name}/quickstart"
        self.checkpoints = folder / "checkpoints"
        self.environment = {**os.environ, "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_DEFAULT_REGION": "us-east-1"}

    def save(self, step: int) -> None:
        place = self.checkpoints / f"global_step_{step}"
        place.mkdir(parents=True)
        (place / "model.pt").write_text(f"weights {step}")
        (self.checkpoints / "latest_checkpointed_iteration.txt").write_text(str(step))

    def run(self, *arguments: object, secret: str = SECRET_KEY) -> subprocess.CompletedProcess[str]:
        command = [DEEPICD, *(str(argument) for argument in arguments), "--endpoint-url", self.seaweed.endpoint]
        environment = {**self.environment, "AWS_SECRET_ACCESS_KEY": secret}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)

    def sync(self, **options: str) -> subprocess.CompletedProcess[str]:
        return self.run("sync", "--dir", self.checkpoints, "--store", self.root, "--attempt", 1, "--once", **options)


@pytest.fixture
def machine(seaweed: Seaweed, tmp_path: Path) -> Machine:
    return Machine(seaweed, tmp_path)


def test_what_was_uploaded_is_listed_verified_fetched_and_linked(machine: Machine, tmp_path: Path) -> None:
    for step in (5, 10):
        machine.save(step)
    assert machine.sync().returncode == 0
    (found,) = json.loads(machine.run("artifacts", "ls", machine.root, "--json").stdout)
    assert [item["step"] for item in found["committed"]] == [5, 10]
    assert machine.run("artifacts", "verify", machine.root).stdout.count("whole") == 2
    assert machine.run("artifacts", "get", machine.root, "--what", "checkpoint", "--dir", tmp_path / "out").returncode == 0
    assert (tmp_path / "out" / "global_step_10" / "model.pt").read_text() == "weights 10"
    lines = machine.run("artifacts", "url", machine.root, "--what", "checkpoint").stdout.splitlines()
    with urllib.request.urlopen(lines[0].split("\t")[1]) as answer:
        assert answer.read() == b"weights 10"


def test_prune_deletes_from_the_bucket(machine: Machine) -> None:
    for step in (5, 10):
        machine.save(step)
    machine.sync()
    assert machine.run("artifacts", "prune", machine.root, "--keep-last", 1, "--yes").returncode == 0
    keys = [
        item["Key"]
        for item in machine.seaweed.client().list_objects_v2(Bucket=BUCKET, Prefix=machine.root[5:].split("/", 1)[1])[
            "Contents"
        ]
    ]
    assert [key for key in keys if "step-000005" in key] == []
    assert [key for key in keys if "step-000010" in key] != []


@pytest.mark.parametrize("command", ["sync", "ls"])
def test_a_wrong_secret_is_one_line_that_does_not_show_it(machine: Machine, command: str) -> None:
    machine.save(5)
    wrong = "wrong-secret-value"
    done = machine.sync(secret=wrong) if command == "sync" else machine.run("artifacts", "ls", machine.root, secret=wrong)
    assert done.returncode == 64
    assert [line[:6] for line in done.stderr.splitlines()].count("error:") == 1
    assert wrong not in done.stderr + done.stdout


def test_a_missing_bucket_is_one_line(machine: Machine) -> None:
    machine.root = "s3://no-such-bucket-here/run"
    machine.save(5)
    done = machine.sync()
    assert done.returncode == 64
    assert done.stderr.startswith("error: s3://no-such-bucket-here: ")


def test_sigterm_does_not_wait_for_a_store_that_hangs(machine: Machine, proxy: FaultProxy) -> None:
    """Its parts are silent for longer than --grace, and a request gives up after a minute only."""
    machine.save(5)
    (machine.checkpoints / "global_step_5" / "optim.pt").write_bytes(bytes(9 * 2**20))
    proxy.fail("part", "hang", times=10_000)
    command = [DEEPICD, "sync", "--dir", str(machine.checkpoints), "--store", machine.root, "--attempt", "1", "--grace", "1s"]
    environment = {**machine.environment, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    uploader = subprocess.Popen(
        [*command, "--endpoint-url", proxy.endpoint], env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        assert proxy.has_failed.wait(60)
        uploader.send_signal(signal.SIGTERM)
        _, printed = uploader.communicate(timeout=120)
    finally:
        uploader.kill()
        uploader.wait()
    assert uploader.returncode == 75
    assert "error: not stored within the grace period: " in printed
