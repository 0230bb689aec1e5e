from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from pydantic import ValidationError

from deepicd.errors import UserError
from deepicd.spec.base import RULE
from deepicd.spec.load import dump, parse
from deepicd.spec.run import DeepICDRun
from tests.by_path import changed
from tests.cluster.api import Api, ApiError, Raw, refusal
from tests.cluster.control_plane import ControlPlane
from tests.cluster.generated_specs import contents
from tests.cluster.runs import SAMPLES, sample
from tests.unit.operator.kstatus import kstatus

pytestmark = pytest.mark.usefixtures("run_definition")
STORED = sorted((Path(__file__).parent / "version_0_1_0").glob("*.json"))
"""Runs as the API server kept them when `stages` could not change at all."""


def without_namespace(content: Raw) -> Raw:
    """The namespace is the API server's business."""
    return {**content, "metadata": {"name": content["metadata"]["name"]}}


def validated(content: Raw) -> DeepICDRun:
    """As `deepicd validate` reads it."""
    return parse(without_namespace(content), "run.yaml")


def broken_rules(content: Raw) -> list[str]:
    """Messages of the broken rules; none if something else is wrong too, which the API server reports first."""
    try:
        DeepICDRun.model_validate(without_namespace(content))
    except ValidationError as error:
        found = error.errors()
        if all(each["type"] == RULE for each in found):
            return [message for each in found for message in each["ctx"]["broken"]]
    return []


def written_out(run: DeepICDRun) -> Any:
    return run.model_dump(by_alias=True, mode="json", exclude_none=True)["spec"]


