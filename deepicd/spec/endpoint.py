"""Endpoints of language models in run.yaml, and which of them may receive notes."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field

from deepicd.spec.base import SpecModel
from deepicd.spec.compute import NAME_PATTERN, VARIABLE_PATTERN
from deepicd.spec.rules import Rule, either, exactly_one, given, matches, never, python_only, requires
from deepicd.spec.storage import Address, address_of
from deepicd.spec.wording import pattern

_PORT_AND_PATH = r"(:[0-9]{1,5})?(/[^\s?#]*)?$"
ENDPOINT = pattern(
    r"^https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])" + _PORT_AND_PATH,
    "an http:// or https:// address, such as http://judge:8000/v1",
)
_BYTES = r"(\.[0-9]{1,3})"
ATTESTED = pattern(r"\S[\s\S]{8,}\S", "at least ten characters: who attests what about sending notes to the endpoint")
INSIDE = (
    "(?i)^https?://"
    rf"(localhost|127{_BYTES}{{3}}|10{_BYTES}{{3}}|192\.168{_BYTES}{{2}}|172\.(1[6-9]|2[0-9]|3[01]){_BYTES}{{2}}"
    r"|\[(::1|f[cd][0-9a-f]{2}:[0-9a-f:]*)\]|([a-z0-9-]+\.)+svc(\.cluster\.local)?\.?)" + _PORT_AND_PATH
)
"""Endpoints on this machine, in a private network, or a service of the cluster."""


class EndpointKey(SpecModel):
    """Where an endpoint's key is stored: exactly one of `env`, `secret`."""

    env: str | None = Field(default=None, pattern=VARIABLE_PATTERN, max_length=253)
    """Environment variable that has the key. On a cluster set it in the pod with `compute.env`."""
    secret: str | None = Field(default=None, pattern=NAME_PATTERN, max_length=253)
    """On a cluster: the Secret that has the key as `apiKey`. On one machine the key comes from a variable:
    `DEEPICD_JUDGE_API_KEY` for the judge, `DEEPICD_SECOND_JUDGE_API_KEY` for the second judge and `DEEPICD_TEACHER_API_KEY` for
    the teacher."""

    rules = (exactly_one("env", "secret"),)


def endpoint_address(endpoint: str) -> Address:
    """Host and port of an endpoint.

    Raises:
        ValueError: it is not an address.
    """
    parts = urlsplit(endpoint)
    return address_of(f"{parts.scheme}://{parts.netloc}")


def endpoint_rules(*others: str) -> tuple[Rule, ...]:
    """Rules of a section with `endpoint`, `name`, `apiKey` and `dataUse`. `others`: fields that a model may have instead."""
    return (
        exactly_one(*others, "endpoint"),
        requires("endpoint", given("name"), "name: is missing: give the model's name at the endpoint"),
        *(
            requires(field, given("endpoint"), f"{field}: goes with endpoint: remove it")
            for field in ("name", "apiKey", "dataUse")
        ),
        either(
            never(given("endpoint")),
            given("dataUse"),
            matches("endpoint", INSIDE),
            message="endpoint: is not on this machine, in a private network or a service of the cluster (.svc), and notes are "
            "sent to it: use another, or say in dataUse who attests that the data use agreement allows it",
        ),
        python_only("endpoint: ", lambda section: section.endpoint is None or endpoint_address(section.endpoint)),
    )
