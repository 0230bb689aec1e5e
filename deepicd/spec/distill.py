"""`spec.stages.distill`: a larger model, the teacher, writes the reasoning traces that SFT learns from."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import Field, model_validator

from deepicd.spec.base import SpecModel, TimeLimit
from deepicd.spec.changes import MayChange
from deepicd.spec.endpoint import ATTESTED, ENDPOINT, EndpointKey, endpoint_rules
from deepicd.spec.rules import at_least
from deepicd.spec.storage import refuse_credentials


class PricesSpec(SpecModel):
    """What the teacher costs, per million tokens, in any currency."""

    prompt: float = Field(default=0, ge=0)
    """Price of a million tokens of prompts."""
    completion: float = Field(default=0, ge=0)
    """Price of a million tokens of answers."""


class TeacherSpec(SpecModel):
    """The teacher: exactly one of `run`, `model`, `endpoint`."""

    run: str | None = Field(default=None, min_length=1, max_length=1024)
    """Another run whose last trained model is the teacher: its folder, or its name if its folder is `runs/NAME`."""
    model: str | None = Field(default=None, min_length=1, max_length=1024)
    """Folder or hub name of a chat model."""
    endpoint: str | None = Field(default=None, pattern=ENDPOINT, max_length=1024)
    """Address of a server with the OpenAI API, such as `http://teacher.models.svc:8000/v1`."""
    name: str | None = Field(default=None, min_length=1, max_length=256)
    """The model's name at the endpoint."""
    api_key: EndpointKey | None = None
    """The endpoint's key; none by default."""
    data_use: str | None = Field(default=None, pattern=ATTESTED, max_length=1024)
    """Who attests what about sending notes to the endpoint. Needed unless the endpoint is on this machine, in a private
    network or a service of the cluster: MIMIC-IV's data use agreement forbids third parties that keep the notes."""
    tensor_parallel: MayChange[int] = Field(default=1, ge=1, le=64)
    """GPUs over which vLLM splits one copy of `run` or `model`. There are as many copies as `compute.gpus` allows."""
    concurrency: MayChange[int] = Field(default=64, ge=1, le=4096)
    """Requests at a time."""
    timeout: MayChange[TimeLimit] = timedelta(minutes=10)
    """Time for one request."""
    give_up_after: MayChange[TimeLimit] = timedelta(hours=2)
    """End the attempt when the teacher gives no answer for this long. Until then the stage waits and tries again."""
    prices: MayChange[PricesSpec | None] = None
    """Prices, for the cost on the terminal and in distill.json."""

    @model_validator(mode="before")
    @classmethod
    def _no_credentials_in_endpoint(cls, value: Any) -> Any:
        return refuse_credentials(value, "apiKey")

    rules = endpoint_rules("run", "model")


class FiltersSpec(SpecModel):
    """Thresholds of the rules by which answers are kept. Shares are in [0, 1]."""

    min_words: int = Field(default=15, ge=1)
    """Least words of a trace."""
    max_words: int = Field(default=600, ge=1)
    """Most words of a trace."""
    conclusion: float = Field(default=0.3, ge=0, le=1)
    """Last share of a trace, at least its last sentence, that may name the code or its title. Before it, neither may be
    named."""
    title_words: float = Field(default=0.8, gt=0, le=1)
    """Share of the title's content words in one sentence that names the title. Words of the note do not count."""
    unfounded: float = Field(default=0.1, ge=0, le=1)
    """Largest share of the findings, those that the trace states about the patient, without their words in the note."""
    unknown_numbers: int = Field(default=0, ge=0)
    """Most numbers that the note does not have."""
    contradictions: int = Field(default=0, ge=0)
    """Most findings that the note denies and the trace affirms, or the reverse."""
    later: int = Field(default=0, ge=0)
    """Most findings that only the later part of the discharge summary has."""
    copied: float = Field(default=0.3, ge=0, le=1)
    """Largest share of words in stretches of 14 or more that follow the note."""
    similarity: float | None = Field(default=0.8, gt=0, le=1)
    """From this similarity on, the later one of two traces is left out: Jaccard's, of their runs of three words, by MinHash.
    `null` turns it off."""

    rules = (at_least("maxWords", "minWords", "maxWords: is less than minWords: raise it"),)


class DistillSpec(SpecModel):
    """Reasoning traces from a teacher, for SFT. At most one trace for each training admission."""

    teacher: TeacherSpec
    """The model that writes the traces."""
    oracle: bool = True
    """The teacher gets the gold code and its title, and is asked to conceal that. `false`: it gets only the note."""
    samples: int = Field(default=4, ge=1, le=64)
    """Most answers to ask for per admission; the first that passes all filters is kept."""
    temperature: float = Field(default=0.9, ge=0, le=2)
    """Sampling temperature; with 0 there is one answer per admission."""
    max_response_tokens: int = Field(default=1024, ge=16)
    """Longest answer. A teacher that thinks before it answers needs more."""
    max_admissions: int | None = Field(default=None, ge=1)
    """Ask about at most this many training admissions; by default about all."""
    filters: FiltersSpec = FiltersSpec()
    """Which answers are kept."""