JUDGE = {"model": "/models/judge"}
COLOCATED = {**JUDGE, "placement": "colocated"}


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_is_accepted_with_the_defaults_of_the_models(api: Api, namespace: str, path: Path) -> None:
    content = sample(path.stem, namespace)
    assert api.try_out(content)["spec"] == written_out(validated(content))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spec__stages__grpo__learningRat": 1}, 'unknown field "spec.stages.grpo.learningRat"'),
        ({"spec__recovery__stallAfter": 30}, "spec.recovery.stallAfter in body must be of type string"),
        ({"spec__recovery__stallAfter": "30 min"}, "spec.recovery.stallAfter in body should match"),
        ({"spec__recovery__deadline": "99999d"}, "spec.recovery.deadline in body should match"),
        ({"spec__recovery__rewardCollapse": {"window": 5}}, "spec.recovery.rewardCollapse.drop: Required value"),
        ({"spec__stages__grpo__rollouts": 1}, "spec.stages.grpo.rollouts in body should be greater than or equal to 2"),
        ({"spec__stages__grpo__learningRate": 0}, "spec.stages.grpo.learningRate in body should be greater than 0"),
        ({"spec__stages__grpo__microBatchSizePerGpu": 5}, "spec.stages.grpo: Invalid value: ppoMiniBatchSize × rollouts"),
        ({"spec__stages__grpo__ppoMiniBatchSize": 3}, "trainBatchSize is not a multiple of ppoMiniBatchSize"),
        ({"spec__stages__sft__trainBatchSize": 17}, "trainBatchSize is not a multiple of microBatchSizePerGpu"),
        ({"spec__stages": {"evaluate": None}}, "spec.stages: Invalid value: no stage is given"),
        ({"spec__model": {}}, "spec.model: Invalid value: give exactly one of path, tiny"),
        ({"spec__model__tiny__heads": 5}, "spec.model.tiny: Invalid value: heads: does not divide hiddenSize"),
        ({"spec__model__dtype": "int8"}, 'spec.model.dtype: Unsupported value: "int8"'),
        ({"spec__model__prompt": {}}, "spec.model.prompt: Invalid value: give exactly one of preset, file, user"),
        ({"spec__model__prompt": {"file": "prompt.yaml"}}, "file: is read only beside a run.yaml: give its texts"),
        ({"spec__model__prompt": {"preset": "deepicd", "system": "x"}}, "system: goes with user"),
        ({"spec__model__prompt": {"user": "<think> <diagnosis>"}}, "user: must have {note} once"),
        ({"spec__model__prompt": {"user": "<think> <diagnosis> {note} {note}"}}, "user: must have {note} once"),
        ({"spec__model__prompt": {"user": "<think> {note}", "system": "x"}}, "the texts do not name <diagnosis>"),
        ({"spec__model__prompt": {"user": "<think> <diagnosis> {note}", "system": "{note}"}}, "system: has {note}"),
        ({"spec__data": {}}, "spec.data: Invalid value: give exactly one of mimic, notes, synthetic, prepared"),
        ({"spec__data": {"notes": {"file": "a"}, "prepared": "/b"}}, "give exactly one of mimic, notes, synthetic, prepared"),
        ({"spec__data": {"notes": {"file": "a", "columns": {"x": "y"}}}}, "columns: a name is not a column of notes"),
        ({"spec__data": {"notes": {"file": "a", "files": ["b"]}}}, "give exactly one of file, files"),
        ({"spec__data": {"notes": {"files": []}}}, "spec.data.notes.files in body should have at least 1 items"),
        ({"spec__data": {"notes": {"file": "a", "sections": "all"}}}, 'spec.data.notes.sections: Unsupported value: "all"'),
        ({"spec__data": {"prepared": "/data"}}, "stages.sft needs reasoning traces: give data.traces"),
        ({"spec__data__split": {"train": 0.9}}, "spec.data.split: Invalid value: train + validation + test must be 1"),
        ({"spec__data__traces": "/traces"}, "traces: synthetic data have their own"),
        ({"spec__reward": {"preset": "deepicd-r1", "weights": {"outcome": 1}}}, "the preset 'deepicd-r1' has fixed weights"),
        ({"spec__reward": {"preset": "strict", "weights": {"outcome": 1}}}, "the preset 'strict' has fixed weights"),
        ({"spec__reward": {"weights": {"brief": 1}}}, "weights: a name is neither in terms nor a term of the preset 'deepicd'"),
        ({"spec__reward": {"weights": {"judge": 1}}}, "weights.judge: there is no judge"),
        ({"spec__reward": {"judge": JUDGE}}, "weights.judge: is missing or 0"),
        ({"spec__reward": {"judge": {}, "weights": {"judge": 1}}}, "give exactly one of model, endpoint"),
        ({"spec__reward": {"judge": {"endpoint": "http://a.svc/v1"}, "weights": {"judge": 1}}}, "name: is missing"),
        (
            {"spec__stages__distill": {"teacher": {"endpoint": "https://api.example.org/v1", "name": "x"}}},
            "endpoint: is not on this machine",
        ),
        ({"spec__stages__distill": {"teacher": {"run": "a", "model": "b"}}}, "give exactly one of run, model, endpoint"),
        ({"spec__stages__distill": {"teacher": {"run": "a", "name": "b"}}}, "name: goes with endpoint"),
        (
            {"spec__data": {"prepared": "x", "traces": "t"}, "spec__stages__distill": {"teacher": {"run": "a"}}},
            "data.traces: stages.distill creates the traces itself",
        ),
        ({"spec__reward": {"judge": {**JUDGE, "second": JUDGE}, "weights": {"judge": 1}}}, "second: is the model of the judge"),
        (
            {
                "spec__reward": {"judge": COLOCATED, "weights": {"judge": 1}},
                "spec__stages__grpo__dropGroupsWithoutVariance": True,
            },
            "reward.judge.placement: a colocated judge is asked when all groups of a step are complete",
        ),
        ({"spec__reward": {"judge": {**COLOCATED, "gpus": 7}, "weights": {"judge": 1}}}, "a colocated judge has as many"),
        (
            {"spec__reward": {"judge": JUDGE, "weights": {"judge": 1}}, "spec__stages__grpo__rollouts": 128},
            "reward.judge: judges at most 960 completions per step",
        ),
        ({"spec__reward": {"terms": {"Brief": {"path": "m:f"}}}}, "a key does not match ^[a-z]"),
        ({"spec__reward": {"terms": {"outcome": {"path": "m:f"}}}}, "terms: a name is taken"),
        ({"spec__reward": {"terms": {"brief": {"path": "m.f"}}}}, "spec.reward.terms.brief.path"),
        ({"spec__reward": {"weights": {"outcome": -1}}}, "spec.reward.weights.outcome in body should be greater"),
        (
            {"spec__reward": {"weights": {"outcome": 0, "format": 0, "hierarchy": 0, "reasoning": 0}}},
            "weights: all are 0, so every completion scores the same",
        ),
        ({"spec__storage": {}}, "spec.storage: Invalid value: give exactly one of s3, folder"),
        ({"spec__storage": {"s3": {"bucket": "B"}}}, "spec.storage.s3.bucket in body should match"),
        ({"spec__storage": {"s3": {"bucket": "models", "prefix": "a/../b"}}}, "a part of it cannot be '.' or '..'"),
        ({"spec__storage": {"s3": {"bucket": "models", "credentials": {}}}}, "give exactly one of secretName, secretFolder"),
        ({"spec__storage": {"s3": {"bucket": "models", "encryption": {"type": "s3", "kmsKeyId": "k"}}}}, "goes with type: kms"),
        ({"metadata__name": "a.b"}, "metadata.name: is not a valid name of a run: give lower-case letters, digits and dashes"),
        ({"metadata__name": "a" * 53}, "give lower-case letters, digits and dashes, no dots, at most 52"),
        ({"spec__compute__gpus": 3}, "is not a multiple of stages.sft.microBatchSizePerGpu × compute.gpus"),
        ({"spec__compute__nodes": 2}, "scratch.storageClass: is needed with nodes above 1"),
        ({"spec__compute__gpus": 0}, "spec.compute.gpus in body should be greater than or equal to 1"),
        ({"spec__compute__memory": "1Gi"}, "memory: is less than sharedMemory, which is a part of it"),
        ({"spec__compute__cpu": 2, "spec__compute__cpuLimit": 1}, "cpuLimit: is less than cpu: raise it or lower cpu"),
        ({"spec__compute__uploader": {"cpu": 3, "cpuLimit": 1}}, "spec.compute.uploader: Invalid value: cpuLimit: is less"),
        ({"spec__compute__uploader": {"memory": "2Gi", "memoryLimit": "1Gi"}}, "memoryLimit: is less than memory"),
        ({"spec__compute__env": [{"name": "A"}]}, "spec.compute.env[0]: Invalid value: give exactly one of value, secret"),
        ({"spec__compute__env": [{"name": "DEEPICD_X", "value": "x"}]}, "names that begin with DEEPICD_ are the operator's"),
        ({"spec__compute__tolerations": [{"value": "x"}]}, "operator: must be Exists where key is left out"),
        ({"spec__compute__tolerations": [{"key": "a", "tolerationSeconds": 3}]}, "tolerationSeconds: goes with effect"),
        ({"spec__compute__dataVolumes": [{"path": "/data"}]}, "give exactly one of claim, configMap, secret"),
        ({"spec__compute__dataVolumes": [{"claim": "a", "path": "data"}]}, "spec.compute.dataVolumes[0].path in body should"),
        ({"spec__compute__serviceAccount": {"name": "own", "annotations": {"a": "b"}}}, "ServiceAccount is not changed"),
        ({"spec__compute__podTemplatePatch": {"specs": {}}}, 'unknown field "spec.compute.podTemplatePatch.specs"'),
        ({"spec__compute__nodeSelector": {"a b": "c"}}, "nodeSelector: Invalid value: a key does not match ^([a-z0-9]"),
        ({"spec__compute__queue": "Not A Queue"}, "spec.compute.queue in body should match"),
        ({"spec__compute__gpuResource": "nvidia com"}, "spec.compute.gpuResource in body should match"),
    ],
)  # fmt: skip
def test_what_validate_refuses_is_refused_with_the_field(
    api: Api, namespace: str, changes: dict[str, Any], message: str
) -> None:
    content = changed(sample("quickstart", namespace), changes)
    with pytest.raises(UserError):
        validated(content)
    with pytest.raises(ApiError) as refused:
        api.try_out(content)
    assert message in refusal(refused.value)


