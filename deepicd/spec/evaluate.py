"""`spec.stages.evaluate`: which models are evaluated, and how."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from deepicd.spec.base import SpecModel
from deepicd.spec.changes import Later
from deepicd.spec.prompt import PromptSpec
from deepicd.spec.rules import read_by_field

BASELINES = ("majority", "tfidf", "neighbours")
"""Baselines that need no more than scikit-learn."""
ENCODER = "encoder"
"""Name of the encoder in tables."""
_OWN = ("base", "sft", "grpo", *BASELINES, ENCODER)
"""Names in tables that no other model may have."""
_NAME = "^[a-z0-9]([-a-z0-9.]{0,38}[a-z0-9])?$"
_MOST_MODELS = 8


class OtherModelSpec(SpecModel):
    """A model that the run did not train."""

    path: str = Field(min_length=1)
    """Folder with a Hugging Face model, or its name on the hub (without a network, from the local cache)."""
    prompt: PromptSpec | None = None
    """The model's prompt; by default the one in its deepicd.json, or otherwise the run's."""


class EncoderSpec(SpecModel):
    """An encoder such as ModernBERT, fine-tuned to classify the notes of the train split."""

    path: str = Field(min_length=1)
    """Folder with a Hugging Face encoder, or its name on the hub."""
    max_tokens: int = Field(default=512, ge=8)
    """Maximum length of a note, in tokens; a longer note is cut at its end."""
    epochs: int = Field(default=5, ge=1)
    """Passes over the train split; the weights after the pass with the best category macro F1 on the validation split are
    kept."""
    batch_size: int = Field(default=16, ge=1)
    """Notes per step."""
    learning_rate: float = Field(default=5e-5, gt=0)
    """Peak learning rate; it rises over the first tenth of the steps, then falls to 0."""


class EvaluateSpec(SpecModel):
    """Evaluation of the run's models, and optionally of others, on the test split."""

    base: Later[bool] = True
    """Evaluate the base model as well as the trained ones. A run that trains no model evaluates it anyway."""
    models: Later[dict[str, OtherModelSpec]] = Field(default={}, max_length=_MOST_MODELS)
    """Other models in the same table, by their name there: `{released: {path: FOLDER}}`."""
    baselines: Later[list[Literal["majority", "tfidf", "neighbours"]]] = Field(default=[], max_length=len(BASELINES))
    """Baselines in the same table, trained on the train split and tuned on the validation split: `majority` (the most frequent
    code), `tfidf` (TF-IDF with a linear model), `neighbours` (vote of the nearest admissions)."""
    encoder: Later[EncoderSpec | None] = None
    """A fine-tuned encoder as another baseline."""
    max_admissions: int | None = Field(default=None, ge=1)
    """Evaluate on at most this many admissions of the test split."""
    samples: int = Field(default=4, ge=1)
    """Completions sampled per admission, for the held-out reward, pass@k, the majority and the confidence; the headline metrics
    use greedy answers."""
    bootstrap_samples: int = Field(default=1000, ge=0)
    """Patient-level bootstrap samples for the 95 % intervals; with 0 there are no intervals."""
    calibration: Later[bool] = True
    """Measure whether each model's confidence matches how often it is right."""
    fairness: Later[bool] = True
    """Compare groups of patients by sex, age, race, insurance and language."""
    constrained: Later[bool] = False
    """Let each model answer again with a diagnosis tag that can contain only codes from the code table."""
    premature_closure: Later[bool] = False
    """Let each model answer again with half of the note, and with a wrong diagnosis in front."""

    rules = (
        read_by_field(
            f"self.models.all(name, name.matches('{_NAME}') && !(name in {list(_OWN)}))",
            f"models: a name has 1 to 40 lower-case letters, digits, dots and dashes, and is none of {', '.join(_OWN)}",
        ),
    )

    @field_validator("models")
    @classmethod
    def _names_are_free(cls, given: dict[str, OtherModelSpec]) -> dict[str, OtherModelSpec]:
        for name in given:
            if name in _OWN:
                raise ValueError(f"'{name}' is the name of a model of every run: give another name")
            if re.fullmatch(_NAME, name) is None:
                raise ValueError(
                    f"'{name[:40]}' is not a name of a model: give lower-case letters, digits, dots and dashes, at most 40"
                )
        return given

    @field_validator("baselines")
    @classmethod
    def _baselines_once(cls, given: list[str]) -> list[str]:
        if len(set(given)) < len(given):
            raise ValueError("a baseline is given twice: keep one of them")
        return given
