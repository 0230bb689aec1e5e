"""Hundreds of specs, valid and broken, that reach a running operator because the CRD allows anything."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from deepicd.errors import UserError
from deepicd.spec.load import parse
from deepicd_operator.crd import crd
from tests.cluster.api import Api, ApiError, Raw, wait_for
from tests.cluster.builders import condition
from tests.cluster.generated_specs import contents
from tests.cluster.operated import quickstart, reason_of, run_of, running_pod, wait_for_state
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.pods import end_pod

FIELD = re.compile(r"\b(spec|metadata)(\.\w+|\[\d+\])*")


@pytest.fixture
def loose_definition(api: Api, run_definition: Raw) -> Iterator[None]:
    """A CRD that allows any spec, even one that is no object, as an older or foreign one might."""
    loose: dict[str, Any] = crd()
    schema = loose["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"] = {"x-kubernetes-preserve-unknown-fields": True}
    schema.pop("x-kubernetes-validations", None)
    api.apply(loose)
    yield
    api.apply(crd())


def placed(content: Raw, name: str, namespace: str, *, at_rest: bool) -> Raw:
    spec = {**content["spec"], "suspend": True} if at_rest else content["spec"]
    return {**content, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def is_valid(content: Raw) -> bool:
    metadata = {name: value for name, value in content["metadata"].items() if name != "namespace"}
    try:
        parse({**content, "metadata": metadata}, "run.yaml")
    except UserError:
        return False
    return True


def verdict(run: Raw) -> tuple[str, str, str] | None:
    found = condition(run, "Accepted")
    return (found["status"], found["reason"], found["message"]) if found else None


@pytest.mark.parametrize(("batches", "size"), [(4, 25), pytest.param(20, 100, marks=pytest.mark.long)])
@pytest.mark.usefixtures("loose_definition")
def test_every_generated_spec_gets_a_verdict_that_names_the_field(
    api: Api, namespace: str, operator: OperatorProcess, batches: int, size: int
) -> None:
    seen = {True: 0, False: 0}

    @given(st.lists(contents(), min_size=size, max_size=size))
    @settings(max_examples=batches, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    def judge(batch: list[Raw]) -> None:
        runs = {
            f"run-{number}": placed(content, f"run-{number}", namespace, at_rest=number % 4 != 0)
            for number, content in enumerate(batch)
        }
        for run in runs.values():
            api.create(run)

        def undecided() -> list[str]:
            return [run["metadata"]["name"] for run in api.list("DeepICDRun", namespace) if verdict(run) is None]

        wait_for(lambda: not undecided(), 120, undecided)
        for run in api.list("DeepICDRun", namespace):
            content, found = runs[run["metadata"]["name"]], verdict(run)
            assert found is not None
            status, reason, message = found
            # A valid spec may still ask for more than the operator allows.
            assert (status == "True" or reason == "NotAllowed") == is_valid(content), (content, found)
            seen[status == "True"] += 1
            if status == "False":
                assert reason in ("InvalidSpec", "UnknownField", "NotAllowed")
                assert FIELD.search(message) or "compute.podTemplatePatch." in message, message
        for name in runs:
            api.delete("DeepICDRun", name, namespace)
        wait_for(lambda: not api.list("DeepICDRun", namespace), 60, "runs are left")

    judge()
    assert min(seen.values()) > batches * size / 20, seen
    assert operator.running
    log = operator.log.read_text()
    assert "Traceback" not in log
    assert '"level": "error"' not in log


@pytest.mark.usefixtures("loose_definition")
def test_a_spec_that_becomes_a_string_mid_run_does_not_affect_the_attempt(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    api.create(quickstart(namespace))
    pod = running_pod(api, namespace)
    wait_for_state(api, namespace, "Running")
    wait_for(lambda: becomes_text(api, namespace), 30, "the API server does not know the looser definition")
    wait_for(lambda: reason_of(api, namespace, "Accepted") == "InvalidSpec", 30, lambda: run_of(api, namespace)["status"])
    end_pod(api, pod)
    wait_for_state(api, namespace, "Succeeded")
    assert '"level": "error"' not in operator.log.read_text()


def becomes_text(api: Api, namespace: str) -> bool:
    try:
        api.patch("DeepICDRun", "quickstart", namespace, {"spec": "x"})
    except ApiError:
        return False
    return True
