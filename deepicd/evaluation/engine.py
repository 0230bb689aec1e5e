"""One vLLM engine, and the batches that it asks all models about. Imports vLLM when it starts."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from deepicd import completion
from deepicd.data import rows
from deepicd.data.example_tokens import Chat
from deepicd.data.rows import is_local
from deepicd.evaluation import other_models, variants
from deepicd.evaluation.constraint import structural_tag
from deepicd.evaluation.parts import Answer, Parts, mean_terms
from deepicd.evaluation.plan import EvaluationPlan, Model, chunks, share
from deepicd.phases import Phase, PhaseFile
from deepicd.prompt import Prompt
from deepicd.rewards import Sample, Score, cohort_words, make_scorer
from deepicd.rewards.judge.judging import Judging
from deepicd.rewards.judge.rollout import Rollout
from deepicd.run_layout import RunLayout
from deepicd.spec.reward import RewardSpec

if TYPE_CHECKING:
    from deepicd.evaluation.generate import Generated, Generator, Sampling


@dataclass(frozen=True)
class Asked:
    """The admissions as the models of a group see them, [N] each."""

    notes: list[str]
    prompt: Prompt
    opened_think: bool
    chat_template: str | None
    """Replaces the model's own; None keeps that."""
    score: Callable[[Sequence[Sample]], Sequence[Score]]
    """Scores completions by the run's reward without its judge."""
    planted: list[str | None]
    """Wrong diagnoses to put in front; all None if this is not requested."""


def read_admissions(test: Path, limit: int | None) -> list[dict[str, Any]]:
    """The first `limit` admissions of a split."""
    key = rows.key(pq.read_schema(test).names)
    columns = [key, "subject_id", "code", "prompt", "extra_info"]
    return [row | {"id": row[key]} for row in pq.read_table(test, columns=columns).slice(0, limit).to_pylist()]


def open_parts(plan: EvaluationPlan) -> dict[str, Parts]:
    """The answers of each model so far, by name."""
    models = [model for group in plan.groups() for model in group]
    return {model.name: Parts(Path(plan.parts), model.name, plan.key(model)) for model in models}


