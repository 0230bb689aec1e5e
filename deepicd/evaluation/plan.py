"""The plan of an evaluation: which models answer the test split, and how. It is JSON, read by the processes that generate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

from deepicd.run_layout import CARDS

CHUNK = 64
"""Admissions per batch of a run: small enough to show progress and to lose little, large enough to keep vLLM busy."""


@dataclass(frozen=True)
class Model:
    """A model to ask."""

    name: str
    """Its name in tables."""
    path: str
    """Its folder, or a name on the hub."""
    own: bool
    """Whether it is a model of the run. These differ only in their weights, and see the prompts that `prepare` wrote."""
    prompt: dict[str, Any] | None
    """Fields of `deepicd.prompt.Prompt`; None: that of the model's deepicd.json, or the run's."""


@dataclass(frozen=True)
class EvaluationPlan:
    """Which models to ask, and what."""

    models: list[dict[str, Any]]
    """Fields of `Model`, in the report's order."""
    test: str
    """Parquet file of the test split, with the prompts of the run's models."""
    cohort: str
    """The same split with whole notes."""
    prompt: dict[str, Any]
    """Fields of `deepicd.prompt.Prompt`."""
    max_admissions: int | None
    samples: int
    """Sampled completions per admission."""
    temperature: float
    top_k: int
    max_prompt_tokens: int
    max_response_tokens: int
    seed: int
    opened_think: bool
    reward: dict[str, Any]
    constrained: bool
    """Whether the models also answer with only codes of the table."""
    premature_closure: bool
    """Whether they also answer with half of the note, and with a wrong diagnosis in front."""
    stages: str
    """The run's folder of stages, which has the words of its cohort."""
    engine: dict[str, Any]
    """Arguments of vLLM's engine."""
    engines: list[dict[str, str]]
    """Variables of the process of each engine: which GPUs it has."""
    batch: int
    """Admissions per batch."""
    parts: str
    """Folder of the answers so far."""
    out: str
    """predictions.parquet to write."""
    seconds: str
    """JSON file to write: seconds of generation per admission, by model, free and constrained."""
    progress: str
    """File that gets a line after each batch, in the format of verl's metrics logger."""
    total: str
    """File that gets the total number of those lines."""
    phases: str
    """File that gets the phases."""
    failure: str
    """File that gets the error that the user can fix."""

    def groups(self) -> Iterator[list[Model]]:
        """The models that one engine can serve one after the other: those of the run together, and each other model by
        itself.
        """
        models = [Model(**fields) for fields in self.models]
        for _, group in groupby(models, key=lambda model: "" if model.own else model.name):
            yield list(group)

    def key(self, model: Model) -> str:
        """Digest of everything that decides a model's answers; answers of an interrupted evaluation with another key are not
        used.
        """
        chosen = {
            name: value for name, value in asdict(self).items()
            if name not in {"models", "engines", "parts", "out", "seconds", "progress", "total", "phases", "failure"}
        }  # fmt: skip
        read = [stamp(Path(path)) for path in (self.test, self.cohort, model.path)]
        return sha256(json.dumps([chosen, asdict(model), read], sort_keys=True).encode()).hexdigest()


def stamp(path: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of a file, or of each file of a folder; nothing for a name on the hub.

    The model's cards are left out, because each evaluation writes them again and they do not affect answers.
    """
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    found = [(file.name, file.stat()) for file in files if file.is_file() and file.name not in CARDS]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in found]


def chunks(admissions: int, batch: int) -> list[slice]:
    """The admissions of each batch."""
    return [slice(start, start + batch) for start in range(0, admissions, batch)]


def share(batches: int, engine: int, engines: int) -> list[int]:
    """The batches of one engine. Each batch belongs to exactly one engine, whichever batches are already done."""
    return list(range(engine, batches, engines))
