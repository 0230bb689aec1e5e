"""Mistakes that the user must fix: the run waits or fails, as documented, and names the field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kind.kind_cluster import KindCluster, wait_for
from tests.kind.runs import COMPUTE, RESEARCH, STORE_KEYS, Run, applied, small_run

# The first test of the session also waits for the cluster: building images may take longer than a test.
pytestmark = pytest.mark.timeout(600, func_only=True)

SECRETS = {
    "other-keys": {"other": "x"},
    "wrong-keys": {**STORE_KEYS, "AWS_SECRET_ACCESS_KEY": "wrong"},
}
LITTLE = {**COMPUTE, "cpu": 0.1, "memory": "2Gi", "sharedMemory": "64Mi"}
"""Small, so that all runs fit at the same time."""


def with_secret(kind: KindCluster, secret: str) -> dict[str, Any]:
    content = small_run(f"with-{secret}", kind.endpoint, compute=LITTLE)
    content["spec"]["storage"]["s3"]["credentials"]["secretName"] = secret
    return content


@pytest.fixture(scope="module")
def bad(kind: KindCluster) -> Iterator[dict[str, Run]]:
    """The runs of this module by name, applied together, because each takes a while to end."""
    for name, content in SECRETS.items():
        metadata = {"name": name, "namespace": RESEARCH}
        kind.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": content})
    too_little = small_run("too-little", kind.endpoint, compute={**LITTLE, "memory": "700Mi"})
    too_little["spec"]["recovery"]["maxAttempts"] = 2
    contents = [
        too_little,
        *(with_secret(kind, secret) for secret in ("wrong-keys", "absent", "other-keys")),
        small_run("no-image", kind.endpoint, compute={**LITTLE, "image": "deepicd/absent:0"}),
    ]
    with applied(kind, *contents) as runs:
        yield runs


@pytest.mark.parametrize(("secret", "missing"), [("absent", "absent"), ("other-keys", "AWS_ACCESS_KEY_ID")])
def test_a_missing_secret_is_named_and_waited_for(kind: KindCluster, bad: dict[str, Run], secret: str, missing: str) -> None:
    run = bad[f"with-{secret}"]
    wait_for(lambda: run.reason() == "VolumeMissing", 120, "the run does not say which volume is missing")
    described = kind.kubectl("describe", "deepicdrun", run.name, "-n", RESEARCH)
    assert "storage.s3.credentials.secretName" in described
    assert missing in described


def test_an_image_that_does_not_exist_is_waited_for(kind: KindCluster, bad: dict[str, Run]) -> None:
    run = bad["no-image"]
    wait_for(lambda: run.reason() == "ImagePullFailed", 240, "the run does not say that its image cannot be pulled")
    described = kind.kubectl("describe", "deepicdrun", run.name, "-n", RESEARCH).splitlines()
    # On the same line: the printed spec also has the image's name.
    assert [line for line in described if "deepicd/absent:0" in line and "compute.image" in line], described


def test_a_secret_key_that_the_store_refuses_ends_the_run(bad: dict[str, Run]) -> None:
    run = bad["with-wrong-keys"]
    wait_for(lambda: run.status().get("state") == "Failed", 240, "the run does not fail")
    assert (run.attempts()[-1]["reason"], run.attempts()[-1]["exitCode"]) == ("BadInput", 64)
    assert "wrong" not in json.dumps(run.status()["attempts"]).replace("wrong-", "")


def test_a_container_out_of_memory_is_reported_and_retried(bad: dict[str, Run]) -> None:
    run = bad["too-little"]
    wait_for(lambda: run.status().get("state") == "Failed", 400, "the run does not fail")
    assert [each["reason"] for each in run.attempts()] == ["OutOfMemory", "OutOfMemory"]
    assert run.reason() == "AttemptsExhausted"
    assert "compute.memory" in run.attempts()[-1]["message"]
