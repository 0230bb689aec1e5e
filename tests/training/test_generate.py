from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deepicd.spec.model import ModelSpec
from deepicd.training.base_model import make
from deepicd.training.cpu.device import Cpus
from tests.training.runs import TINY

pytestmark = pytest.mark.training

SAMPLE = """
import sys
from pathlib import Path
from deepicd.evaluation.generate import Generator, Sampling
from deepicd.prompt import messages
from deepicd.training.cpu.device import Cpus

generator = Generator(Path(sys.argv[1]), max_prompt_tokens=448, max_response_tokens=4, engine=Cpus.engine, seed=0)
notes = [f"Chief Complaint: cough for {days} days" + ", and again" * 65 for days in range(40)]
[drawn] = generator.generate([messages(note) for note in notes], Sampling(temperature=1.0, samples=2))
print(sum(map(len, drawn)))
generator.close()
"""


def test_more_notes_are_sampled_than_the_tokens_of_a_batch(cohort: Path, tmp_path: Path) -> None:
    make(ModelSpec.model_validate({"tiny": TINY}), cohort / "train.parquet", tmp_path / "model")
    result = subprocess.run(
        [sys.executable, "-c", SAMPLE, str(tmp_path / "model")],
        env={**os.environ, **Cpus.engine_environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.splitlines()[-1] == "80"
