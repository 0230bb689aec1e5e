"""Stage `prepare`: tables, cohort, SFT examples and the base model's folder."""

from __future__ import annotations

import shutil
from itertools import islice
from pathlib import Path

import pyarrow.parquet as pq
import structlog

from deepicd.data import mimic, sft, synthetic
from deepicd.errors import UserError
from deepicd.rewards.reasoning import in_english
from deepicd.run.context import Context
from deepicd.spec.reward import RewardSpec
from deepicd.training.base_model import build
from deepicd.training.launch import wait_for_earlier

_NOTES_READ = 256


def prepare(context: Context) -> None:
    """Fill the stage's folder: `cohort/`, `sft.parquet` where there is an SFT stage, `model/`.

    Raises:
        UserError: the tables, the traces or the model are at fault.
    """
    place = context.layout.stage("prepare")
    spec = context.run.spec
    wait_for_earlier(place.model_log)
    if place.folder.exists():
        shutil.rmtree(place.folder)
    place.folder.mkdir(parents=True)
    traces = Path(spec.data.traces) if spec.data.traces else place.tables / "traces.jsonl"
    if spec.data.synthetic is not None:
        synthetic.write_tables(spec.data.synthetic, place.tables)
        mimic.extract(place.tables / "hosp", place.tables / "note", context.cohort, spec.data.split)
    elif spec.data.mimic is not None:
        mimic.extract(Path(spec.data.mimic.hosp), Path(spec.data.mimic.note), context.cohort, spec.data.split)
    corpus = context.split("train")
    if not corpus.is_file():
        raise UserError(f"spec.data.prepared: {corpus} does not exist: give a folder that 'deepicd data mimic' has written")
    say_whether_reasoning_is_scored(spec.reward, corpus)
    if spec.stages.sft is not None:
        sft.write(corpus, traces, place.traces)
        corpus = place.traces
    build(context.layout.spec, corpus, place.model, place.model_log)


def say_whether_reasoning_is_scored(reward: RewardSpec, cohort: Path) -> None:
    """Log a warning if the reward has the term `reasoning`, and most of a cohort's first notes are not in English."""
    if reward.preset != "deepicd" or not reward.weights.get("reasoning"):
        return
    batches = pq.ParquetFile(cohort).iter_batches(_NOTES_READ, columns=["prompt"])
    english = in_english([row["prompt"][-1]["content"] for batch in islice(batches, 1) for row in batch.to_pylist()])
    if 2 * sum(english) < len(english):
        structlog.get_logger().warning(
            "reasoning is not scored: most notes are not in English, and the term is 0 for those; "
            "set spec.reward.weights.reasoning to 0",
            english=sum(english),
            notes=len(english),
        )
