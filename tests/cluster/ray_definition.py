"""A RayJob CRD with any content, for tests without KubeRay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.api import Api, wait_for
from tests.cluster.builders import is_true


@contextmanager
def rayjobs_known(api: Api) -> Iterator[None]:
    """Install the CRD while the body runs."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}},
    }  # fmt: skip
    names = {"kind": "RayJob", "listKind": "RayJobList", "plural": "rayjobs", "singular": "rayjob"}
    name = "rayjobs.ray.io"
    api.apply({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
        "spec": {"group": "ray.io", "scope": "Namespaced", "names": names, "versions": [version]},
    })  # fmt: skip
    wait_for(lambda: is_true(api.get("CustomResourceDefinition", name), "Established"), 30, "it is not established")
    wait_for(lambda: api.list("RayJob") == [], 30, "RayJobs cannot be listed")
    yield
    api.delete("CustomResourceDefinition", name)
    wait_for(lambda: api.find("CustomResourceDefinition", name) is None, 30, "it is not gone")
