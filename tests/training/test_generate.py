"""Completions of models in vLLM, whose weights are replaced, and put back; test_evaluation.py replaces them once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deepicd.spec.model import ModelSpec
from deepicd.training.base_model import make
from deepicd.training.cpu.device import Cpus
from tests.training.runs import TINY

pytestmark = [pytest.mark.training, pytest.mark.long]

SAMPLE = """
import json
import sys
from pathlib import Path
from deepicd.evaluation.generate import GREEDY, Generator, Sampling
from deepicd.prompt import messages
from deepicd.training.cpu.device import Cpus

first, second = map(Path, sys.argv[1:])
chats = [messages(f"Chief Complaint: cough for {days} days" + ", and again" * 65) for days in range(40)]

def start(model):
    return Generator(model, max_prompt_tokens=448, max_response_tokens=4, engine=Cpus.engine, seed=0)

def texts(completions):
    return [[one.text for one in samples] for samples in completions]

generator = start(first)
greedy, drawn = map(texts, generator.generate(chats, GREEDY, Sampling(temperature=1.0, samples=2)))
generator.load(second)
[replaced] = map(texts, generator.generate(chats, GREEDY))
generator.load(first)
[restored] = map(texts, generator.generate(chats, GREEDY))
generator.close()
generator = start(second)
[other] = map(texts, generator.generate(chats, GREEDY))
generator.close()
print(json.dumps({"greedy": greedy, "drawn": drawn, "replaced": replaced, "restored": restored, "other": other}))
"""


@pytest.fixture(scope="module")
def texts(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Completions of 40 long notes by two models, each a list of samples."""
    folder = tmp_path_factory.mktemp("models")
    for seed in (0, 1):
        spec = ModelSpec.model_validate({"tiny": {**TINY, "seed": seed}, "dtype": "float32"})
        make(spec, cohort / "train.parquet", folder / str(seed))
    result = subprocess.run(
        [sys.executable, "-c", SAMPLE, str(folder / "0"), str(folder / "1")],
        env={**os.environ, **Cpus.engine_environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


def test_more_notes_are_sampled_than_the_tokens_of_a_batch(texts: Any) -> None:
    assert [len(samples) for samples in texts["drawn"]] == [2] * 40


def test_greedy_and_drawn_completions_come_from_one_call(texts: Any) -> None:
    assert [len(samples) for samples in texts["greedy"]] == [1] * 40
    assert any(first != second for first, second in texts["drawn"])


def test_the_weights_of_another_model_replace_those_before(texts: Any) -> None:
    assert texts["replaced"] == texts["other"] != texts["greedy"]
    assert texts["restored"] == texts["greedy"]
