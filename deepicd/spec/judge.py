"""`spec.reward.judge`: a language model that judges each completion's reasoning."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, model_validator

from deepicd.spec.base import Duration, SpecModel
from deepicd.spec.changes import MayChange
from deepicd.spec.endpoint import ATTESTED, ENDPOINT, EndpointKey, endpoint_rules
from deepicd.spec.rules import either, equals
from deepicd.spec.storage import refuse_credentials

TERM = "judge"
"""Name of the judge's term."""
DEFAULT_RUBRIC = "default"


class JudgeSpec(SpecModel):
    """A language model that answers the yes-or-no questions of a rubric about each completion. Its term is the weighted
    share of good answers. Exactly one of `model`, `endpoint`.
    """

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
    network or a service of the cluster: MIMIC-IV's data use agreement forbids third parties that keep the notes."""
    placement: Literal["server", "colocated"] = "server"
    """`server`: the judge has its own server. `colocated`, on the GPUs of the policy, is not built yet."""
    gpus: MayChange[int] = Field(default=1, ge=1, le=64)
    """GPUs of the server for `model`, beside `compute.gpus`."""
    rubric: str = Field(default=DEFAULT_RUBRIC, min_length=1, max_length=1024)
    """`default`, or the path of a rubric file; on a cluster a path in the pod (`compute.dataVolumes`)."""
    only_where_outcome_varies: bool = False
    """Within a group of rollouts that are all right or all wrong, the judge's values are replaced by their mean, so that
    the judge's noise is not the group's whole gradient."""
    on_failure: MayChange[Literal["skip", "fail"]] = "skip"
    """When more than `maxFailures` of the verdicts are missing: `skip` waits for the judge (without a step for
    `recovery.stallAfter` the attempt ends), `fail` ends the attempt immediately."""
    max_failures: MayChange[float] = Field(default=0.1, ge=0, lt=1)
    """Share of the last 256 verdicts that may be missing. A missing one counts as the mean of its group, never as 0."""
    timeout: MayChange[Duration] = timedelta(seconds=60)
    """Time for one request to the judge."""

    @model_validator(mode="before")
    @classmethod
    def _no_credentials_in_endpoint(cls, value: Any) -> Any:
        return refuse_credentials(value, "apiKey")

    rules = (
        *endpoint_rules("model"),
        either(
            equals("placement", "server"),
            message="placement: colocated is not built yet: use server, with a GPU for the judge or an endpoint",
        ),
    )
