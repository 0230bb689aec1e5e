"""Our engine in a process that verl has set up as one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deepicd.errors import UserError
from deepicd.training.cpu.device import Cpus
from deepicd.training.stage_files import FOLDER_VARIABLE, StageFiles

# It leaves out verl's own constructor, which needs a process group.
PROGRAM = """
import json
from types import SimpleNamespace

import verl
from transformers import Qwen2Config
from verl.workers.engine import EngineRegistry
from verl.workers.engine.fsdp import transformer_impl

from deepicd.errors import UserError

engine_class = EngineRegistry.get_engine_cls("language_model", "fsdp2")
transformer_impl.FSDPEngine.initialize = lambda self: None


def initialized(attention, parallel=1):
    engine = object.__new__(engine_class)
    config = Qwen2Config(hidden_size=64, num_attention_heads=2, attn_implementation=attention)
    engine.rank = 0
    engine.model_config = SimpleNamespace(hf_config=config)
    engine.engine_config = SimpleNamespace(ulysses_sequence_parallel_size=parallel, mixed_precision=None)
    try:
        engine.initialize()
    except UserError as error:
        return str(error)
    return config._attn_implementation


print(json.dumps({
    "class": engine_class.__module__,
    "log_probs": transformer_impl.logprobs_from_logits.__module__,
    "packed": initialized("deepicd_packed"),
    "padded": initialized("sdpa"),
    "parallel": initialized("deepicd_packed", 2),
}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stage")


@pytest.fixture(scope="module")
def output(folder: Path) -> list[str]:
    plugins = ",".join([*Cpus.plugins, "deepicd.training.grpo_plugin"])
    environment = {**os.environ, **Cpus.environment, "VERL_USE_EXTERNAL_MODULES": plugins, FOLDER_VARIABLE: str(folder)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def found(output: list[str]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(output[-1])
    return content


def test_verl_prefers_our_engine_and_its_log_probabilities_to_its_own(found: dict[str, Any]) -> None:
    assert (found["class"], found["log_probs"]) == ("deepicd.training.engine", "deepicd.training.log_probs")


def test_the_attention_of_packed_sequences_is_chosen_and_logged(found: dict[str, Any], output: list[str]) -> None:
    assert found["packed"] == "deepicd_packed"
    assert "attention of packed sequences: PyTorch's attention, sequence by sequence" in output


def test_that_of_padded_batches_is_left_as_it_is(found: dict[str, Any], output: list[str]) -> None:
    assert found["padded"] == "sdpa"
    assert sum("attention of packed sequences" in line for line in output) == 2  # packed, and in parallel


def test_sequence_parallelism_without_flash_attn_is_refused_and_reported(found: dict[str, Any], folder: Path) -> None:
    assert found["parallel"].startswith("ulysses_sequence_parallel_size: needs flash-attn")
    assert isinstance(StageFiles(folder).reported_failure(), UserError)
