from __future__ import annotations

from typing import Any

import pytest

from deepicd.errors import UserError
from deepicd.spec.load import parse
from tests.unit.spec.test_load import quickstart

STORE = {"folder": "/results"}


def check(patch: Any, *, storage: Any = STORE, **compute: Any) -> None:
    parse(quickstart(spec__compute={"gpus": 1, "podTemplatePatch": patch, **compute}, spec__storage=storage), "run.yaml")


def refusal(patch: Any, **more: Any) -> str:
    with pytest.raises(UserError) as error:
        check(patch, **more)
    assert "\n" not in str(error.value)
    return str(error.value).partition("podTemplatePatch")[2].lstrip(".")


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


def trainer(**fields: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "trainer", **fields}]}}


def sync(**fields: Any) -> dict[str, Any]:
    return {"spec": {"initContainers": [{"name": "sync", **fields}]}}


@pytest.mark.parametrize(
    "patch",
    [
        {},
        {"metadata": None, "spec": None},
        {"metadata": {"labels": {"team": "icd", "env": "prod", "old": None}, "annotations": {"a": "b"}}},
        {"metadata": {"labels": {"$patch": "replace", "team": "icd"}}},
        {"spec": {"hostNetwork": True, "nodeSelector": None, "securityContext": {"fsGroup": 7, "seccompProfile": None}}},
        {"spec": {"tolerations": [{"key": "gpu", "operator": "Exists"}], "affinity": {"$patch": "delete"}}},
        trainer(image="own:1", resources={"limits": {"cpu": "4"}}, env=[{"name": "A", "value": "b"}], command=["own"]),
        sync(resources={"limits": {"cpu": "4"}}, env=[{"name": "A", "value": "b"}]),
        {"spec": {"containers": [{"name": "logs", "image": "x", "ports": [{"containerPort": 80}]}]}},
        {"spec": {"initContainers": [{"name": "first", "image": "x"}], "volumes": [{"name": "v", "emptyDir": {}}]}},
        {"spec": {"containers": [], "initContainers": []}},
        {"spec": nested(47)},
    ],
)
def test_a_patch_that_leaves_what_the_operator_needs_is_taken(patch: Any) -> None:
    check(patch)


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ({"metadata": {"labels": None}}, "metadata.labels: would be deleted"),
        ({"metadata": {"labels": "x"}}, "metadata.labels: is a text: give a map"),
        ({"metadata": {"labels": ["x"]}}, "metadata.labels: is a list: give a map"),
        ({"metadata": {"labels": {"a": 1}}}, "metadata.labels.a: is a number: give a text, in quotes"),
        ({"metadata": {"labels": {"a": {"b": "c"}}}}, "metadata.labels.a: is a map"),
        ({"metadata": {"annotations": None}}, "metadata.annotations: would be deleted"),
        ({"metadata": {"annotations": {"a": True}}}, "metadata.annotations.a: is true or false"),
        ({"metadata": {"annotations": {"deepicd.io/run.yaml": "x"}}}, "metadata.annotations.deepicd.io/run.yaml: holds the"),
        ({"metadata": {"$patch": "replace", "labels": {}}}, "metadata.annotations: would be deleted"),
        ({"metadata": {"$patch": "delete"}}, "metadata: would be deleted"),
        ({"spec": {"$patch": "replace"}}, "spec.containers: would be deleted"),
        ({"$patch": "replace", "spec": {}}, ": unknown field '$patch'"),
        ({"spec": {"$retainKeys": ["a"]}}, "spec.$retainKeys: is not a directive"),
        ({"spec": {"$patch": "merged"}}, "spec.$patch: is not a directive"),
        ({"spec": {"tolerations": [{"$patch": "replace"}]}}, "tolerations is a list that is not merged"),
        ({"spec": {"containers": None}}, "spec.containers: would be deleted"),
        ({"spec": {"containers": {"name": "trainer"}}}, "spec.containers: is a map: give a list"),
        ({"spec": {"containers": "x"}}, "spec.containers: is a text: give a list"),
        ({"spec": {"containers": ["x"]}}, "spec.containers.0: is a text: give a map with name"),
        ({"spec": {"containers": [{"image": "x"}]}}, "spec.containers.0: has no name"),
        ({"spec": {"containers": [{"name": 5}]}}, "spec.containers.1: has no name"),
        ({"spec": {"containers": [{"name": "trainer", "$patch": "delete"}]}}, "spec.containers: 0 containers are called"),
        ({"spec": {"containers": [{"$patch": "replace"}, {"name": "own"}]}}, "spec.containers: 0 containers are called"),
        ({"spec": {"containers": [{"$patch": "replace"}, {"name": "trainer"}]}}, "spec.containers.trainer.image: is missing"),
        (trainer(image=None), "spec.containers.trainer.image: is missing"),
        (trainer(image=5), "spec.containers.trainer.image: is a number: give a text"),
        (trainer(env={"A": "b"}), "spec.containers.trainer.env: is a map: give a list"),
        (trainer(env=None), "spec.containers.trainer.env: names that begin with DEEPICD_ are the operator's"),
        (trainer(env=[{"name": "DEEPICD_ATTEMPT", "value": "7"}]), "spec.containers.trainer.env: names that begin"),
        (trainer(env=[{"value": "7"}]), "spec.containers.trainer.env.0: has no name"),
        (trainer(resources=[]), "spec.containers.trainer.resources: is a list: give a map"),
        (trainer(securityContext={"capabilities": {"drop": {}}}), "securityContext.capabilities.drop: is a map: give a list"),
        ({"spec": {"volumes": {"name": "v"}}}, "spec.volumes: is a map: give a list"),
        ({"spec": {"volumes": [None]}}, "spec.volumes.0: is null: give a map with name"),
        ({"spec": {"hostAliases": [{"ip": 1}]}}, "spec.hostAliases.0: has no ip"),
        ({"spec": {"nodeSelector": "x"}}, "spec.nodeSelector: is a text: give a map"),
        ({"spec": {"terminationGracePeriodSeconds": 5}}, "terminationGracePeriodSeconds: is set by recovery.gracePeriod"),
        ({"spec": {"initContainers": None}}, "spec.initContainers: would be deleted"),
        ({"spec": {"initContainers": [{"$patch": "replace"}]}}, "spec.initContainers: 0 containers are called sync"),
        ({"spec": {"initContainers": ["x"]}}, "spec.initContainers.0: is a text"),
        (sync(**{"$patch": "delete"}), "spec.initContainers: 0 containers are called sync"),
        (sync(**{"$patch": "replace", "image": "x"}), "spec.initContainers.sync.env: names that begin with DEEPICD_"),
        (sync(command=["sleep"]), "spec.initContainers.sync.command: is the operator's: remove it"),
        (sync(command=None), "spec.initContainers.sync.command: is the operator's: remove it"),
        (sync(args=["x"]), "spec.initContainers.sync.args: is the operator's: remove it"),
        (sync(restartPolicy="Never"), "spec.initContainers.sync.restartPolicy: is the operator's: remove it"),
        (sync(lifecycle={"preStop": None}), "spec.initContainers.sync.lifecycle: is the operator's: remove it"),
        (sync(lifecycle={"postStart": {}}), "spec.initContainers.sync.lifecycle: is the operator's: remove it"),
        ({"spec": {"initContainers": [{"name": "trainer"}]}}, "spec.initContainers.trainer: this pod has no such container"),
        ({"metadata": nested(900)}, "metadata: is nested more than 50 deep: make it flatter"),
        ({"spec": {"a": list(range(20_000))}}, "spec: has more than 10000 values"),
        ({"spec": {"a": float("nan")}}, "spec.a: is not a finite number: give a text, a number"),
        ({"spec": {"a": {1: "x"}}}, "spec.a.1: its name is a number: put it in quotes"),
    ],
)  # fmt: skip
def test_a_patch_that_leaves_no_usable_pod_is_refused_by_its_field(patch: Any, words: str) -> None:
    assert words in refusal(patch)


def test_another_container_cannot_come_before_the_trainer() -> None:
    containers = [{"$patch": "replace"}, {"name": "first", "image": "x"}, {"name": "trainer", "image": "x"}]
    patch = {"spec": {"containers": containers}}
    assert "spec.containers" in refusal(patch)


@pytest.mark.parametrize(
    "more", [{"storage": None}, {"nodes": 2, "scratch": {"storageClass": "shared"}}], ids=["no store", "several nodes"]
)
def test_where_there_is_no_uploader_it_cannot_be_patched(more: dict[str, Any]) -> None:
    assert "spec.initContainers.sync: this pod has no such container" in refusal(sync(resources={}), **more)
    check({"spec": {"initContainers": [{"name": "first", "image": "x"}]}}, **more)


def test_affinity_cannot_be_nested_too_deep() -> None:
    with pytest.raises(UserError, match=r"spec\.compute\.affinity: a: is nested more than 50 deep: make it flatter$"):
        parse(quickstart(spec__compute={"gpus": 1, "affinity": nested(900)}), "run.yaml")
