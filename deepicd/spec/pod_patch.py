"""Strategic merge patches of a pod template: the escape hatch of `compute.podTemplatePatch`, and what it must not change.

Maps are merged, `null` deletes, lists are replaced, except the lists that Kubernetes merges by a key.
`$patch: delete` removes a map or a list's element, `$patch: replace` replaces a map or list instead of merging it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "resourceClaims": "name",
    "schedulingGates": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "secrets": "name",
}
"""Lists of a pod template that are merged by a key, and that key."""
DIRECTIVE = "$patch"
DIRECTIVES = ("delete", "replace", "merge")


def merge(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The pod template with a strategic merge patch applied; neither argument is changed."""
    if patch.get(DIRECTIVE) == "delete":
        return {}
    merged = {} if patch.get(DIRECTIVE) == "replace" else dict(base)
    for name, value in patch.items():
        if name == DIRECTIVE:
            continue
        if value is None or _deletes(value):
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            under = merged.get(name)
            merged[name] = merge(under if isinstance(under, Mapping) else {}, value)
        elif isinstance(value, list) and is_keyed(name, value):
            under = merged.get(name)
            merged[name] = _merge_list(under if isinstance(under, list) else [], value, MERGE_KEYS[name])
        else:
            merged[name] = value
    return merged


def is_keyed(name: str, value: Sequence[Any]) -> bool:
    """Whether a list is merged by its elements' keys."""
    key = MERGE_KEYS.get(name)
    return key is not None and all(isinstance(item, Mapping) and (key in item or DIRECTIVE in item) for item in value)


def _deletes(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get(DIRECTIVE) == "delete"


def _merge_list(base: Sequence[Any], patch: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    replaced = any(item.get(DIRECTIVE) == "replace" and key not in item for item in patch)
    merged = [] if replaced else list(base)
    for item in patch:
        if key not in item:
            continue
        place = next((number for number, kept in enumerate(merged) if kept.get(key) == item[key]), None)
        if _deletes(item):
            if place is not None:
                del merged[place]
        elif place is None:
            merged.append(merge({}, item))
        else:
            merged[place] = merge(merged[place], item)
    return merged
