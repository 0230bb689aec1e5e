"""Pure builders of an attempt's objects, in the order of their creation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deepicd_operator.resources.attempt import AttemptRequest
from deepicd_operator.resources.config_map import progress_config_map
from deepicd_operator.resources.job import job
from deepicd_operator.resources.network import network_policy
from deepicd_operator.resources.pod import pod_template
from deepicd_operator.resources.rayjob import rayjob
from deepicd_operator.resources.rbac import role, role_binding, service_account
from deepicd_operator.resources.volumes import scratch_claim

Groups = tuple[tuple[dict[str, Any], ...], ...]
"""Objects in groups: the groups are created in order, the objects of a group concurrently."""


class CannotPlanError(Exception):
    """A builder failed on a valid spec. The message has the field that it uses, and the error."""

    def __init__(self, field: str, error: Exception) -> None:
        super().__init__(f"{field}: {type(error).__name__}: {error}")


def starting_objects(request: AttemptRequest) -> Groups:
    """Return what must exist before the pod, and then the Job, which creates the pod.

    Raises:
        CannotPlanError: a builder failed.
    """
    main = rayjob if request.on_ray else job
    return _before(request), (_build(_pod_field(request), main, request),)


def planned_pod(request: AttemptRequest) -> dict[str, Any]:
    """Return the template of the attempt's pods.

    Raises:
        CannotPlanError: the builder failed.
    """
    return _build(_pod_field(request), pod_template, request)


def further_objects(request: AttemptRequest) -> Groups:
    """Return what the pod needs later, to report. The ConfigMap comes last: if it exists, all objects do."""
    return (role(request),), (role_binding(request),), (progress_config_map(request),)


def supporting_objects(request: AttemptRequest) -> Groups:
    """Return all objects except the Job, to repair a running attempt.

    Raises:
        CannotPlanError: a builder failed.
    """
    return _before(request), *further_objects(request)


def _before(request: AttemptRequest) -> tuple[dict[str, Any], ...]:
    before = [] if request.spec.compute.service_account.name else [service_account(request)]
    if request.settings.network_policy:
        before.append(_build("spec.storage.s3.endpoint", network_policy, request))
    if request.scratch_claim is not None:
        before.append(scratch_claim(request))
    return tuple(before)


def _pod_field(request: AttemptRequest) -> str:
    return "spec.compute" if request.spec.compute.pod_template_patch is None else "spec.compute.podTemplatePatch"


def _build(field: str, build: Callable[[AttemptRequest], dict[str, Any]], request: AttemptRequest) -> dict[str, Any]:
    try:
        return build(request)
    except Exception as error:
        raise CannotPlanError(field, error) from error


__all__ = [
    "AttemptRequest",
    "CannotPlanError",
    "Groups",
    "further_objects",
    "planned_pod",
    "starting_objects",
    "supporting_objects",
]
