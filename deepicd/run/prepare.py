"""Stage `prepare`: tables, cohort, the base model's folder, and the prompts and SFT examples that fit it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet as pq
import structlog

from deepicd import prompt
from deepicd.data import cohort, left_out, mimic, notes, sft, synthetic
from deepicd.data.cohort import WRITERS
from deepicd.data.left_out import LeftOut
from deepicd.data.prompts import FILE
from deepicd.distill.teacher import check_key
from deepicd.errors import UserError
from deepicd.phases import Phase, PhaseStart
from deepicd.rewards import cohort_words
from deepicd.rewards.judge.judge import Judge
from deepicd.rewards.judge.roles import roles_of
from deepicd.rewards.own_terms import OwnTerms
from deepicd.run.context import Context
from deepicd.spec.model import ModelSpec
from deepicd.spec.reward import RewardSpec
from deepicd.training.examples_main import read_counts
from deepicd.training.launch import wait_for_earlier
from deepicd.training.prepare_main import build

_NOTES_READ = 256


def prepare(context: Context) -> None:
    """Fill the stage's folder: `cohort/`, `words.json`, `model/`, `prompts/`, and `sft.parquet` for SFT without `distill`.

    Raises:
        UserError: the tables, the traces, the model, the prompt or a term of the reward is invalid.
    """
    place = context.layout.stage("prepare")
    spec = context.run.spec
    OwnTerms(spec.reward.terms or {})  # fails before hours of SFT
    if (judge := spec.reward.judge) is not None:
        for role, model in roles_of(judge):
            if model.endpoint is not None:
                Judge(judge, role=role)  # so does this, without a rubric or a key
    if spec.stages.distill is not None:
        check_key(spec.stages.distill.teacher)
    wait_for_earlier(place.model_log)
    if place.folder.exists():
        shutil.rmtree(place.folder)
    place.folder.mkdir(parents=True)
    traces = Path(spec.data.traces) if spec.data.traces else place.tables / "traces.jsonl"
    if spec.data.synthetic is not None:
        context.on_phase(PhaseStart(Phase.TABLES))
        synthetic.write_tables(spec.data.synthetic, place.tables)
    context.on_phase(PhaseStart(Phase.COHORT))
    if spec.data.synthetic is not None:
        mimic.extract(place.tables / "hosp", place.tables / "note", context.cohort, spec.data.split)
    elif spec.data.mimic is not None:
        mimic.extract(Path(spec.data.mimic.hosp), Path(spec.data.mimic.note), context.cohort, spec.data.split)
    elif spec.data.notes is not None:
        notes.extract(spec.data.notes, context.cohort, spec.data.split)
    corpus = context.split("train")
    if not corpus.is_file():
        raise UserError(f"spec.data.prepared: {corpus} does not exist: give a folder that {WRITERS} has written")
    count_words(spec.reward, corpus, place.folder / cohort_words.FILE)
    if spec.prepared_sft is not None:
        context.on_phase(PhaseStart(Phase.EXAMPLES))
        examples = sft.write(corpus, traces, place.traces)
        examples.write(place.trace_counts)
        if examples.untagged:
            structlog.get_logger().info("<think> tags around traces were removed", traces=examples.untagged)
    warn_if_trained_otherwise(spec.model)
    context.on_phase(PhaseStart(Phase.PROMPTS, log=place.model_log))
    build(context.layout.spec, context.cohort, place)
    log_shortened(place.prompts)
    log_left_out(not_used(context))


def log_left_out(found: Iterable[LeftOut]) -> None:
    """Log each with its count and reason."""
    for one in found:
        structlog.get_logger().info("left out", text=str(one), **asdict(one))


def not_used(context: Context) -> list[LeftOut]:
    """What the run leaves out of its data, as far as its files say; those of earlier versions say less."""
    place, stages = context.layout.stage("prepare"), context.run.spec.stages
    prompts = json.loads((place.prompts / FILE).read_text(encoding="utf-8"))
    distilled = context.layout.stage("distill")
    examples = sft.Examples.read((place if stages.distill is None else distilled).trace_counts)
    prompts |= (read_counts(distilled) or {}) if stages.distill is not None else {}
    validation = stages.grpo.max_validation_admissions if stages.grpo else None
    test = stages.evaluate.max_admissions if stages.evaluate else None
    return [
        *(left_out.of_cohort(cohort.read(context.cohort)) if (context.cohort / cohort.FILE).exists() else ()),
        *(left_out.of_examples(examples) if examples is not None else ()),
        *left_out.of_prompts(prompts),
        *left_out.of_limits(prompts, validation, test),
    ]


def warn_if_trained_otherwise(model: ModelSpec) -> None:
    """Log a warning if the base model's folder says that it was trained with another prompt than the run's."""
    known = prompt.stored(Path(model.path)) if model.path is not None else None
    if known is not None and known.prompt != prompt.of(model.prompt):
        structlog.get_logger().warning(
            f"spec.model.prompt is not the prompt that the model was trained with: its {prompt.STORED} has that one",
            model=model.path,
        )


def log_shortened(prompts: Path) -> None:
    """Log how many notes and examples were longer than their budgets, if any were."""
    counts = json.loads((prompts / FILE).read_text(encoding="utf-8"))
    shortened = {name: split["shortened"] for name, split in counts["splits"].items() if split["shortened"]}
    if shortened:
        budget = counts["max_prompt_tokens"]
        said = (
            f"{', '.join(f'{number:,} of {name}' for name, number in shortened.items())}, to {budget:,} tokens with the prompt"
        )
        structlog.get_logger().info("notes were shortened", text=said, max_prompt_tokens=budget, **shortened)
    examples = counts["examples"] or {}
    if examples.get("shortened"):
        longest, number, written = counts["max_example_tokens"], examples["shortened"], examples["written"]
        structlog.get_logger().info(
            "notes were shortened further for their answers",
            text=f"{number:,} of {written:,} SFT examples, to {longest:,} tokens", max_tokens=longest, shortened=number,
            written=written,
        )  # fmt: skip


def count_words(reward: RewardSpec, corpus: Path, out: Path) -> None:
    """Count the words of the training notes, for the reward's term `reasoning`; warn if they turn that term off."""
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
