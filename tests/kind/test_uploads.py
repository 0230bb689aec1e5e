"""Real uploaders that fail: the run does not succeed, and its claim keeps what is not in the store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.kind.conftest import VERSION
from tests.kind.kind_cluster import ROOT, KindCluster, wait_for
from tests.kind.runs import COMPUTE, RESEARCH, STARTED, STORE_KEYS, TINY, Run, applied, small_run

pytestmark = pytest.mark.timeout(900)

GRACE = 25
"""Time limit for the pods, in seconds."""
KEPT = "kept"
"""StorageClass of their volumes."""
NO_MEMORY, NO_STORE = "upload-no-memory", "upload-no-store"


def sft_run(kind: KindCluster, name: str, steps: int, **compute: Any) -> dict[str, Any]:
    """A run with SFT only, whose scratch volume is a claim."""
    scratch = {"size": "2Gi", "storageClass": KEPT}
    limits = {"cpu": 0.3, "cpuLimit": 1, "memory": "4Gi", "sharedMemory": "512Mi"}
    content = small_run(name, kind.endpoint, compute={**COMPUTE, **limits, "scratch": scratch, **compute})
    spec = content["spec"]
    spec["model"]["tiny"] = TINY
    del spec["stages"]["grpo"]
    spec["stages"]["sft"] |= {"epochs": 500, "maxSteps": steps, "saveEverySteps": 10}
    spec["recovery"] |= {"gracePeriod": f"{GRACE}s", "maxAttempts": 1}
    return content


@pytest.fixture(scope="module")
def ended(kind: KindCluster) -> Iterator[dict[str, Run]]:
    """Two ended runs: one uploader never had enough memory, the other's store went down for good."""
    kind.offer_volumes(KEPT, 2)
    contents = (
        sft_run(kind, NO_MEMORY, 10, uploader={"memory": "24Mi", "memoryLimit": "24Mi"}),
        sft_run(kind, NO_STORE, 80),
    )
    with applied(kind, *contents) as runs:
        runs[NO_STORE].wait_for_verified("sft", 10)
        wait_for(lambda: runs[NO_MEMORY].steps(1, "sft"), STARTED, "the one without memory does not train")
        with kind.store_away():
            for run in runs.values():
                run.wait_for_end(1)
        yield runs


@pytest.mark.parametrize(
    ("name", "reason", "code", "says"),
    [
        (NO_MEMORY, "UploadFailed", 137, "exit code 137"),
        (NO_STORE, "StoreUnreachable", 75, "not stored"),
    ],
)
def test_the_run_fails_with_the_reason_and_names_the_claim_with_the_results(
    ended: dict[str, Run], name: str, reason: str, code: int, says: str
) -> None:
    run = ended[name]
    (attempt,) = run.attempts()
    assert (run.status()["state"], attempt["reason"], attempt["exitCode"]) == ("Failed", reason, code)
    assert says in attempt["message"]
    assert f"PersistentVolumeClaim {name}-a1, and manifests/upload-the-rest.yaml uploads it" in attempt["message"]


@pytest.mark.parametrize("name", [NO_MEMORY, NO_STORE])
def test_what_was_kept_can_be_uploaded_later(kind: KindCluster, ended: dict[str, Run], name: str) -> None:
    uid = kind.get("deepicdrun", name, RESEARCH)["metadata"]["uid"]
    text = (ROOT / "manifests" / "upload-the-rest.yaml").read_text()
    for word, value in {"RUN-": f"{name}-", "-NUMBER": "-1", "aNUMBER": "a1", '"NUMBER"': '"1"', ": UID": f": {uid}"}.items():
        text = text.replace(word, value)
    pod = yaml.safe_load(text)
    assert pod["spec"]["containers"][0]["image"] == f"deepicd/trainer:{VERSION}"
    pod["metadata"]["namespace"] = RESEARCH
    kind.apply(pod)
    uploaded = f"upload-{name}-1"
    try:
        kind.kubectl("wait", "pod", uploaded, "-n", RESEARCH, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=180s")
    finally:
        logs = kind.run("kubectl", "logs", uploaded, "-n", RESEARCH).stdout
        kind.kubectl("delete", "pod", uploaded, "-n", RESEARCH, "--wait=false")
    address = f"s3://models/deepicd/{name}/{uid}"
    listed = kind.deepicd("artifacts", "ls", address, "--endpoint-url", kind.endpoint, "--json", environment=STORE_KEYS)
    assert listed.returncode == 0, listed.stderr + logs
    assert any("models/sft" in json.dumps(each) for each in json.loads(listed.stdout)), listed.stdout
    verified = kind.deepicd("artifacts", "verify", address, "--endpoint-url", kind.endpoint, environment=STORE_KEYS)
    assert verified.returncode == 0, verified.stdout + verified.stderr
