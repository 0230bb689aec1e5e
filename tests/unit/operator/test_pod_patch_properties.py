"""Any patch of the pod template is refused by the spec in one line, or leaves a pod that trains and uploads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepicd.errors import UserError
from deepicd.spec.load import dump, parse
from deepicd.spec.pod_shape import sample_template
from deepicd.spec.resource_names import RUN_ANNOTATION, SYNC, TRAINER
from deepicd_operator.resources import AttemptRequest, starting_objects
from deepicd_operator.resources.pod import pod_template
from tests.unit.operator.attempts import SEVERAL, request
from tests.unit.operator.builders import NAME, SETTINGS, UID, spec

NAMES = (TRAINER, SYNC, "own", "scratch", "run", "DEEPICD_ATTEMPT", "HOME")
FIELDS = (
    "name", "image", "command", "args", "env", "volumeMounts", "resources", "lifecycle", "restartPolicy", "securityContext",
    "containers", "initContainers", "volumes", "labels", "annotations", "nodeSelector", "tolerations", "value", "mountPath",
    "ports", "containerPort", "terminationGracePeriodSeconds", "deepicd.io/run", RUN_ANNOTATION, "$patch", "$retainKeys", "x",
)  # fmt: skip
words = st.sampled_from((*NAMES, "delete", "replace")) | st.text()
leaves = st.none() | st.booleans() | st.integers(-5, 700) | st.floats() | words
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS) | st.text(), inner, max_size=4)
        | st.fixed_dictionaries({"name": st.sampled_from(NAMES)}, optional=dict.fromkeys(("env", "$patch", "x"), inner))
    ),
    max_leaves=12,
)
# Half of the patches are what a user would write, so that some are accepted.
texts = st.dictionaries(st.sampled_from(FIELDS), st.text() | st.none())
variables = st.lists(st.fixed_dictionaries({"name": st.sampled_from(("A", "HOME"))}, optional={"value": st.text()}), max_size=2)
container_fields: dict[str, st.SearchStrategy[Any]] = {
    "image": st.just("own:1") | values,
    "command": st.lists(st.text(), max_size=2) | values,
    "env": variables | values,
    "resources": st.fixed_dictionaries({"limits": texts}) | values,
    "lifecycle": values,
}
containers = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from((TRAINER, "own"))}, optional={"env": variables, "image": st.just("own:1")})
    | st.fixed_dictionaries(
        {"name": st.sampled_from(NAMES)},
        optional=container_fields | {"$patch": st.sampled_from(("delete", "replace", "merge"))},
    )
    | st.just({"$patch": "replace"}),
    max_size=3,
)
metadata = st.fixed_dictionaries({}, optional={"labels": texts | values, "annotations": texts | values})
usual = st.fixed_dictionaries({}, optional={"containers": containers, "nodeSelector": texts, "hostNetwork": st.booleans()})
unusual = dict.fromkeys(("volumes", "nodeSelector", "tolerations", "securityContext", "x", "$patch"), values)
pods = st.fixed_dictionaries({}, optional=unusual | {"containers": containers | values, "initContainers": containers | values})
patches = st.fixed_dictionaries({}, optional={"metadata": metadata | values, "spec": usual | pods | values})
WHERE: dict[str, dict[str, Any]] = {"store": {}, "no store": {"storage": None}, "several nodes": SEVERAL}


def asked(patch: Any, **changes: Any) -> AttemptRequest | None:
    """The attempt of a run with this patch; None if the spec refuses it."""
    changes["compute__podTemplatePatch"] = patch
    content = {"apiVersion": "deepicd.io/v1alpha1", "kind": "DeepICDRun", "metadata": {"name": NAME}, "spec": spec(**changes)}
    try:
        run = parse(content, "run.yaml")
    except UserError as error:
        refused = str(error)
        if "\n" in refused or "podTemplatePatch" not in refused:
            raise
        return None
    return AttemptRequest(run, "research", UID, 1, SETTINGS)


@pytest.mark.parametrize("where", WHERE)
@given(patch=patches | values)
@settings(max_examples=150)
def test_any_patch_is_refused_in_one_line_or_leaves_trainer_and_uploader_whole(patch: Any, where: str) -> None:
    attempt = asked(patch, **WHERE[where])
    if attempt is None:
        return
    plain = pod_template(request(**WHERE[where]))
    found = pod_template(attempt)
    assert parse_back(found) == dump(attempt.run)
    for name, value in plain["metadata"]["labels"].items():
        assert found["metadata"]["labels"][name] == value
    assert all(isinstance(value, str) for value in found["metadata"]["labels"].values())
    assert found["spec"]["containers"][0]["name"] == TRAINER
    whole(container(plain, "containers", TRAINER), container(found, "containers", TRAINER), ())
    if where == "store":
        fields = ("command", "args", "restartPolicy", "lifecycle")
        whole(container(plain, "initContainers", SYNC), container(found, "initContainers", SYNC), fields)
    objects = [each for group in starting_objects(attempt) for each in group]
    assert {"Job", "RayJob"} & {each["kind"] for each in objects}


def parse_back(template: Mapping[str, Any]) -> str:
    found: str = template["metadata"]["annotations"][RUN_ANNOTATION]
    return found


def container(template: Mapping[str, Any], field: str, name: str) -> Mapping[str, Any]:
    (found,) = (each for each in template["spec"][field] if each["name"] == name)
    return dict(found)


def whole(plain: Mapping[str, Any], found: Mapping[str, Any], fields: tuple[str, ...]) -> None:
    assert isinstance(found["image"], str)
    assert own_variables(plain) == own_variables(found)
    for field in fields:
        assert found.get(field) == plain.get(field)


def own_variables(found: Mapping[str, Any]) -> list[Any]:
    return [each for each in found["env"] if each["name"].startswith("DEEPICD_")]


def shapes(found: Any, place: str = "") -> Iterator[tuple[str, type]]:
    """Every field of a template with its kind; elements of lists by their names."""
    if isinstance(found, Mapping):
        for name, value in found.items():
            yield f"{place}.{name}", type(value)
            yield from shapes(value, f"{place}.{name}")
    elif isinstance(found, list):
        for item in found:
            if isinstance(item, Mapping) and item.get("name") in (TRAINER, SYNC):
                yield from shapes(item, f"{place}[{item['name']}]")


@pytest.mark.parametrize("where", WHERE)
def test_the_sample_has_the_shape_of_the_pod(where: str) -> None:
    compute = {
        "compute__nodeSelector": {"a": "b"}, "compute__priorityClass": "p", "compute__runtimeClass": "r",
        "compute__imagePullSecrets": ["s"], "compute__tolerations": [{"key": "k"}], "compute__affinity": {"nodeAffinity": {}},
        "compute__imagePullPolicy": "Always",
    }  # fmt: skip
    asked_for = request(**{**WHERE[where], **compute})
    sample = dict(shapes(sample_template(uploader=asked_for.spec.has_uploader)))
    made = dict(shapes(pod_template(asked_for)))
    free = (".labels.", ".annotations.", ".nodeSelector.", ".affinity.", ".requests.", ".limits.")
    assert {place for place in set(made) - set(sample) if not any(part in place for part in free)} == set()
    assert {place: kind for place, kind in sample.items() if place in made and made[place] is not kind} == {}
    for field in ("containers", "initContainers"):
        for each in pod_template(asked_for)["spec"].get(field, ()):
            samples = sample_template(uploader=asked_for.spec.has_uploader)["spec"][field]
            (own,) = (found for found in samples if found["name"] == each["name"])
            assert [variable["name"] for variable in own_variables(own)] == [one["name"] for one in own_variables(each)]