# A null for a required value is not generated: `deepicd validate` refuses it, the API server takes the default instead.
@given(contents())
@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_validate_and_the_api_server_agree_on_generated_specs(cluster: ControlPlane, content: Raw) -> None:
    placed = {**content, "metadata": {**content["metadata"], "namespace": "default"}}
    try:
        run = validated(content)
    except UserError:
        with pytest.raises(ApiError) as refused:
            cluster.api.try_out(placed)
        for message in broken_rules(content):
            assert message.partition(" (got ")[0] in refusal(refused.value)
        return
    # `validate` also takes `true` for 1 and a number of bytes for a size: what it makes of them is what must be taken.
    taken = cluster.api.try_out({**placed, "spec": written_out(run)})
    assert validated({**content, "spec": taken["spec"]}) == run


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_run_with_every_default_and_null_written_out_is_accepted(api: Api, namespace: str, path: Path) -> None:
    run = validated(sample(path.stem, namespace))
    content = yaml.safe_load(dump(run))
    content["metadata"]["namespace"] = namespace
    assert api.try_out(content)["spec"]


def started(api: Api, namespace: str) -> Raw:
    """A run whose first attempt has started."""
    made = api.create(sample("quickstart", namespace))
    return api.patch("DeepICDRun", "quickstart", namespace, {"status": {"attempt": 1}}, status=True) | {"spec": made["spec"]}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"seed": 1}, "spec.seed"),
        ({"stages": {"grpo": {"rollouts": 12}}}, "spec.stages.grpo.rollouts"),
        ({"stages": {"grpo": {"maxSteps": None}}}, "spec.stages.grpo.maxSteps"),
        ({"stages": {"sft": None}}, "spec.stages.sft"),
        ({"stages": {"evaluate": {"samples": 3}}}, "spec.stages.evaluate"),
        ({"compute": {"gpus": 2}, "stages": {"sft": {"microBatchSizePerGpu": 8}}}, "spec.compute.gpus"),
        ({"data": {"synthetic": {"seed": 1}}}, "spec.data"),
        ({"model": {"dtype": "bfloat16"}}, "spec.model"),
        ({"reward": {"preset": "deepicd-r1"}}, "spec.reward.preset"),
        ({"storage": {"folder": "/results"}}, "spec.storage"),
    ],
)
def test_what_an_attempt_was_made_from_cannot_change(api: Api, namespace: str, change: Any, field: str) -> None:
    started(api, namespace)
    with pytest.raises(ApiError) as refused:
        api.patch("DeepICDRun", "quickstart", namespace, {"spec": change})
    assert f"{field}: Invalid value: " in refusal(refused.value)
    assert "cannot change once the run has started" in refusal(refused.value)


