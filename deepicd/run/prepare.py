"""Stage `prepare`: tables, cohort, SFT examples and the base model's folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import structlog

from deepicd.data import mimic, sft, synthetic
from deepicd.errors import UserError
from deepicd.rewards import cohort_words
from deepicd.rewards.own_terms import OwnTerms
from deepicd.run.context import Context
from deepicd.spec.reward import RewardSpec
from deepicd.training.base_model import build
from deepicd.training.launch import wait_for_earlier

_NOTES_READ = 256


def prepare(context: Context) -> None:
    """Fill the stage's folder: `cohort/`, `words.json`, `sft.parquet` where there is an SFT stage, `model/`.

    Raises:
        UserError: the tables, the traces, the model or a term of the reward are at fault.
    """
    folder = context.stage_folder("prepare")
    spec = context.run.spec
    OwnTerms(spec.reward.terms or {})  # fails before hours of SFT
    wait_for_earlier(folder / "model.log")
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    traces = Path(spec.data.traces) if spec.data.traces else folder / "tables" / "traces.jsonl"
    if spec.data.synthetic is not None:
        tables = folder / "tables"
        synthetic.write_tables(spec.data.synthetic, tables)
        mimic.extract(tables / "hosp", tables / "note", context.cohort, spec.data.split)
    elif spec.data.mimic is not None:
        mimic.extract(Path(spec.data.mimic.hosp), Path(spec.data.mimic.note), context.cohort, spec.data.split)
    corpus = context.cohort / "train.parquet"
    if not corpus.is_file():
        raise UserError(f"spec.data.prepared: {corpus} does not exist: give a folder that 'deepicd data mimic' has written")
    count_words(spec.reward, corpus, folder / cohort_words.FILE)
    if spec.stages.sft is not None:
        sft.write(corpus, traces, context.traces)
        corpus = context.traces
    build(context.spec_file, corpus, context.base_model, folder / "model.log")


def count_words(reward: RewardSpec, corpus: Path, out: Path) -> None:
    """Count how the training notes are worded, for the reward's term `reasoning`; warn where they turn that term off."""
    batches = pq.ParquetFile(corpus).iter_batches(_NOTES_READ, columns=["subject_id", "prompt"])
    rows = (row for batch in batches for row in batch.to_pylist())
    found = cohort_words.count((row["subject_id"], row["prompt"][-1]["content"]) for row in rows)
    found.write(out)
    if not found.is_english and reward.scores_reasoning:
        structlog.get_logger().warning(
            "reward: the term reasoning is off for this run, with weight 0: most training notes are not in English",
            english=found.english,
            patients=found.patients,
        )
