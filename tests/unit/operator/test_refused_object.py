from __future__ import annotations

from typing import Any

import pytest

from deepicd.kubernetes.errors import QuotaExceededError, RefusedError, RefusedField, RefusedFieldsError, UnknownKindError
from deepicd_operator.refused_object import in_spec, refused_object

COMPUTE: dict[str, Any] = {
    "affinity": {"nodeAfinity": {}},
    "tolerations": [{"key": "a"}, {"key": "b", "operator": "Equals"}],
    "env": [{"name": "a b", "value": "x"}],
    "podTemplatePatch": {"spec": {"hostAliases": [{"ipp": "1"}], "containers": [{"name": "trainer", "sterr": True}]}},
}
SPEC = {"compute": COMPUTE}
JOB = {"kind": "Job", "metadata": {"name": "a-a1"}}


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("spec.template.spec.affinity.nodeAfinity", "spec.compute.affinity.nodeAfinity"),
        ("spec.template.spec.tolerations[1].operator", "spec.compute.tolerations[1].operator"),
        ("spec.template.spec.containers[0].env[9].name", "spec.compute.env.name"),
        ("spec.template.spec.hostAliases[0].ipp", "spec.compute.podTemplatePatch.spec.hostAliases[0].ipp"),
        ("spec.template.spec.containers[0].sterr", "spec.compute.podTemplatePatch.spec.containers[0].sterr"),
        ("spec.rayClusterSpec.headGroupSpec.template.spec.affinity.nodeAfinity", "spec.compute.affinity.nodeAfinity"),
        ("spec.template.spec.containers[0].command", None),
        ("spec.template.spec.nodeSelector", None),
        ("spec.backoffLimit", None),
    ],
)
def test_a_refused_field_is_traced_to_the_runs_own(path: str, field: str | None) -> None:
    assert in_spec(path, SPEC) == field


def test_a_typo_of_the_run_is_an_invalid_spec() -> None:
    error = RefusedFieldsError((RefusedField("spec.template.spec.affinity.nodeAfinity", "unknown field"),), 400)
    found = refused_object(JOB, error, SPEC)
    assert (found.reason, str(found)) == ("InvalidSpec", "spec.compute.affinity.nodeAfinity: unknown field")


def test_a_refused_field_that_the_operator_set_is_reported_as_apirefused() -> None:
    error = RefusedFieldsError((RefusedField("spec.podReplacementPolicy", "unknown field"),), 400)
    found = refused_object(JOB, error, SPEC)
    assert (found.reason, str(found)) == ("ApiRefused", "Job a-a1: spec.podReplacementPolicy: unknown field")


def test_a_quota_and_a_missing_kuberay_have_their_own_messages() -> None:
    assert refused_object(JOB, QuotaExceededError("exceeded quota: gpus"), SPEC).reason == "QuotaExceeded"
    assert refused_object(JOB, RefusedError("no"), SPEC).reason == "ApiRefused"
    missing = refused_object({"kind": "RayJob", "metadata": {"name": "a-a1"}}, UnknownKindError("HTTP 404"), SPEC)
    assert str(missing) == "RayJob: KubeRay is not installed"
