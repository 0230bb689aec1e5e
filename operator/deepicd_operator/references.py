"""The fields of a run that name a Secret or a ServiceAccount, for the operator and for the API server's policy.

A path starts below `spec`; `[]` stands for each item of a list.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SECRETS = (
    "storage.s3.credentials.secretName",
    "compute.env[].secret.name",
    "compute.dataVolumes[].secret",
    "compute.imagePullSecrets[]",
    "reward.judge.apiKey.secret",
    "reward.judge.second.apiKey.secret",
    "tracking.mlflow.secret",
    "stages.distill.teacher.apiKey.secret",
)
"""Fields that name a Secret of the run's namespace."""
SERVICE_ACCOUNTS = ("compute.serviceAccount.name",)
"""Fields that name an existing ServiceAccount of the run's namespace."""


def names_at(path: str, content: Any) -> Iterator[str]:
    """Yield the names at a path of a spec in its JSON form."""
    if content is None:
        return
    head, _, rest = path.partition(".")
    field = head.removesuffix("[]")
    found = content.get(field)
    for item in (found or ()) if head.endswith("[]") else (found,):
        if rest:
            yield from names_at(rest, item)
        elif item is not None:
            yield item
