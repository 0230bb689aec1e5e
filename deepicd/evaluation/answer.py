"""Ask models about the test split. Completions are turned into predictions immediately and never written to disk.

Run in a separate process (`python -m deepicd.evaluation.answer PLAN`), since it imports vLLM.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow.parquet as pq

from deepicd import completion
from deepicd.data import rows
from deepicd.data.rows import is_local
from deepicd.evaluation import predictions
from deepicd.evaluation.predictions import Prediction
from deepicd.phases import Phase, PhaseFile
from deepicd.prompt import Prompt
from deepicd.rewards import Sample, Score, cohort_words, make_scorer
from deepicd.rewards.judge.judging import Judging
from deepicd.rewards.judge.rollout import Rollout
from deepicd.run_layout import RunLayout
from deepicd.spec.reward import RewardSpec

CHUNK = 64
"""Admissions per batch: small enough to show progress, large enough to keep vLLM busy."""


@dataclass(frozen=True)
class Plan:
    """Which models to ask, and what; stored as JSON."""

    models: dict[str, str]
    """Folder of each model, by name, in the report's order; they differ only in their weights."""
    test: str
    """Parquet file of the test split, with the models' prompts."""
    prompt: dict[str, Any]
    """Fields of `deepicd.prompt.Prompt`."""
    max_admissions: int | None
    samples: int
    """Sampled completions per admission, for the reward."""
    temperature: float
    top_k: int
    max_prompt_tokens: int
    max_response_tokens: int
    seed: int
    opened_think: bool
    reward: dict[str, Any]
    stages: str
    """The run's folder of stages, which has the words of its cohort."""
    engine: dict[str, Any]
    """Arguments of vLLM's engine."""
    out: str
    """predictions.parquet to write."""
    progress: str
    """File that gets a line after each batch, in the format of verl's metrics logger."""
    total: str
    """File that gets the total number of those lines."""
    phases: str
    """File that gets the phases."""


def read_admissions(test: Path, limit: int | None) -> list[dict[str, Any]]:
    """The first `limit` admissions of a split."""
    key = rows.key(pq.read_schema(test).names)
    columns = [key, "subject_id", "code", "prompt", "extra_info"]
    return [row | {"id": row[key]} for row in pq.read_table(test, columns=columns).slice(0, limit).to_pylist()]


def to_prediction(admission: dict[str, Any], greedy: completion.Completion, scores: Sequence[Score]) -> Prediction:
    """Code and faults of the greedy completion, mean reward and terms of the sampled ones."""
    years = admission["extra_info"].get("fiscal_years")
    return Prediction(
        id=str(admission["id"]),
        subject_id=str(admission["subject_id"]),
        gold=admission["code"],
        prediction=greedy.code,
        faults=tuple(str(fault) for fault in greedy.faults),
        reward=fmean(score.value for score in scores),
        terms={name: _mean([score.terms[name] for score in scores]) for name in scores[0].terms},
        fiscal_years=None if years is None else (years[0], years[1]),
        local_gold=is_local(admission["extra_info"]),
    )


def _mean(values: Sequence[float]) -> float:
    """The mean of the values that are not missing; NaN if all are."""
    known = [value for value in values if not math.isnan(value)]
    return fmean(known) if known else math.nan


@dataclass(frozen=True, slots=True)
class _Answer:
    """One model's answer for one admission, with the scores of its samples."""

    admission: dict[str, Any]
    greedy: completion.Completion
    scores: list[Score]
    judged: list[Score] | None
    """The same with the judge's term; None without a judge."""


def answer(plan: Plan) -> dict[str, list[Prediction]]:
    """The predictions of every model, all for the same admissions.

    A reward's judge counts for all of them, or, if it failed, for none.
    """
    reward = RewardSpec.model_validate(plan.reward)
    folder = RunLayout(Path(plan.stages).parent).judge
    with Judging(reward, folder, opened_think=plan.opened_think) as judging:
        answers = _answers(plan, reward, judging)
    if judging.failure is not None:
        sys.stderr.write(f"{judging.failure}\n")
    return {
        name: [
            to_prediction(one.admission, one.greedy, one.scores if judging.failure or one.judged is None else one.judged)
            for one in of_model
        ]
        for name, of_model in answers.items()
    }


def _answers(plan: Plan, reward: RewardSpec, judging: Judging) -> dict[str, list[_Answer]]:
    from deepicd.evaluation.generate import GREEDY, Generator, Sampling

    admissions = read_admissions(Path(plan.test), plan.max_admissions)
    prompt = Prompt(**plan.prompt)
    prompts = [admission["prompt"] for admission in admissions]
    notes = [prompt.note(messages) for messages in prompts]
    cohort = cohort_words.of_run(Path(plan.stages))
    score = make_scorer(reward, opened_think=plan.opened_think, cohort=cohort)
    chunks = [slice(start, start + CHUNK) for start in range(0, len(admissions), CHUNK)]
    Path(plan.total).write_text(str(len(plan.models) * len(chunks)))
    phases = PhaseFile(Path(plan.phases))
    step = 0
    first, *_ = plan.models.values()
    phases.enter(Phase.VLLM, of=next(iter(plan.models)))
    generator = Generator(
        Path(first), max_prompt_tokens=plan.max_prompt_tokens, max_response_tokens=plan.max_response_tokens,
        engine=plan.engine, seed=plan.seed,
    )  # fmt: skip
    drawn = Sampling(plan.temperature, plan.top_k, plan.samples)
    answers: dict[str, list[_Answer]] = {}
    for name, folder in plan.models.items():
        if folder != first:
            generator.load(Path(folder))
        phases.enter(Phase.ANSWERS, of=name)
        answers[name] = []
        for chunk in chunks:
            greedy, sampled = generator.generate(prompts[chunk], GREEDY, drawn)
            rollouts = []
            for admission, note, choices in zip(admissions[chunk], notes[chunk], sampled, strict=True):
                local = is_local(admission["extra_info"])
                samples = [Sample(choice.text, admission["code"], note, choice.truncated, local) for choice in choices]
                rollouts.append([Rollout(sample, scored) for sample, scored in zip(samples, score(samples), strict=True)])
            judged: list[list[Score]] | list[None] = judging.score(rollouts) or [None] * len(rollouts)
            for admission, [best], group, with_judge in zip(admissions[chunk], greedy, rollouts, judged, strict=True):
                parsed = completion.parse(best.text, opened_think=plan.opened_think, truncated=best.truncated)
                answers[name].append(_Answer(admission, parsed, [one.score for one in group], with_judge))
            step += 1
            _note_progress(plan, step)
    generator.close()
    phases.enter(Phase.ENDING)
    return answers


def _note_progress(plan: Plan, step: int) -> None:
    with Path(plan.progress).open("a") as file:
        file.write(json.dumps({"step": step, "data": {}}) + "\n")


def main(plan_file: str) -> None:
    """Run the plan in a JSON file."""
    plan = Plan(**json.loads(Path(plan_file).read_text()))
    predictions.write(Path(plan.out), answer(plan))


if __name__ == "__main__":
    main(sys.argv[1])
