from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from deepicd import prompt
from deepicd.data import prompts, rows
from deepicd.data.splits import SPLITS
from deepicd.evaluation import predictions
from deepicd.evaluation.metrics import compute
from deepicd.evaluation.predictions import Prediction
from deepicd.run_layout import RunLayout

CODES = ("I10", "M5116", "J189")
CANARY = "canary-note-text"


def answers(right: bool) -> list[Prediction]:
    """One answer an admission; `right`: all of them, otherwise only the first."""
    golds = list(enumerate(CODES))
    return [
        Prediction(
            str(place), f"p{place}", gold, gold if right or not place else None,
            () if right or not place else ("no_diagnosis",),
            float(right), {"outcome": float(right)}, fiscal_years=(2016, 2016 + place),
        )
        for place, gold in golds
    ]  # fmt: skip


def row(split: str, place: int) -> dict[str, Any]:
    """A row of a split, as the models see it."""
    code = CODES[place]
    return {
        "data_source": "deepicd", "prompt": prompt.messages(f"{CANARY} {split} {place}"), "ability": "icd-10-cm",
        "reward_model": {"style": "rule", "ground_truth": code},
        "extra_info": {"index": place, "id": str(place), "split": split, "fiscal_years": [2016, 2018], "local_code": False},
        "id": str(place), "subject_id": f"p{place}", "code": code, "sex": "F", "age": 50 + place, "race": "UNKNOWN",
        "insurance": "UNKNOWN", "language": "UNKNOWN",
    }  # fmt: skip


def step(number: int, **data: float) -> str:
    return json.dumps({"step": number, "data": data}) + "\n"


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    """A finished run's folder, `runs/quickstart`, without models."""
    found = RunLayout(tmp_path / "runs" / "quickstart")
    spec: dict[str, Any] = {"model": {"tiny": {}}, "data": {"synthetic": {}}, "stages": {"sft": {}, "grpo": {}, "evaluate": {}}}
    found.folder.mkdir(parents=True)
    run = {"apiVersion": "deepicd.io/v1alpha1", "kind": "DeepICDRun", "metadata": {"name": "quickstart"}, "spec": spec}
    found.spec.write_text(yaml.safe_dump(run))
    prepared = found.stage("prepare").prompts
    prepared.mkdir(parents=True)
    for split in SPLITS:
        split_rows = [row(split, place) for place in range(len(CODES))]
        pq.write_table(pa.Table.from_pylist(split_rows, schema=rows.schema()), prepared / f"{split}.parquet")
    prompts.PromptCounts(prompt.DEEPICD, 2048, {"train": prompts.NoteCounts(3, 1)}, 900, 0.1).write(prepared)
    for stage, lines in {
        "sft": step(1, **{"train/loss": 2.0}) + step(2, **{"train/loss": 1.5}),
        "grpo": step(1, **{"critic/score/mean": 0.25, "val-aux/deepicd/reward_outcome/mean@1": 0.5}),
    }.items():
        found.stage(stage).metrics.mkdir(parents=True)
        (found.stage(stage).metrics / "launch-0001.jsonl").write_text(lines)
        found.stage(stage).completed.write_text(json.dumps({"digest": "", "seconds": 12.5}))
    models = {"sft": answers(right=False), "grpo": answers(right=True)}
    found.evaluation.folder.mkdir()
    predictions.write(found.evaluation.predictions, models)
    measured = {
        name: compute(records, train_counts={"I10": 3, "J189": 1}, bootstrap_samples=20, seed=1)
        for name, records in models.items()
    }
    found.evaluation.metrics.write_text(json.dumps(measured))
    return found
