"""Checks that `compute.podTemplatePatch` leaves what the operator needs, on a sample of the pod template."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deepicd.spec import environment
from deepicd.spec.json_values import below, check_json, kind, wrong
from deepicd.spec.pod_patch import DIRECTIVE, DIRECTIVES, MERGE_KEYS, merge
from deepicd.spec.resource_names import RUN_ANNOTATION, SYNC, TRAINER

_OWN_OF_SYNC = ("command", "args", "restartPolicy", "lifecycle")
"""Fields of the uploader's container that are the operator's."""
_OTHER_FIELD = {"terminationGracePeriodSeconds": "recovery.gracePeriod"}
"""Fields of the pod that a field of the run sets."""
_CONTAINERS = ("containers", "initContainers")
_NEEDED = ("metadata", "metadata.labels", "metadata.annotations", "spec", *(f"spec.{field}" for field in _CONTAINERS))
_OWN = "(the operator's)"
"""Placeholder in the sample for what a patch must not change."""


def check_patch(patch: Mapping[str, Any], *, uploader: bool) -> None:
    """Check a patch; `uploader`: whether the pod has one.

    Raises:
        ValueError: the patch does not leave a pod that trains and uploads; one line that names the field in the patch.
    """
    check_json(patch)
    _check_directives(patch)
    before = sample_template(uploader=uploader)
    after = merge(before, patch)
    _check_kinds(before, after)
    _check_texts(after["metadata"])
    if after["metadata"]["annotations"].get(RUN_ANNOTATION) != _OWN:
        raise wrong(f"metadata.annotations.{RUN_ANNOTATION}", "holds the run's file", "leave it as it is")
    for field, other in _OTHER_FIELD.items():
        if after["spec"].get(field) != before["spec"][field]:
            raise wrong(f"spec.{field}", f"is set by {other}", "change that")
    _check_keyed_lists(after["spec"], "spec")
    for field in _CONTAINERS:
        _check_containers(before["spec"].get(field, []), after["spec"].get(field, []), f"spec.{field}")
    if after["spec"]["containers"][0]["name"] != TRAINER:
        raise wrong("spec.containers", f"the first is not {TRAINER}", "put others after it")


def sample_template(*, uploader: bool) -> dict[str, Any]:
    """A pod template of the same shape as the operator's: the same names and kinds of fields, placeholder values."""
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": "",
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": True, "fsGroup": 0, "fsGroupChangePolicy": "", "seccompProfile": {"type": ""}},
        "containers": [_sample_container(TRAINER, uploader=uploader)],
        "volumes": [{"name": "scratch"}],
        "imagePullSecrets": [],
        "nodeSelector": {},
        "tolerations": [],
        "affinity": {},
        "priorityClassName": "",
        "runtimeClassName": "",
    }
    if uploader:
        own = {"restartPolicy": _OWN, "lifecycle": {"preStop": {"exec": {"command": [_OWN]}}}}
        spec["initContainers"] = [_sample_container(SYNC, uploader=True) | own]
    return {"metadata": {"labels": {}, "annotations": {RUN_ANNOTATION: _OWN}}, "spec": spec}


def _sample_container(name: str, *, uploader: bool) -> dict[str, Any]:
    variables = (*environment.OPERATORS_VARIABLES, *([environment.SIDECAR] if uploader else []))
    return {
        "name": name,
        "image": _OWN,
        "imagePullPolicy": "",
        "command": [_OWN],
        "env": [{"name": each, "value": _OWN} for each in variables],
        "resources": {"requests": {}, "limits": {}},
        "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": []},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "seccompProfile": {"type": ""},
        },
        "terminationMessagePolicy": "",
    }


def _check_directives(patch: Mapping[str, Any]) -> None:
    for place, list_name, found in _maps("", None, patch):
        for name, value in found.items():
            if not name.startswith("$"):
                continue
            if name != DIRECTIVE or value not in DIRECTIVES:
                raise wrong(below(place, name), "is not a directive", f"give {DIRECTIVE}: {' or '.join(DIRECTIVES)}")
            if list_name is not None and list_name not in MERGE_KEYS:
                raise wrong(below(place, name), f"{list_name} is a list that is not merged", "give it whole")


def _maps(place: str, list_name: str | None, found: Any) -> Iterator[tuple[str, str | None, Mapping[str, Any]]]:
    """Every map with its path, and with the name of the list that it is an element of."""
    if isinstance(found, Mapping):
        yield place, list_name, found
        for name, inner in found.items():
            yield from _maps(below(place, name), name if isinstance(inner, list) else None, inner)
    elif isinstance(found, list):
        for number, inner in enumerate(found):
            yield from _maps(below(place, str(number)), list_name, inner)


def _check_kinds(before: Mapping[str, Any], after: Mapping[str, Any], place: str = "") -> None:
    """What the operator sets may be changed, but not to something of another kind."""
    for name, value in before.items():
        here = below(place, name)
        if name not in after:
            if here in _NEEDED:
                raise wrong(here, "would be deleted", "change single entries of it")
            continue
        if type(after[name]) is not type(value):
            raise wrong(here, f"is {kind(after[name])}", f"give {kind(value)}")
        if isinstance(value, Mapping):
            _check_kinds(value, after[name], here)


def _check_keyed_lists(holder: Mapping[str, Any], place: str) -> None:
    """Every list of a pod's or container's that is merged by a key has elements with that key."""
    for name, key in MERGE_KEYS.items():
        here, found = below(place, name), holder.get(name, [])
        if not isinstance(found, list):
            raise wrong(here, f"is {kind(found)}", "give a list")
        for number, item in enumerate(found):
            if not isinstance(item, Mapping):
                raise wrong(below(here, str(number)), f"is {kind(item)}", f"give a map with {key}")
            if type(item.get(key)) is not (int if key == "containerPort" else str) or not item[key]:
                raise wrong(below(here, str(number)), f"has no {key}", "give one")


def _check_texts(metadata: Mapping[str, Any]) -> None:
    for field in ("labels", "annotations"):
        for name, value in metadata[field].items():
            if not isinstance(value, str):
                raise wrong(below(f"metadata.{field}", name), f"is {kind(value)}", "give a text, in quotes")


def _check_containers(before: list[Mapping[str, Any]], after: list[Mapping[str, Any]], place: str) -> None:
    own = {container["name"]: container for container in before}
    names = [container["name"] for container in after]
    for name in own:
        if names.count(name) != 1:
            raise wrong(place, f"{names.count(name)} containers are called {name}", "leave the operator's, under its name")
    for container in after:
        name, here = container["name"], below(place, container["name"])
        if name in own:
            _check_own(own[name], container, here)
        elif name in (TRAINER, SYNC):
            raise wrong(here, "this pod has no such container of the operator's here", "remove it, or choose another name")
        _check_keyed_lists(container, here)


def _check_own(before: Mapping[str, Any], after: Mapping[str, Any], place: str) -> None:
    """A container of the operator's."""
    _check_kinds(before, after, place)
    if not after.get("image"):
        raise wrong(f"{place}.image", "is missing", "give one, or leave the operator's")
    _check_keyed_lists(after, place)
    if _operators(before["env"]) != _operators(after.get("env", [])):
        prefix = environment.OPERATORS_PREFIX
        raise wrong(f"{place}.env", f"names that begin with {prefix} are the operator's", "leave them as they are")
    for field in _OWN_OF_SYNC if before["name"] == SYNC else ():
        if before.get(field) != after.get(field):
            raise wrong(f"{place}.{field}", "is the operator's", "remove it")


def _operators(variables: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [each for each in variables if each["name"].startswith(environment.OPERATORS_PREFIX)]
