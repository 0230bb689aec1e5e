from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from deepicd.spec.load import parse
from deepicd.spec.run import DeepICDRun
from deepicd.training import teacher_server as module
from deepicd.training.cpu.device import Cpus
from deepicd.training.device import Device
from deepicd.training.examples_main import are_made, read_counts
from deepicd.training.stage_files import StageFiles
from deepicd.training.teacher_server import command, teacher_server
from tests.unit.spec.test_load import quickstart
from tests.unit.stops import NeverStop
from tests.unit.training.test_judge_server import SERVER, get


def run(**teacher: Any) -> DeepICDRun:
    content = quickstart()
    content["spec"]["stages"]["distill"] = {"teacher": teacher or {"model": "/models/teacher"}}
    return parse(content, "run.yaml")


@pytest.fixture
def files(tmp_path: Path) -> StageFiles:
    return StageFiles(tmp_path / "distill")


def test_the_teachers_server_is_up_in_the_body_and_gone_after_it(files: StageFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def stands_in(model: str, port: int, gpus: int, split: int) -> list[str]:
        return [sys.executable, "-c", SERVER, str(port)]

    monkeypatch.setattr(module, "command", stands_in)
    with teacher_server(run(), "/models/teacher", files, NeverStop()) as variables:
        endpoint = variables["DEEPICD_TEACHER_ENDPOINT"]
        assert get(endpoint) == variables["DEEPICD_TEACHER_API_KEY"]
    with pytest.raises(OSError, match="refused"):
        get(endpoint)
    assert files.teacher_log.exists()


def test_a_teacher_with_an_endpoint_has_no_server(files: StageFiles) -> None:
    chosen = run(endpoint="http://127.0.0.1:1/v1", name="x")
    with teacher_server(chosen, None, files, NeverStop()) as variables:
        assert variables == {}


def test_copies_of_the_teacher_are_on_all_gpus() -> None:
    assert Device().parallel_arguments(8, 2) == ["--tensor-parallel-size", "2", "--data-parallel-size", "4"]
    assert Device().parallel_arguments(1, 1) == []
    assert Cpus().parallel_arguments(2, 1) == []


def test_the_teachers_key_is_not_on_the_command_line_and_its_context_fits_the_memory() -> None:
    arguments = command("/models/teacher", 4711, 1, 1)
    assert "--api-key" not in arguments
    assert arguments[arguments.index("--host") + 1] == "127.0.0.1"
    assert arguments[arguments.index("--max-model-len") + 1] == "-1"


def test_examples_are_made_again_for_another_budget(files: StageFiles) -> None:
    assert read_counts(files) is None
    assert not are_made(files, 512)
    files.folder.mkdir()
    files.example_counts.write_text('{"max_example_tokens": 512, "examples": {"written": 3, "shortened": 0, "dropped": 0}}')
    assert not are_made(files, 512), "without the examples themselves"
    files.traces.touch()
    assert are_made(files, 512)
    assert not are_made(files, 256)
