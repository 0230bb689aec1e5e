"""Gives each launch its own sockets for the weights that verl's trainer sends to vLLM.

verl names them `/tmp/rl-colocate-zmq-JOB-replica-N-rank-N.sock`. JOB is Ray's job number, which is 1 in the Ray cluster
of every run, so two runs on one machine would share a socket and wait for each other forever.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

from deepicd.training.imports import after_import

JOB_VARIABLE = "VERL_RAY_JOB_ID"
"""The variable from which a vLLM engine's worker makes the socket's name."""
_NAME_ENDS = "-replica-"


def tag(variables: Mapping[str, str] = os.environ) -> str:
    """What distinguishes this launch: the name of its temporary folder; empty if it has none."""
    return Path(variables.get("TMPDIR", "")).name


def use_own_sockets() -> None:
    """Change verl's sender and receiver once they are imported."""
    after_import("verl.workers.rollout.vllm_rollout.vllm_rollout", _change_sender)
    after_import("verl.workers.rollout.vllm_rollout.vllm_async_server", _change_receiver)


def _change_sender(module: ModuleType) -> None:
    def rename(adapter: Any) -> None:
        begin, found, end = adapter.zmq_handle.partition(_NAME_ENDS)
        adapter.zmq_handle = f"{_tagged(begin)}{found}{end}"

    _after_init(module.ServerAdapter, rename)


def _change_receiver(module: ModuleType) -> None:
    def rename(server: Any) -> None:
        os.environ[JOB_VARIABLE] = _tagged(os.environ[JOB_VARIABLE])

    _after_init(module.vLLMHttpServer, rename)


def _tagged(job: str) -> str:
    own = f"-{tag()}" if tag() else ""
    return job if job.endswith(own) else job + own


def _after_init(kind: Any, act: Callable[[Any], None]) -> None:
    init = kind.__init__

    @wraps(init)
    def init_and_act(self: Any, *arguments: Any, **options: Any) -> None:
        init(self, *arguments, **options)
        act(self)

    kind.__init__ = init_and_act
