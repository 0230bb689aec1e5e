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


def attempt_objects(request: AttemptRequest) -> tuple[dict[str, Any], ...]:
    """All objects of an attempt, in order: a RoleBinding needs its Role, and the Job, which starts it all, needs the rest."""
    made = [] if request.spec.compute.service_account.name else [service_account(request)]
    if request.settings.network_policy:
        made.append(network_policy(request))
    made += [role(request), progress_config_map(request)]
    if request.on_ray:
        made.append(scratch_claim(request))
    return (*made, role_binding(request), rayjob(request) if request.on_ray else job(request))


__all__ = ["AttemptRequest", "attempt_objects"]
