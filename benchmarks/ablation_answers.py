"""Greedy answers of several models to held-out notes, with one start of vLLM: `python -m benchmarks.ablation_answers PLAN`.

PLAN is a JSON file of `Plan`'s fields. For each model it writes FOLDER/NAME.json: predictions, and the tokens of each answer.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deepicd import atomic, completion
from deepicd.data.rows import is_local
from deepicd.evaluation.engine import read_admissions
from deepicd.evaluation.predictions import Prediction
from deepicd.prompt import Prompt
from deepicd.rewards import Sample, cohort_words, make_scorer
from deepicd.spec.reward import RewardSpec


@dataclass(frozen=True)
class Plan:
    """What to ask which models."""

    models: dict[str, str]
    """Folders of models that differ only in their weights, by name."""
    test: str
    """The test split's prompts."""
    admissions: int
    """How many of them to ask about."""
    prompt: dict[str, Any]
    """Fields of `Prompt`."""
    max_prompt_tokens: int
    max_response_tokens: int
    seed: int
    stages: str
    """A run's folder of stages, which has the words of its cohort."""
    engine: dict[str, Any]
    """Arguments of vLLM's engine."""
    out: str


def answer(plan: Plan) -> None:
    """Ask all models. The reward is that of the preset `deepicd`, whatever a model was trained with."""
    from transformers import AutoTokenizer

    from deepicd.evaluation.generate import GREEDY, Generator

    admissions = read_admissions(Path(plan.test), plan.admissions)
    asks = Prompt(**plan.prompt)
    notes = [asks.note(admission["prompt"]) for admission in admissions]
    score = make_scorer(RewardSpec(), opened_think=True, cohort=cohort_words.of_run(Path(plan.stages)))
    first = Path(next(iter(plan.models.values())))
    tokenizer = AutoTokenizer.from_pretrained(first)
    generator = Generator(
        first, max_prompt_tokens=plan.max_prompt_tokens, max_response_tokens=plan.max_response_tokens, engine=plan.engine,
        seed=plan.seed,
    )  # fmt: skip
    for name, folder in plan.models.items():
        if Path(folder) != first:
            generator.load(Path(folder))
        [answers] = generator.generate([asks.messages(note) for note in notes], GREEDY)
        predictions, tokens = [], []
        for admission, note, [given] in zip(admissions, notes, answers, strict=True):
            parsed = completion.parse(given.text, opened_think=True, truncated=given.truncated)
            [scored] = score([Sample(given.text, admission["code"], note, given.truncated, is_local(admission["extra_info"]))])
            predictions.append(
                Prediction(
                    id=str(admission["id"]),
                    subject_id=str(admission["subject_id"]),
                    gold=admission["code"],
                    prediction=parsed.code,
                    faults=tuple(str(fault) for fault in parsed.faults),
                    reward=scored.value,
                )
            )
            written = len(tokenizer(given.text, add_special_tokens=False)["input_ids"])
            tokens.append(plan.max_response_tokens if given.truncated else written + 1)  # its end is a token too
        content = {"predictions": [asdict(one) for one in predictions], "tokens": tokens}
        atomic.write(Path(plan.out) / f"{name}.json", json.dumps(content))
    generator.close()


if __name__ == "__main__":
    answer(Plan(**json.loads(Path(sys.argv[1]).read_text())))
