"""How a run's status explains an object that the API server refuses to create."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from deepicd.kubernetes.errors import QuotaExceededError, RefusedField, RefusedFieldsError, RequestError, UnknownKindError
from deepicd_operator.kinds import RAY_JOB
from deepicd_operator.reasons import Reason

_TEMPLATE = re.compile(r"(?:^|\.)template\.((?:metadata|spec)\b.*)")
_COMPUTE = {
    "spec.affinity": "affinity",
    "spec.containers.env": "env",
    "spec.containers.image": "image",
    "spec.imagePullSecrets": "imagePullSecrets",
    "spec.initContainers.env": "env",
    "spec.nodeSelector": "nodeSelector",
    "spec.priorityClassName": "priorityClass",
    "spec.runtimeClassName": "runtimeClass",
    "spec.tolerations": "tolerations",
}
"""Fields of the pod that are copied unchanged from fields of `spec.compute`."""


class RefusedObjectError(Exception):
    """An object that the run needs cannot be created until something changes."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def refused_object(content: Mapping[str, Any], error: RequestError, spec: Mapping[str, Any]) -> RefusedObjectError:
    """Return the refusal in terms of the run's own fields, if they are the cause."""
    kind, name = content["kind"], content["metadata"]["name"]
    if isinstance(error, UnknownKindError) and kind == RAY_JOB:
        return RefusedObjectError(Reason.API_REFUSED, f"{RAY_JOB}: KubeRay is not installed")
    if isinstance(error, RefusedFieldsError):
        fields = {field: in_spec(field.path, spec) for field in error.fields}
        reason = Reason.INVALID_SPEC if any(fields.values()) else Reason.API_REFUSED
        found = [RefusedField(place or f"{kind} {name}: {field.path}", field.problem) for field, place in fields.items()]
        return RefusedObjectError(reason, "; ".join(map(str, found)))
    reason = Reason.QUOTA_EXCEEDED if isinstance(error, QuotaExceededError) else Reason.API_REFUSED
    return RefusedObjectError(reason, f"{kind} {name}: {error}")


def in_spec(path: str, spec: Mapping[str, Any]) -> str | None:
    """Return the run's field that a field of its Job or RayJob comes from; None if the operator set it.

    Example: `spec.template.spec.affinity.nodeAfinity` is `spec.compute.affinity.nodeAfinity`.
    """
    if (found := _TEMPLATE.search(path)) is None:
        return None
    in_pod, compute = found[1], spec.get("compute") or {}
    names = re.sub(r"\[[^]]*\]", "", in_pod).split(".")
    if _has(compute.get("podTemplatePatch"), names):
        return f"spec.compute.podTemplatePatch.{in_pod}"
    for place, field in _COMPUTE.items():
        depth = place.count(".") + 1
        if ".".join(names[:depth]) == place and field in compute:
            last, *rest = in_pod.split(".")[depth - 1 :]
            # The operator's own variables come before the run's.
            index = "" if field == "env" else "".join(re.findall(r"\[[^]]*\]", last))
            return ".".join([f"spec.compute.{field}{index}", *rest])
    return None


def _has(content: Any, names: list[str]) -> bool:
    """Whether nested mappings have the field; in a list, one of its items."""
    if not names:
        return True
    if isinstance(content, list):
        return any(_has(each, names) for each in content)
    return isinstance(content, Mapping) and names[0] in content and _has(content[names[0]], names[1:])
