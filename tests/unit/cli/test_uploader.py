"""The end of `deepicd sync`: real processes, stopped as a kubelet does it, with stores and API servers that are dead."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepicd.spec.progress import UPLOAD_KEY, read_upload
from tests.unit.cli.test_sync import DEEPICD, SECONDS, break_store, eventually, handles_sigterm, save

Start = Callable[..., "Running"]
PROGRESS = {"DEEPICD_PROGRESS": "night-run-a1-progress", "DEEPICD_NAMESPACE": "research"}
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "the-secret"}


class Running:
    """A process whose standard error is read while it runs."""

    def __init__(self, arguments: list[str], folder: Path, environment: dict[str, str]) -> None:
        command, inherited = [DEEPICD, "sync", *arguments], {**os.environ, "KUBECONFIG": "none", **environment}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=folder, env=inherited)
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines += []
        for line in self.process.stderr:
            self.lines.append(line)

    def says(self, words: str) -> None:
        """Wait until it has printed a text."""
        eventually(lambda: any(words in line for line in self.lines))

    def terminated(self, seconds: float = SECONDS) -> tuple[int, str]:
        """Its exit code and its error line, after SIGTERM and, some seconds later, SIGKILL."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended(seconds)

    def ended(self, seconds: float = SECONDS) -> tuple[int, str]:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._reader.join()
        return self.process.wait(), next((line for line in self.lines if line.startswith("error: ")), "")

    def kill(self) -> None:
        self.process.kill()
        self.ended()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    processes: list[Running] = []

    def start(*arguments: object, **environment: str) -> Running:
        processes.append(Running([str(each) for each in arguments], tmp_path, environment))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()


