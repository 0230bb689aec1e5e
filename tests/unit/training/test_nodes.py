from __future__ import annotations

import socket
from pathlib import Path

import pytest

from deepicd.errors import DeepICDError, StallError, UserError
from deepicd.spec.environment import ATTEMPT
from deepicd.spec.load import load
from deepicd.spec.run import DeepICDRun
from deepicd.training import nodes
from deepicd.training.nodes import check_address, main, shortage, wait_for_nodes
from tests.unit.stops import NeverStop

QUICKSTART = Path(__file__).parents[3] / "manifests" / "samples" / "quickstart.yaml"


def on_nodes(nodes: int) -> DeepICDRun:
    run = load(QUICKSTART)
    compute = run.spec.compute.model_copy(update={"nodes": nodes})
    return run.model_copy(update={"spec": run.spec.model_copy(update={"compute": compute})})


def test_one_node_needs_no_ray_cluster(tmp_path: Path) -> None:
    wait_for_nodes(on_nodes(1), tmp_path / "grpo", tmp_path / "log", NeverStop(), environment={})
    assert not (tmp_path / "grpo").exists()


def test_several_nodes_without_a_ray_cluster_are_for_the_user_to_fix(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"spec\.compute\.nodes: 2 nodes need a Ray cluster, and RAY_ADDRESS is not set"):
        wait_for_nodes(on_nodes(2), tmp_path / "grpo", tmp_path / "log", NeverStop(), environment={})


@pytest.mark.parametrize("address", ["auto", "local", "ray://head:10001", ":6379"])
def test_an_address_that_is_no_host_and_port_is_refused(address: str) -> None:
    with pytest.raises(UserError, match=r"RAY_ADDRESS: '.*' is not HOST:PORT"):
        check_address(2, address)


def test_an_address_without_a_listener_is_named() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        with pytest.raises(UserError, match=f"no Ray cluster answers at {address}"):
            check_address(2, address)


@pytest.mark.parametrize(
    ("raised", "code"),
    [(UserError("/shared: is not the same folder on node b"), 64), (StallError("spec.compute.nodes: 2 wanted"), 75)],
)
def test_the_process_ends_with_one_line_and_its_own_code_for_nodes_that_did_not_join(
    raised: DeepICDError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask(*_: object) -> None:
        raise raised

    monkeypatch.setattr(nodes, "_ask", ask)
    assert main(["2", "4", "/shared"]) == code
    assert capsys.readouterr().err == f"{raised}\n"


class EndedProcess:
    """A process that has ended."""

    def __init__(self, code: int, log: Path) -> None:
        self._code = code
        log.write_text("a warning of Ray's\nspec.compute.nodes: 2 wanted\n")

    def poll(self) -> int:
        return self._code

    def end(self) -> None:
        pass


@pytest.mark.parametrize(
    ("code", "attempt", "kind"),
    [(75, "1", StallError), (75, "", UserError), (64, "1", UserError), (64, "", UserError)],
)  # fmt: skip
def test_nodes_that_did_not_join_are_for_the_user_to_fix_unless_the_operator_requested_them(
    code: int, attempt: str, kind: type[DeepICDError], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(nodes, "GuardedProcess", lambda command, environment, log: EndedProcess(code, log))
    with socket.create_server(("127.0.0.1", 0)) as head:
        environment = {"RAY_ADDRESS": f"127.0.0.1:{head.getsockname()[1]}", ATTEMPT: attempt}
        with pytest.raises(kind, match=r"^spec\.compute\.nodes: 2 wanted$") as found:
            wait_for_nodes(on_nodes(2), tmp_path / "grpo", tmp_path / "log", NeverStop(), environment)
    assert type(found.value) is kind


@pytest.mark.parametrize("idle", [{"a": 4.0, "b": 4.0}, {"a": 8.0, "b": 4.0, "c": 0.0}])
def test_nodes_with_enough_idle_gpus_are_enough(idle: dict[str, float]) -> None:
    assert shortage(2, 4, idle) is None


@pytest.mark.parametrize(
    ("idle", "found"),
    [({}, "has 0 (nodes: 0, idle GPUs: none)"), ({"a": 4.0}, "has 1 (nodes: 1, idle GPUs: 4)"),
     ({"a": 4.0, "b": 3.0}, "has 1 (nodes: 2, idle GPUs: 4, 3)")],
)  # fmt: skip
def test_too_few_nodes_or_gpus_are_counted(idle: dict[str, float], found: str) -> None:
    assert found in str(shortage(2, 4, idle))
