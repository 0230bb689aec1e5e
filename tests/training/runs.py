"""Small runs for the tests of the real training stack."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from deepicd.data import mimic, synthetic
from deepicd.spec.data import SplitSpec, SyntheticSource
from deepicd.training.cpu.device import Cpus

CANARY = "zanzibarcanary"

TINY = {"vocabulary": 600, "hiddenSize": 64, "intermediateSize": 128, "layers": 1, "heads": 2}
SFT = {
    "trainBatchSize": 8, "microBatchSizePerGpu": 8, "learningRate": 1e-3, "warmupSteps": 1, "maxSteps": 6, "maxTokens": 512,
    "saveEverySteps": 3, "gradientCheckpointing": False, "torchCompile": False,
}  # fmt: skip
GRPO = {
    "trainBatchSize": 4, "ppoMiniBatchSize": 4, "microBatchSizePerGpu": 8, "rollouts": 4, "learningRate": 1e-4,
    "warmupSteps": 1, "maxSteps": 6, "maxPromptTokens": 448, "maxResponseTokens": 24, "saveEverySteps": 4,
    "validateEverySteps": 6, "maxValidationAdmissions": 8, "gradientCheckpointing": False, "torchCompile": False,
    "removePadding": False,
}  # fmt: skip


def run_plan(module: str, plan: Any, file: Path) -> None:
    """Run a plan of `deepicd.evaluation` as its stage does, by `file`."""
    file.write_text(json.dumps(asdict(plan)))
    result = subprocess.run(
        [sys.executable, "-m", f"deepicd.evaluation.{module}", str(file)],
        env={**os.environ, **Cpus.engine_environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]


def write_tables_with_canary(folder: Path, admissions: int = 300) -> None:
    """Synthetic tables and traces, with the canary in every note's text, in each section that is kept."""
    synthetic.write_tables(SyntheticSource(admissions=admissions, codes=8, seed=1), folder)
    path = folder / "note" / "discharge.csv.gz"
    with gzip.open(path, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["text"] = row["text"].replace(" with ", f" with {CANARY} ").replace("o man ", f"o man {CANARY} ")
        row["text"] = row["text"].replace("o woman ", f"o woman {CANARY} ")
    with gzip.open(path, "wt", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    traces = folder / "traces.jsonl"
    traces.write_text(traces.read_text().replace('"trace": "', f'"trace": "{CANARY} '))


def write_run(path: Path, name: str, data: dict[str, Any], stages: dict[str, Any], **spec: Any) -> Path:
    """Write a run.yaml for a tiny model."""
    content = {
        "apiVersion": "deepicd.io/v1alpha1",
        "kind": "DeepICDRun",
        "metadata": {"name": name},
        "spec": {
            "model": {"tiny": TINY, "dtype": "float32"}, "data": data, "stages": stages, "compute": {"gpus": 1},
            "recovery": {"stallAfter": "10m"}, **spec,
        },
    }  # fmt: skip
    path.write_text(yaml.safe_dump(content))
    return path


def prepared_cohort(folder: Path) -> Path:
    """A small cohort without canary, as `data mimic` writes it."""
    synthetic.write_tables(SyntheticSource(admissions=200, codes=8, seed=2), folder / "tables")
    mimic.extract(folder / "tables" / "hosp", folder / "tables" / "note", folder / "cohort", SplitSpec())
    shutil.rmtree(folder / "tables")
    return folder / "cohort"


def write_traces(path: Path, cohort: Path) -> Path:
    """A short trace for each note that a cohort trains on."""
    ids = pq.read_table(cohort / "train.parquet", columns=["id"])["id"].to_pylist()
    path.write_text("".join(json.dumps({"id": each, "trace": "It fits."}) + "\n" for each in ids))
    return path