@pytest.fixture
def silent() -> Iterator[str]:
    """Address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


class ApiServer(BaseHTTPRequestHandler):
    """Records patches."""

    patches: list[dict[str, Any]]

    def do_PATCH(self) -> None:
        self.patches.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        answer = b'{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: object) -> None:
        pass


def kubeconfig(folder: Path, server: str) -> str:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "test", "user": {}}],
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(content))
    return str(folder / "kubeconfig")


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """The patches of the ConfigMap by an uploader in a pod."""
    handler = type("Handler", (ApiServer,), {"patches": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        for name, value in {**PROGRESS, "KUBECONFIG": kubeconfig(tmp_path, address)}.items():
            monkeypatch.setenv(name, value)
        yield handler.patches  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


def mark(folder: Path, seconds_ago: float) -> Path:
    """The hook's, as if the pod's termination had begun then."""
    began = float(Path("/proc/uptime").read_text().split()[0]) - seconds_ago
    (folder / "mark").write_text(f"{began:.2f} 1.00\n")
    return folder / "mark"


def test_sigterm_ends_the_wait_for_the_folder(start: Start, tmp_path: Path) -> None:
    process = start("--dir", "c", "--store", "s", "--attempt", 1, "--json")
    eventually(lambda: handles_sigterm(process.process))
    assert process.terminated() == (0, "")


def test_a_dead_store_with_nothing_to_store_is_not_a_failure(start: Start, tmp_path: Path) -> None:
    process = start("--dir", "c", "--store", "s3://models/r", "--endpoint-url", "http://127.0.0.1:9", **KEYS)
    process.says("store does not answer")
    assert process.terminated() == (0, "")


def test_a_store_that_was_dead_from_the_start_is_named_with_what_is_missing(start: Start, tmp_path: Path) -> None:
    save(tmp_path / "c", 5)
    (tmp_path / "c" / "training.log").write_text("x")
    address = ["--dir", "c", "--store", "s3://models/r", "--endpoint-url", "http://127.0.0.1:9"]
    process = start(*address, "--grace", "4s", **KEYS)
    process.says("store does not answer")
    code, line = process.terminated(4)
    assert code == 75
    assert line.startswith("error: not stored within the grace period: grpo step 5, logs: http://127.0.0.1:9: get_object: ")
    assert "the-secret" not in line


def test_a_store_that_takes_connections_and_never_answers_does_not_hold_it(start: Start, tmp_path: Path, silent: str) -> None:
    save(tmp_path / "c", 5)
    process = start("--dir", "c", "--store", "s3://models/r", "--endpoint-url", silent, "--grace", "4s", **KEYS)
    eventually(lambda: handles_sigterm(process.process))
    code, line = process.terminated(4)
    assert code == 75
    reason = "the store did not answer in time: run deepicd sync again on this folder"
    assert line == f"error: not stored within the grace period: grpo step 5: {reason}\n"


def begun(start: Start, folder: Path, *arguments: object, **environment: str) -> Running:
    """An uploader whose store fails from now on, with a step that it cannot store."""
    break_store(folder / "s")
    (folder / "c").mkdir()
    process = start("--dir", "c", "--store", "s", "--attempt", 1, *arguments, **environment)
    eventually((folder / "s" / "attempts" / "1" / "writer.json").exists)
    save(folder / "c", 5)
    return process


@pytest.mark.parametrize("grace", [5, pytest.param(7, marks=pytest.mark.long)])
def test_with_store_and_api_server_dead_it_exits_before_it_is_killed(
    start: Start, tmp_path: Path, silent: str, grace: int
) -> None:
    environment = {**PROGRESS, "KUBECONFIG": kubeconfig(tmp_path, silent)}
    process = begun(start, tmp_path, "--grace", f"{grace}s", "--grace-from", "mark", **environment)
    process.says("upload failed")
    mark(tmp_path, 0)
    code, line = process.terminated(grace)
    assert code == 75
    assert line.startswith("error: not stored within the grace period: grpo step 5: ")


def test_a_trainer_that_used_up_the_grace_period_leaves_two_seconds(start: Start, tmp_path: Path, silent: str) -> None:
    environment = {**PROGRESS, "KUBECONFIG": kubeconfig(tmp_path, silent)}
    process = begun(start, tmp_path, "--grace", "10m", "--grace-from", tmp_path / "mark", **environment)
    process.says("upload failed")
    mark(tmp_path, 3600)
    code, line = process.terminated(2)
    assert code == 75
    assert line.startswith("error: not stored within the grace period: grpo step 5: ")


def test_a_termination_that_began_while_it_started_up_is_not_missed(start: Start, tmp_path: Path) -> None:
    process = start("--dir", "c", "--store", "s", "--attempt", 1, "--grace-from", "mark")
    mark(tmp_path, 0)
    assert process.ended() == (0, "")


def test_a_trainer_that_may_still_save_is_waited_for(start: Start, tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    process = start("--dir", "c", "--store", "s", "--attempt", 1, "--grace-from", "mark")
    mark(tmp_path, 0)
    eventually((tmp_path / "s" / "attempts" / "1" / "writer.json").exists)
    save(tmp_path / "c", 5)
    eventually((tmp_path / "c" / "global_step_5.durable").exists)
    assert process.terminated() == (0, "")


def test_a_complete_upload_is_reported(start: Start, tmp_path: Path, reports: list[dict[str, Any]]) -> None:
    save(tmp_path / "c", 5)
    (tmp_path / "c" / "run-finished").touch()
    process = start("--dir", "c", "--store", "s", "--attempt", 1, KUBECONFIG=str(tmp_path / "kubeconfig"))
    assert process.ended() == (0, "")
    assert {key for patch in reports for key in patch["data"]} == {"checkpoint.json", "upload.json"}
    (text,) = (patch["data"][UPLOAD_KEY] for patch in reports if UPLOAD_KEY in patch["data"])
    upload = read_upload(text)
    assert upload is not None
    assert (upload.complete, upload.missing) == (True, None)


def test_what_is_missing_is_reported(start: Start, tmp_path: Path, reports: list[dict[str, Any]]) -> None:
    process = begun(start, tmp_path, "--grace", "4s", KUBECONFIG=str(tmp_path / "kubeconfig"))
    assert process.terminated()[0] == 75
    (patch,) = reports
    upload = read_upload(patch["data"][UPLOAD_KEY])
    assert upload is not None
    assert (upload.complete, upload.missing) == (False, "grpo step 5")


def test_the_hook_and_the_uploader_agree(tmp_path: Path) -> None:
    """The uploader reads what the kubelet's command writes."""
    from deepicd.cli.grace import termination_began
    from deepicd.spec.environment import MARK_TERMINATION

    *command, place = MARK_TERMINATION
    subprocess.run([*command, str(tmp_path / Path(place).name)], check=True)
    assert termination_began(tmp_path / Path(place).name) is not None
