"""Answers as they arrive, with a file for each batch of each model. They contain ids, codes, names and numbers, no text.

PARTS/MODEL/key         digest of everything that decides the answers
PARTS/MODEL/00003.json  answers of the fourth batch
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from deepicd import atomic
from deepicd.data.rows import is_local
from deepicd.evaluation.predictions import Prediction
from deepicd.rewards import Score


@dataclass(frozen=True, slots=True)
class Answer:
    """One model's answer for one admission."""

    id: str
    code: str | None
    """Of the greedy completion."""
    faults: list[str]
    samples: list[str | None]
    """Codes of the sampled completions."""
    reward: float
    """Mean over the samples."""
    terms: dict[str, float]
    judged: tuple[float, dict[str, float]] | None
    """Reward and terms with the judge's term; None without a judge."""
    variants: dict[str, str | None]
    """See `deepicd.evaluation.variants`."""


class Batches:
    """The result of each batch, as JSON, in a separate folder. Several processes may write, each its own batches."""

    def __init__(self, folder: Path, key: str, check: Callable[[Any], object] = bool) -> None:
        """`key`: digest of everything that decides the content; `check` raises KeyError or TypeError for damaged content."""
        self._folder = folder
        self._key = key
        self._check = check

    def begin(self) -> None:
        """Delete results with another key, and damaged files. Only one process may do this, before any engine starts."""
        mark = self._folder / "key"
        if not mark.exists() or mark.read_text() != self._key:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True)
            atomic.write(mark, self._key)
        for path in self._folder.glob("*.json"):
            try:
                self._check(json.loads(path.read_bytes()))
            except (ValueError, KeyError, TypeError):
                path.unlink()

    def has(self, batch: int) -> bool:
        """Whether a batch is done."""
        return self._path(batch).exists()

    def write(self, batch: int, content: Any) -> None:
        """Write the content of a batch."""
        atomic.write(self._path(batch), json.dumps(content))

    def read(self, batch: int) -> Any:
        """The content of a batch. Raises: FileNotFoundError: it is not done."""
        return json.loads(self._path(batch).read_bytes())

    def drop(self, batch: int) -> None:
        """Delete a batch, so that it is computed again."""
        self._path(batch).unlink()

    def _path(self, batch: int) -> Path:
        return self._folder / f"{batch:05d}.json"


class Parts:
    """The answers of one model in a folder."""

    def __init__(self, folder: Path, model: str, key: str) -> None:
        """`folder`: of all models; `key`: digest of everything that decides the answers."""
        self._batches = Batches(folder / model, key, _answers)
        self.begin, self.has, self.drop = self._batches.begin, self._batches.has, self._batches.drop

    def unjudged(self, batches: int) -> list[int]:
        """The answered batches that have an answer without the judge's score."""
        return [
            batch for batch in range(batches)
            if self.has(batch) and any(answer.judged is None for answer in _answers(self._batches.read(batch))[0])
        ]  # fmt: skip

    def write(self, batch: int, answers: Sequence[Answer], seconds: Mapping[str, float]) -> None:
        """Write the answers of a batch, and the seconds of generation that they took, by kind."""
        self._batches.write(batch, {"answers": [asdict(answer) for answer in answers], "seconds": dict(seconds)})

    def read(self, batches: int) -> tuple[list[Answer], dict[str, float]]:
        """All answers in order, and their seconds.

        Raises:
            FileNotFoundError: a batch is not answered.
        """
        answers: list[Answer] = []
        seconds: dict[str, float] = {}
        for batch in range(batches):
            found, spent = _answers(self._batches.read(batch))
            answers += found
            for kind, own in spent.items():
                seconds[kind] = seconds.get(kind, 0.0) + own
        return answers, {kind: spent / len(answers) for kind, spent in seconds.items()}


def _answers(content: Any) -> tuple[list[Answer], dict[str, float]]:
    """Answers and seconds of a batch. Raises: KeyError, TypeError: it is damaged."""
    return [Answer(**fields) for fields in content["answers"]], dict(content["seconds"])


def to_predictions(
    admissions: Sequence[Mapping[str, Any]], by_model: Mapping[str, Sequence[Answer]]
) -> dict[str, list[Prediction]]:
    """The predictions of every model. The judge counts for all answers, or for none if one was given without it.

    Args:
        admissions: rows of `engine.read_admissions`.
        by_model: one answer for each of them, in the same order.
    """
    judged = all(answer.judged is not None for answers in by_model.values() for answer in answers)
    return {
        name: [_prediction(admission, answer, judged=judged) for admission, answer in zip(admissions, answers, strict=True)]
        for name, answers in by_model.items()
    }


def _prediction(admission: Mapping[str, Any], answer: Answer, *, judged: bool) -> Prediction:
    years = admission["extra_info"].get("fiscal_years")
    reward, terms = answer.judged if judged and answer.judged is not None else (answer.reward, answer.terms)
    return Prediction(
        id=str(admission["id"]),
        subject_id=str(admission["subject_id"]),
        gold=admission["code"],
        prediction=answer.code,
        faults=tuple(answer.faults),
        reward=reward,
        terms=terms,
        fiscal_years=None if years is None else (years[0], years[1]),
        local_gold=is_local(admission["extra_info"]),
        samples=tuple(answer.samples),
        variants=answer.variants,
    )


def mean_terms(scores: Sequence[Score]) -> tuple[float, dict[str, float]]:
    """Mean value and terms of the samples' scores; a term is NaN where all are."""
    names = scores[0].terms
    known = {name: [score.terms[name] for score in scores if score.terms[name] == score.terms[name]] for name in names}
    return fmean(score.value for score in scores), {name: fmean(own) if own else float("nan") for name, own in known.items()}
