"""verl's sender and receiver get the same name, which differs between launches. With verl itself: tests/training."""

from __future__ import annotations

import os
from types import ModuleType

import pytest

from deepicd.training import weight_sockets
from deepicd.training.weight_sockets import JOB_VARIABLE, tag


class Sender:
    def __init__(self, rank: int) -> None:
        self.zmq_handle = f"ipc:///tmp/rl-colocate-zmq-01000000-replica-0-rank-{rank}.sock"


class Receiver:
    def __init__(self) -> None:
        os.environ[JOB_VARIABLE] = "01000000"


def handles(monkeypatch: pytest.MonkeyPatch, temporary: str) -> tuple[str, str]:
    """Of a sender and of a receiver, as verl makes it."""
    monkeypatch.setenv(JOB_VARIABLE, "")
    monkeypatch.setenv("TMPDIR", temporary)
    module = ModuleType("verl_of_a_test")
    module.ServerAdapter = type("ServerAdapter", (Sender,), {})  # type: ignore[attr-defined]
    module.vLLMHttpServer = type("vLLMHttpServer", (Receiver,), {})  # type: ignore[attr-defined]
    weight_sockets._change_sender(module)
    weight_sockets._change_receiver(module)
    sender = module.ServerAdapter(3)
    module.vLLMHttpServer()
    return sender.zmq_handle, f"ipc:///tmp/rl-colocate-zmq-{os.environ[JOB_VARIABLE]}-replica-0-rank-3.sock"


def test_sender_and_receiver_of_a_launch_have_one_socket_and_launches_have_several(monkeypatch: pytest.MonkeyPatch) -> None:
    sender, receiver = handles(monkeypatch, "/tmp/dicd-ab")
    assert sender == receiver == "ipc:///tmp/rl-colocate-zmq-01000000-dicd-ab-replica-0-rank-3.sock"
    assert handles(monkeypatch, "/tmp/dicd-cd")[0] != sender


def test_without_a_temporary_folder_the_names_are_verls(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tag({}) == ""
    sender, receiver = handles(monkeypatch, "")
    assert sender == receiver == "ipc:///tmp/rl-colocate-zmq-01000000-replica-0-rank-3.sock"
