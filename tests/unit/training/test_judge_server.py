from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deepicd.errors import CrashError, TerminatedError
from deepicd.spec.load import parse
from deepicd.spec.run import DeepICDRun
from deepicd.training import judge_server as module
from deepicd.training.cpu.device import Cpus
from deepicd.training.device import Device, device
from deepicd.training.judge_server import Shared, command, judge_server
from deepicd.training.model_server import Server, serving
from deepicd.training.stage_files import StageFiles
from tests.unit.spec.test_load import quickstart
from tests.unit.stops import NeverStop

SHARED = Shared(0.5, sleeps=True)
SERVER = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/end":
            os._exit(3)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ["VLLM_API_KEY"].encode())
    def do_POST(self):
        print("POST", self.path, self.headers["Authorization"] == "Bearer " + os.environ["VLLM_API_KEY"], flush=True)
        self.do_GET()
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def run(**judge: Any) -> DeepICDRun:
    content = quickstart()
    content["spec"]["reward"] = {"weights": {"judge": 0.1}, "judge": {"model": "/models/judge", **judge}}
    return parse(content, "run.yaml")


@pytest.fixture
def files(tmp_path: Path) -> StageFiles:
    return StageFiles(tmp_path / "grpo")


@pytest.fixture
def stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small server instead of vLLM's."""
    monkeypatch.setattr(module, "command", lambda _, port, name: [sys.executable, "-c", SERVER, str(port)])


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as response:
        text: str = response.read().decode()
        return text


@pytest.mark.usefixtures("stands_in")
def test_the_server_is_up_in_the_body_and_gone_after_it(files: StageFiles) -> None:
    with judge_server(run(), files, NeverStop(), SHARED) as variables:
        endpoint = variables["DEEPICD_JUDGE_ENDPOINT"]
        assert endpoint.startswith("http://127.0.0.1:")
        assert get(endpoint) == variables["DEEPICD_JUDGE_API_KEY"]
    with pytest.raises(OSError, match="refused"):
        get(endpoint)
    assert files.reported_failure() is None


@pytest.mark.usefixtures("stands_in")
def test_each_judge_has_its_server_with_its_own_key_and_log(files: StageFiles) -> None:
    both = run(second={"model": "/models/another"})
    with judge_server(both, files, NeverStop(), SHARED) as variables:
        for name in ("JUDGE", "SECOND_JUDGE"):
            assert get(variables[f"DEEPICD_{name}_ENDPOINT"]) == variables[f"DEEPICD_{name}_API_KEY"]
        assert variables["DEEPICD_JUDGE_API_KEY"] != variables["DEEPICD_SECOND_JUDGE_API_KEY"]
    assert files.judge_log.exists()
    assert files.second_judge_log.exists()
    with judge_server(both, files, NeverStop(), SHARED, second=False) as variables:
        assert "DEEPICD_SECOND_JUDGE_ENDPOINT" not in variables


@pytest.mark.usefixtures("stands_in")
def test_a_colocated_judge_sleeps_before_training_begins_on_the_policys_gpus(
    files: StageFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    started: list[Server] = []

    @contextmanager
    def seen(server: Server, *arguments: Any, **options: Any) -> Iterator[Mapping[str, str]]:
        started.append(server)
        with serving(server, *arguments, **options) as variables:
            yield variables

    monkeypatch.setattr(module, "serving", seen)
    monkeypatch.setattr(module, "device", Device)
    with judge_server(run(placement="colocated"), files, NeverStop(), Shared(0.4, sleeps=True)) as variables:
        assert variables["CUDA_VISIBLE_DEVICES"] == started[0].variables["CUDA_VISIBLE_DEVICES"] != ""
        assert "POST /v1/sleep True" in files.judge_log.read_text()
    arguments = started[0].command(1)
    assert arguments[arguments.index("--gpu-memory-utilization") + 1] == "0.4"
    assert "--enable-sleep-mode" in arguments
    assert arguments[arguments.index("--middleware") + 1] == "deepicd.training.judge_sleep.Sleeping"
    with judge_server(run(placement="colocated"), files, NeverStop(), Shared(0.45, sleeps=False)):
        assert "--middleware" not in started[1].command(1)
    assert files.judge_log.read_text().count("POST /v1/sleep True") == 1


@pytest.mark.usefixtures("stands_in")
def test_a_server_that_ends_in_the_body_ends_the_stage(files: StageFiles) -> None:
    with judge_server(run(), files, NeverStop(), SHARED) as variables:
        with pytest.raises(OSError):  # noqa: PT011 - it ends without an answer
            get(variables["DEEPICD_JUDGE_ENDPOINT"].removesuffix("/v1") + "/end")
        deadline = time.monotonic() + 60
        while (failure := files.reported_failure()) is None and time.monotonic() < deadline:
            time.sleep(0.05)
    assert isinstance(failure, CrashError)
    assert "reward.judge.model: its vLLM server ended: see " in str(failure)


def test_a_server_that_does_not_start_is_named_with_its_log(files: StageFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "command", lambda _, port, name: [sys.executable, "-c", "raise SystemExit('no such model')"])
    with (
        pytest.raises(CrashError, match=r"its vLLM server did not start: see .*judge\.log"),
        judge_server(run(), files, NeverStop(), SHARED),
    ):
        pytest.fail("there is no server")
    assert "no such model" in files.judge_log.read_text()


def test_a_stop_while_the_server_starts_is_obeyed(files: StageFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    class Requested(NeverStop):
        requested = True

    monkeypatch.setattr(module, "command", lambda _, port, name: [sys.executable, "-c", "import time; time.sleep(600)"])
    with pytest.raises(TerminatedError), judge_server(run(), files, Requested(), SHARED):
        pytest.fail("it was stopped")


def test_the_device_says_by_which_python_a_server_starts() -> None:
    python = device().python("{scratch}", threads=len(os.sched_getaffinity(0)))
    assert command("/models/judge", 4711, "judge")[: len(python) + 1] == [*python, "-m"]


def test_a_run_whose_judge_is_elsewhere_has_no_server(files: StageFiles) -> None:
    content = quickstart()
    judge = {"endpoint": "http://127.0.0.1:1/v1", "name": "judge"}
    content["spec"]["reward"] = {"weights": {"judge": 0.1}, "judge": judge}
    for chosen in (parse(content, "run.yaml"), parse(quickstart(), "run.yaml")):
        with judge_server(chosen, files, NeverStop(), SHARED) as variables:
            assert variables == {}
    assert not files.folder.exists()


def test_the_key_is_not_on_the_command_line_and_only_this_machine_may_connect() -> None:
    arguments = command("/models/judge", 4711, "judge")
    assert "--api-key" not in arguments
    assert arguments[arguments.index("--host") + 1] == "127.0.0.1"
    settings = json.loads(arguments[arguments.index("--structured-outputs-config") + 1])
    assert settings["disable_any_whitespace"] is True


def test_policy_and_judge_have_gpus_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert Device().split(2, 1) == [{"CUDA_VISIBLE_DEVICES": "0,1"}, {"CUDA_VISIBLE_DEVICES": "2"}]
    assert [each["CUDA_VISIBLE_DEVICES"] for each in Device().split(1, 2, 1)] == ["0", "1,2", "3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,5,GPU-3")
    assert Device().split(2, 1) == [{"CUDA_VISIBLE_DEVICES": "7,5"}, {"CUDA_VISIBLE_DEVICES": "GPU-3"}]
    assert Cpus().split(2, 1) == [{}, {}]
