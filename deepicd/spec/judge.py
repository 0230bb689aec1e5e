"""`spec.reward.judge`: a language model that judges each completion's reasoning."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, model_validator

from deepicd.spec.base import SpecModel, TimeLimit
from deepicd.spec.changes import Later, MayChange
from deepicd.spec.endpoint import ATTESTED, ENDPOINT, EndpointKey, endpoint_rules
from deepicd.spec.rules import Rule, either, equals, given, value_of
from deepicd.spec.storage import refuse_credentials

TERM = "judge"
"""Name of the judge's term."""
DEFAULT_RUBRIC = "default"


class JudgeModelSpec(SpecModel):
    """The language model of a judge. Exactly one of `model`, `endpoint`."""

    model: str | None = Field(default=None, min_length=1)
    """Folder or hub name of a chat model. The run starts a vLLM server for it, on separate GPUs, and stops it."""
    endpoint: str | None = Field(default=None, pattern=ENDPOINT, max_length=1024)
    """Address of a server with the OpenAI API, such as `http://judge.models.svc:8000/v1`."""
    name: str | None = Field(default=None, min_length=1, max_length=256)
    """The model's name at the endpoint."""
    api_key: EndpointKey | None = None
    """The endpoint's key; none by default."""
    data_use: str | None = Field(default=None, pattern=ATTESTED, max_length=1024)
    """Who attests what about sending notes to the endpoint. Needed unless the endpoint is on this machine, in a private
    network or a service of the cluster, because MIMIC-IV's data use agreement forbids third parties that keep the notes."""
    gpus: MayChange[int] = Field(default=1, ge=1, le=64)
    """GPUs of the server for `model`, in addition to `compute.gpus`. With `placement: colocated`, the GPUs of each copy."""

    @property
    def identity(self) -> str:
        """What the model is called: its folder or hub name, or its name at the endpoint."""
        return self.model or str(self.name)

    @property
    def own_gpus(self) -> int:
        """GPUs of its own server; 0 at an endpoint."""
        return 0 if self.model is None else self.gpus

    @model_validator(mode="before")
    @classmethod
    def _no_credentials_in_endpoint(cls, value: Any) -> Any:
        return refuse_credentials(value, "apiKey")

    rules = endpoint_rules("model")


def _another_model() -> Rule:
    """The second judge's model differs from the first one's."""

    def named(section: str) -> str:
        return f"(has({section}.model) ? {section}.model : has({section}.name) ? {section}.name : '')"

    def holds(judge: Any) -> bool:
        second = value_of(judge, "second")
        return second is None or second.identity != judge.identity

    return Rule(
        "second: is the model of the judge itself: give one of another family",
        f"!has(self.second) || {named('self')} != {named('self.second')}",
        holds,
    )


class JudgeSpec(JudgeModelSpec):
    """A language model that answers the yes-or-no questions of a rubric about each completion. Its term is the weighted
    share of good answers. Exactly one of `model`, `endpoint`.
    """

    second: Later[JudgeModelSpec | None] = None
    """A second judge, from another model family, which judges only GRPO's validation split. The run reports its mean, and how
    far the two judges agree. It gets the same rubric and limits, and never counts in a reward."""
    placement: Literal["server", "colocated"] = "server"
    """`server`: the judge has its own server. `colocated`: the run's server for `model` shares the policy's GPUs, and each
    sleeps while the other generates. The judge gets the share `stages.grpo.gpuMemoryUtilization` of each GPU."""
    rubric: str = Field(default=DEFAULT_RUBRIC, min_length=1, max_length=1024)
    """`default`, or the path of a rubric file; on a cluster a path in the pod (`compute.dataVolumes`)."""
    only_where_outcome_varies: bool = False
    """If all rollouts of a group are right or all are wrong, replace the judge's values by their mean, so that
    the judge's noise is not the group's whole gradient."""
    on_failure: MayChange[Literal["skip", "fail"]] = "skip"
    """What to do when more than `maxFailures` of the verdicts are missing: `skip` waits for the judge (the attempt ends after
    `recovery.stallAfter` without a step), `fail` ends the attempt immediately."""
    max_failures: MayChange[float] = Field(default=0.1, ge=0, lt=1)
    """Share of the last 256 verdicts that may be missing. A missing verdict counts as the mean of its group, never as 0."""
    timeout: MayChange[TimeLimit] = timedelta(seconds=60)
    """Time for one request to the judge."""

    @property
    def colocated(self) -> bool:
        """Whether the judge shares the policy's GPUs."""
        return self.placement == "colocated"

    @property
    def own_gpus(self) -> int:
        """See `JudgeModelSpec`; 0 if it shares the policy's GPUs."""
        return 0 if self.colocated else super().own_gpus

    @property
    def models(self) -> Iterator[JudgeModelSpec]:
        """The judge's model, and the second judge's."""
        yield self
        if self.second is not None:
            yield self.second

    rules = (
        *endpoint_rules("model"),
        _another_model(),
        either(
            equals("placement", "server"),
            given("model"),
            message="placement: colocated goes with model: give one, or use server",
        ),
    )
