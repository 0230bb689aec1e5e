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
    """The teacher's prices per million tokens, in any currency."""

    prompt: float = Field(default=0, ge=0)
    """Price of a million prompt tokens."""
    completion: float = Field(default=0, ge=0)
    """Price of a million answer tokens."""


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
    network or a service of the cluster, because MIMIC-IV's data use agreement forbids third parties that keep the notes."""
    tensor_parallel: MayChange[int] = Field(default=1, ge=1, le=64)
    """GPUs over which vLLM splits one copy of `run` or `model`. There are as many copies as `compute.gpus` allows."""
    concurrency: MayChange[int] = Field(default=64, ge=1, le=4096)
    """Maximum number of concurrent requests."""
    timeout: MayChange[TimeLimit] = timedelta(minutes=10)
    """Time limit of one request."""
    give_up_after: MayChange[TimeLimit] = timedelta(hours=2)
    """End the attempt when the teacher gives no answer for this long. Until then the stage waits and tries again."""
    prices: MayChange[PricesSpec | None] = None
    """Prices, from which the terminal and distill.json show the cost."""

    @model_validator(mode="before")
    @classmethod
    def _no_credentials_in_endpoint(cls, value: Any) -> Any:
        return refuse_credentials(value, "apiKey")

    rules = endpoint_rules("run", "model")


class FiltersSpec(SpecModel):
    """Thresholds of the rules that decide which answers are kept. Shares are in [0, 1]."""

    min_words: int = Field(default=15, ge=1)
    """Minimum number of words in a trace."""
    max_words: int = Field(default=600, ge=1)
    """Maximum number of words in a trace."""
    conclusion: float = Field(default=0.3, ge=0, le=1)
    """Share at the end of a trace, at least its last sentence, that may name the code or its title. Earlier text may name
    neither."""
    title_words: float = Field(default=0.8, gt=0, le=1)
    """A sentence names the title if it has this share of the title's content words. Words of the note do not count."""
    unfounded: float = Field(default=0.1, ge=0, le=1)
    """Maximum share of findings (what the trace states about the patient) whose words are not in the note."""
    unknown_numbers: int = Field(default=0, ge=0)
    """Maximum number of numbers that are not in the note."""
    contradictions: int = Field(default=0, ge=0)
    """Maximum number of findings that the note denies and the trace affirms, or the reverse."""
    later: int = Field(default=0, ge=0)
    """Maximum number of findings that are only in the later part of the discharge summary."""
    copied: float = Field(default=0.3, ge=0, le=1)
    """Maximum share of words in stretches of 14 or more that are copied from the note."""
    similarity: float | None = Field(default=0.8, gt=0, le=1)
    """Two traces with at least this similarity count as duplicates, and the later one is left out. It is the Jaccard similarity
    of their runs of three words, by MinHash. `null` turns the rule off."""

    rules = (at_least("maxWords", "minWords", "maxWords: is less than minWords: raise it"),)


class DistillSpec(SpecModel):
    """Reasoning traces from a teacher, for SFT, with at most one trace per training admission."""

    teacher: TeacherSpec
    """The model that writes the traces."""
    oracle: bool = True
    """Give the teacher the gold code and its title, and ask it to conceal that. `false`: it gets only the note."""
    samples: int = Field(default=4, ge=1, le=64)
    """Maximum number of answers per admission; the first that passes all filters is kept."""
    temperature: float = Field(default=0.9, ge=0, le=2)
    """Sampling temperature; with 0 there is one answer per admission."""
    max_response_tokens: int = Field(default=1024, ge=16)
    """Maximum length of an answer, in tokens. A teacher that thinks before it answers needs more."""
    max_admissions: int | None = Field(default=None, ge=1)
    """Ask about at most this many training admissions; by default about all of them."""
    filters: FiltersSpec = FiltersSpec()
    """Which answers are kept."""