class Engine:
    """Asks all models about one share of the batches."""

    def __init__(self, plan: EvaluationPlan, number: int, admissions: Sequence[dict[str, Any]]) -> None:
        self._plan = plan
        self._admissions = admissions
        self._slices = chunks(len(admissions), plan.batch)
        self._own = share(len(self._slices), number, len(plan.engines))
        # One engine's phases represent all of them.
        self._phases = PhaseFile(Path(plan.phases)) if number == 0 else None
        self._parts = open_parts(plan)
        self._reward = RewardSpec.model_validate(plan.reward)
        self._planted = _planted(plan, admissions)
        self._constraint = structural_tag(_local_codes(admissions)) if plan.constrained else None

    def run(self) -> None:
        """Answer the batches that have no answers yet.

        Raises:
            UserError: a model cannot be asked.
        """
        for group in self._plan.groups():
            left = {model.name: [batch for batch in self._own if not self._parts[model.name].has(batch)] for model in group}
            if any(left.values()):
                self._ask_group(group, left)
        self._enter(Phase.ENDING)

    def _ask_group(self, group: Sequence[Model], left: dict[str, list[int]]) -> None:
        plan = self._plan
        waiting = [model for model in group if left[model.name]]
        self._enter(Phase.VLLM, waiting[0])
        folder = Path(waiting[0].path) if waiting[0].own else other_models.folder(waiting[0])
        asked = self._asked(waiting[0], folder)
        from deepicd.evaluation.generate import Generator  # slow, so a model that cannot be asked is refused before

        added = variants.MOST_ADDED if plan.premature_closure else 0
        generator = Generator(
            folder, max_prompt_tokens=plan.max_prompt_tokens + added, max_response_tokens=plan.max_response_tokens,
            engine=plan.engine, seed=plan.seed, chat_template=asked.chat_template,
        )  # fmt: skip
        judge_folder = RunLayout(Path(plan.stages).parent).judge
        with Judging(self._reward, judge_folder, opened_think=asked.opened_think) as judging:
            for model in waiting:
                if model is not waiting[0]:
                    generator.load(Path(model.path))
                self._enter(Phase.ANSWERS, model)
                for batch in left[model.name]:
                    answers, seconds = self._batch(generator, asked, self._slices[batch], judging)
                    self._parts[model.name].write(batch, answers, seconds)
                    self._note_progress()
        if judging.failure is not None:
            sys.stderr.write(f"{judging.failure}\n")
        generator.close()

    def _asked(self, model: Model, folder: Path) -> Asked:
        plan = self._plan
        if model.own:
            prompt = Prompt(**plan.prompt)
            notes = [prompt.note(admission["prompt"]) for admission in self._admissions]
            return Asked(notes, prompt, plan.opened_think, None, self._scorer(plan.opened_think), self._planted)
        cohort = [prompt_of["prompt"] for prompt_of in read_admissions(Path(plan.cohort), plan.max_admissions)]
        prompt, notes, opened, template = other_models.prepare(model, folder, plan, cohort)
        return Asked(notes, prompt, opened, template, self._scorer(opened), self._planted)

    def _scorer(self, opened_think: bool) -> Callable[[Sequence[Sample]], Sequence[Score]]:
        return make_scorer(self._reward, opened_think=opened_think, cohort=cohort_words.of_run(Path(self._plan.stages)))

    def _batch(
        self, generator: Generator, asked: Asked, chosen: slice, judging: Judging
    ) -> tuple[list[Answer], dict[str, float]]:
        from deepicd.evaluation.generate import GREEDY, Sampling

        drawn = Sampling(self._plan.temperature, self._plan.top_k, self._plan.samples)
        seconds: dict[str, float] = {}
        chats = [asked.prompt.messages(note) for note in asked.notes[chosen]]
        if self._constraint is None:
            greedy, sampled = generator.generate(chats, GREEDY, drawn)
            changed: list[dict[str, str | None]] = [{} for _ in chats]
        else:
            bound = Sampling(structural_tag=self._constraint)
            greedy = _timed(generator, chats, GREEDY, seconds, "free")
            codes = _timed(generator, chats, bound, seconds, "constrained")
            [sampled] = generator.generate(chats, drawn)
            changed = [{variants.CONSTRAINED: self._code(one, asked)} for [one] in codes]
        if self._plan.premature_closure:
            closure = self._closure(generator, asked, chosen)
            changed = [{**found, **other} for found, other in zip(changed, closure, strict=True)]
        admissions = self._admissions[chosen]
        rollouts = self._scored(admissions, asked, chosen, sampled)
        judged: Sequence[Sequence[Score] | None] = judging.score(rollouts) or [None] * len(rollouts)
        answers = []
        for place, admission in enumerate(admissions):
            [best] = greedy[place]
            parsed = completion.parse(best.text, opened_think=asked.opened_think, truncated=best.truncated)
            reward, terms = mean_terms([one.score for one in rollouts[place]])
            with_judge = judged[place]
            answers.append(
                Answer(
                    id=str(admission["id"]),
                    code=parsed.code,
                    faults=[str(fault) for fault in parsed.faults],
                    samples=[self._code(choice, asked) for choice in sampled[place]],
                    reward=reward,
                    terms=terms,
                    judged=None if with_judge is None else mean_terms(with_judge),
                    variants=changed[place],
                )
            )
        return answers, seconds

    def _closure(self, generator: Generator, asked: Asked, chosen: slice) -> list[dict[str, str | None]]:
        from deepicd.evaluation.generate import GREEDY

        notes, planted = asked.notes[chosen], asked.planted[chosen]
        halves = [asked.prompt.messages(variants.first_half(note)) for note in notes]
        misled = [
            asked.prompt.messages(variants.with_wrong_diagnosis(note, code))
            for note, code in zip(notes, planted, strict=True) if code is not None
        ]  # fmt: skip
        [half_answers] = generator.generate(halves, GREEDY)
        [misled_answers] = generator.generate(misled, GREEDY) if misled else [[]]
        found: list[dict[str, str | None]] = [{variants.HALF: self._code(one, asked)} for [one] in half_answers]
        after = iter(misled_answers)
        for own, code in zip(found, planted, strict=True):
            if code is not None:
                [one] = next(after)
                own |= {variants.PLANTED: code, variants.MISLED: self._code(one, asked)}
        return found

    def _scored(
        self, admissions: Sequence[dict[str, Any]], asked: Asked, chosen: slice, sampled: Sequence[Sequence[Generated]]
    ) -> list[list[Rollout]]:
        rollouts = []
        for admission, note, choices in zip(admissions, asked.notes[chosen], sampled, strict=True):
            local = is_local(admission["extra_info"])
            samples = [Sample(choice.text, admission["code"], note, choice.truncated, local) for choice in choices]
            rollouts.append([Rollout(sample, scored) for sample, scored in zip(samples, asked.score(samples), strict=True)])
        return rollouts

    def _code(self, one: Generated, asked: Asked) -> str | None:
        return completion.parse(one.text, opened_think=asked.opened_think, truncated=one.truncated).code

    def _enter(self, phase: Phase, model: Model | None = None) -> None:
        if self._phases is not None:
            self._phases.enter(phase, of=None if model is None else model.name)

    def _note_progress(self) -> None:
        """Add a line with the number of batches of all models that any engine has answered."""
        done = sum(own.has(batch) for own in self._parts.values() for batch in range(len(self._slices)))
        with Path(self._plan.progress).open("a") as file:
            file.write(json.dumps({"step": done, "data": {}}) + "\n")


def _timed(generator: Generator, chats: Sequence[Chat], sampling: Sampling, seconds: dict[str, float], kind: str) -> Any:
    started = time.monotonic()
    [found] = generator.generate(chats, sampling)
    seconds[kind] = time.monotonic() - started
    return found


def _planted(plan: EvaluationPlan, admissions: Sequence[dict[str, Any]]) -> list[str | None]:
    if not plan.premature_closure:
        return [None] * len(admissions)
    ids, codes = [str(row["id"]) for row in admissions], [row["code"] for row in admissions]
    return variants.planted_codes(ids, codes, seed=plan.seed)


def _local_codes(admissions: Sequence[dict[str, Any]]) -> list[str]:
    return [row["code"] for row in admissions if is_local(row["extra_info"])]
