from __future__ import annotations

import pytest

from deepicd.training.process_names import node_name, worker_name


@pytest.mark.parametrize(("program", "name"), [
    ("ray::WorkerDict", "WorkerDict"), ("ray::vLLMHttpServer", "vLLMHttpServer"), ("ray::TaskRunnerV1.run", "TaskRunnerV1"),
    ("VLLM::EngineCore", "VLLM::EngineCore"),
])  # fmt: skip
def test_an_actor_or_engine_is_known_by_its_name(program: str, name: str) -> None:
    assert worker_name([program, "and", "arguments"]) == name


@pytest.mark.parametrize("command", [
    [], ["ray::IDLE"], ["ray::DashboardAgent"], ["ray::RuntimeEnvAgent"], ["ray::JobSupervisor"], ["ray::sees()"],
    ["ray::SPILL_SpillWorker"], ["python", "ray::WorkerDict"],
])  # fmt: skip
def test_rays_own_processes_and_tasks_are_no_workers(command: list[str]) -> None:
    assert worker_name(command) is None


@pytest.mark.parametrize(("program", "name"), [
    ("/opt/ray/core/src/ray/raylet/raylet", "raylet"), ("/opt/ray/core/src/ray/gcs/gcs_server", "gcs_server"),
    ("/usr/bin/raylets", None), ("raylet", None),
])  # fmt: skip
def test_rays_node_is_known_by_its_program(program: str, name: str | None) -> None:
    assert node_name([program, "--port=1"]) == name