@pytest.mark.parametrize(
    "change",
    [
        {"suspend": True},
        {"recovery": {"maxAttempts": 9}},
        {"compute": {"memory": "64Gi"}},
        {"stages": {"grpo": {"microBatchSizePerGpu": 8, "offloadOptimizer": True, "maxValidationAdmissions": None}}},
        {"stages": {"sft": {"saveEverySteps": 5}}},
    ],
)
def test_what_only_steers_a_run_may_change(api: Api, namespace: str, change: Any) -> None:
    started(api, namespace)
    assert api.patch("DeepICDRun", "quickstart", namespace, {"spec": change})["metadata"]["generation"] == 2


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_a_run_that_version_0_1_0_stored_stays_as_it_is_and_may_change_what_may(api: Api, namespace: str, path: Path) -> None:
    stored = json.loads(path.read_text())
    stored["metadata"]["namespace"] = namespace
    made = api.create(stored)
    # Defaults of fields that version 0.1.0 did not know.
    expected = json.loads(path.read_text())["spec"]
    expected["model"]["prompt"] = {"preset": "deepicd"}
    evaluate = {"base": True, "models": {}, "baselines": [], "calibration": True, "fairness": True}
    expected["stages"]["evaluate"] |= {**evaluate, "constrained": False, "prematureClosure": False}
    later = {"loss": "grpo", "dropGroupsWithoutVariance": False, "klSchedule": "constant", "reproducible": "auto"}
    expected["stages"]["grpo"] |= later
    expected["recovery"]["idleAfter"] = "150s"
    if "storage" in expected:
        expected["storage"]["rollouts"] = False
    if "synthetic" in expected["data"]:
        expected["data"]["synthetic"]["frequencyExponent"] = 0.8
    assert made["spec"] == expected
    api.patch("DeepICDRun", path.stem, namespace, {"status": {"attempt": 1}}, status=True)
    same = {"spec": {"model": {"prompt": {"preset": "deepicd"}}}}
    assert api.patch("DeepICDRun", path.stem, namespace, same)["metadata"]["generation"] == 1
    change = {"spec": {"stages": {"grpo": {"microBatchSizePerGpu": 8}}}}
    assert api.patch("DeepICDRun", path.stem, namespace, change)["metadata"]["generation"] == 2
    with pytest.raises(ApiError) as refused:
        api.patch("DeepICDRun", path.stem, namespace, {"spec": {"stages": {"grpo": {"rollouts": 16}}}})
    assert "spec.stages.grpo.rollouts: Invalid value: " in refusal(refused.value)


