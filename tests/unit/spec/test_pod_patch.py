from __future__ import annotations

import copy
from typing import Any

import pytest

from deepicd.spec.pod_patch import merge

POD: dict[str, Any] = {
    "metadata": {"labels": {"a": "1"}},
    "spec": {
        "containers": [{"name": "trainer", "image": "old", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}],
        "volumes": [{"name": "scratch", "emptyDir": {}}],
        "tolerations": [{"key": "x", "operator": "Exists"}],
        "nodeSelector": {"gpu": "h100"},
    },
}


@pytest.mark.parametrize(
    ("patch", "path", "expected"),
    [
        ({"metadata": {"labels": {"b": "2"}}}, "metadata.labels", {"a": "1", "b": "2"}),
        ({"metadata": {"labels": {"a": None}}}, "metadata.labels", {}),
        ({"spec": {"hostNetwork": True}}, "spec.hostNetwork", True),
        ({"spec": {"containers": [{"name": "trainer", "image": "new"}]}}, "spec.containers.0.image", "new"),
        (
            {"spec": {"containers": [{"name": "trainer", "env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]}]}},
            "spec.containers.0.env",
            [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}, {"name": "C", "value": "4"}],
        ),
        ({"spec": {"containers": [{"name": "more"}]}}, "spec.containers.1", {"name": "more"}),
        ({"spec": {"volumes": [{"name": "scratch", "$patch": "delete"}]}}, "spec.volumes", []),
        ({"spec": {"volumes": [{"$patch": "replace"}, {"name": "own"}]}}, "spec.volumes", [{"name": "own"}]),
        ({"spec": {"tolerations": [{"key": "y"}]}}, "spec.tolerations", [{"key": "y"}]),
        ({"spec": {"nodeSelector": {"$patch": "replace", "zone": "a"}}}, "spec.nodeSelector", {"zone": "a"}),
    ],
)
def test_a_patch_is_merged_as_kubernetes_would(patch: dict[str, Any], path: str, expected: Any) -> None:
    before = copy.deepcopy(POD)
    place: Any = merge(POD, patch)
    for part in path.split("."):
        place = place[int(part)] if part.isdecimal() else place[part]
    assert place == expected
    assert before == POD


def test_a_list_that_is_no_list_of_named_things_replaces() -> None:
    assert merge({"volumes": [{"name": "a"}]}, {"volumes": ["strange"]}) == {"volumes": ["strange"]}
