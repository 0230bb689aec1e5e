"""Pure builders: an attempt -> the objects that carry it out, in the order they are made."""

from __future__ import annotations

from typing import Any

from deepicd_operator.resources.attempt import AttemptRequest
from deepicd_operator.resources.identity import role, role_binding, service_account
from deepicd_operator.resources.job import job
from deepicd_operator.resources.network import network_policy
from deepicd_operator.resources.progress import progress_config_map
from deepicd_operator.resources.rayjob import rayjob
from deepicd_operator.resources.volumes import scratch_claim

Groups = tuple[tuple[dict[str, Any], ...], ...]
"""Objects that are made group by group, those of a group at once."""


def starting_objects(request: AttemptRequest) -> Groups:
    """What the pod must have before it is there, and then the Job, which makes the pod."""
    before = [] if request.spec.compute.service_account.name else [service_account(request)]
    if request.settings.network_policy:
        before.append(network_policy(request))
    return tuple(before), (rayjob(request) if request.on_ray else job(request),)


def further_objects(request: AttemptRequest, job_uid: str) -> Groups:
    """What the pod needs later: its nodes' volume, and the right to report. The ConfigMap is the last: where it is, all are."""
    shared = [scratch_claim(request, job_uid)] if request.on_ray else []
    return (role(request), *shared), (role_binding(request),), (progress_config_map(request),)


__all__ = ["AttemptRequest", "Groups", "further_objects", "starting_objects"]