def test_everything_may_change_before_the_first_attempt(api: Api, namespace: str) -> None:
    api.create(sample("quickstart", namespace))
    assert api.patch("DeepICDRun", "quickstart", namespace, {"spec": {"seed": 1}})["spec"]["seed"] == 1


def test_a_status_that_a_user_writes_with_the_spec_is_ignored(api: Api, namespace: str) -> None:
    made = api.create(sample("quickstart", namespace) | {"status": {"state": "Succeeded"}})
    assert (made["status"]["observedGeneration"], made["status"]["state"]) == (-1, "Pending")


def test_a_run_that_the_operator_has_not_seen_is_not_done_by_observedgeneration(api: Api, namespace: str) -> None:
    api.create(sample("quickstart", namespace))
    assert kstatus(api.get("DeepICDRun", "quickstart", namespace)) == "InProgress"


def kubectl(cluster: ControlPlane, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [
        str(cluster.binaries["kubectl"]),
        f"--kubeconfig={cluster.kubeconfig}",
        f"--cache-dir={cluster.folder / 'kubectl'}",
        *arguments,
    ]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=240, check=False)


def put_status(api: Api, namespace: str, name: str, **status: Any) -> None:
    made = sample("quickstart", namespace)
    api.create({**made, "metadata": {**made["metadata"], "name": name}})
    api.patch("DeepICDRun", name, namespace, {"status": status}, status=True)


@pytest.mark.parametrize("name", ["deepicdruns", "deepicdrun", "icd", "deepicd"])
def test_kubectl_shows_the_columns(cluster: ControlPlane, api: Api, namespace: str, name: str) -> None:
    columns = {"step": "120/1406", "reward": "0.41", "kl": "0.012", "eta": "9h"}
    put_status(api, namespace, "quickstart", state="Running", reason="Running", stage="grpo", columns=columns, attempt=1)
    header, line = kubectl(cluster, "get", name, "-n", namespace).stdout.splitlines()
    assert header.split() == ["NAME", "STATE", "STAGE", "STEP", "REWARD", "KL", "F1-CATEGORY", "ATTEMPT", "ETA", "AGE"]
    assert line.split()[:-1] == ["quickstart", "Running", "grpo", "120/1406", "0.41", "0.012", "1", "9h"]


def test_kubectl_shows_the_reason_beside_the_state_where_the_terminal_is_wide(
    cluster: ControlPlane, api: Api, namespace: str
) -> None:
    put_status(api, namespace, "quickstart", state="Pending", reason="Unschedulable", attempt=1)
    header, line = kubectl(cluster, "get", "icd", "-n", namespace, "-o", "wide").stdout.splitlines()
    assert header.split()[:3] == ["NAME", "STATE", "REASON"]
    assert line.split()[:3] == ["quickstart", "Pending", "Unschedulable"]


def test_kubectls_table_fits_105_columns(cluster: ControlPlane, api: Api, namespace: str) -> None:
    columns = {"step": "1406/1406", "reward": "0.41", "kl": "0.012", "f1Category": "0.312", "eta": "59m"}
    status = {"state": "Succeeded", "reason": "Completed", "stage": "evaluate", "columns": columns, "attempt": 12}
    put_status(api, namespace, "deepicd-r1-7b", **status)
    lines = kubectl(cluster, "get", "icd", "-n", namespace).stdout.splitlines()
    assert max(map(len, lines)) <= 105


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_kubectl_applies_every_sample_twice(cluster: ControlPlane, namespace: str, path: Path) -> None:
    for outcome in ("created", "unchanged"):
        done = kubectl(cluster, "apply", "-n", namespace, "-f", str(path))
        assert (done.stdout, done.stderr) == (f"deepicdrun.deepicd.io/{path.stem} {outcome}\n", "")


def test_kubectl_refuses_a_misspelt_field_by_its_name(cluster: ControlPlane, namespace: str) -> None:
    content = sample("quickstart", namespace, stages__grpo__learningRat=1)
    done = kubectl(cluster, "apply", "-f", "-", given=yaml.safe_dump(content))
    assert done.returncode == 1
    assert 'unknown field "spec.stages.grpo.learningRat"' in done.stderr


def test_kubectl_explains_fields(cluster: ControlPlane) -> None:
    shown = kubectl(cluster, "explain", "deepicdrun.spec.recovery.stallAfter").stdout
    assert "End the attempt when a stage makes no step for this long" in shown
