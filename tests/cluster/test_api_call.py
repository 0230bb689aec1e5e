from __future__ import annotations

import pytest

from tests.cluster.api_call import read_call


@pytest.mark.parametrize(
    ("method", "target", "permission", "namespace", "name"),
    [
        ("GET", "/api/v1/pods", ("", "pods", "list"), "", ""),
        ("GET", "/api/v1/namespaces/a/pods?watch=true&labelSelector=x", ("", "pods", "watch"), "a", ""),
        ("GET", "/api/v1/namespaces/a/pods?watch=false", ("", "pods", "list"), "a", ""),
        ("GET", "/api/v1/namespaces/a/pods/b", ("", "pods", "get"), "a", "b"),
        ("POST", "/apis/batch/v1/namespaces/a/jobs", ("batch", "jobs", "create"), "a", ""),
        ("PUT", "/apis/x.io/v1/namespaces/a/runs/r/status", ("x.io", "runs/status", "update"), "a", "r"),
        ("PATCH", "/api/v1/nodes/n", ("", "nodes", "patch"), "", "n"),
        ("DELETE", "/apis/batch/v1/namespaces/a/jobs/j", ("batch", "jobs", "delete"), "a", "j"),
        ("DELETE", "/apis/batch/v1/namespaces/a/jobs", ("batch", "jobs", "deletecollection"), "a", ""),
        ("POST", "/api/v1/namespaces", ("", "namespaces", "create"), "", ""),
        ("GET", "/api/v1/namespaces/a", ("", "namespaces", "get"), "", "a"),
        ("PUT", "/api/v1/namespaces/a/finalize", ("", "namespaces/finalize", "update"), "a", "a"),
        ("POST", "/api/v1/namespaces/a/pods/p/eviction", ("", "pods/eviction", "create"), "a", "p"),
    ],
)  # fmt: skip
def test_a_request_is_parsed_into_its_permission(
    method: str, target: str, permission: tuple[str, str, str], namespace: str, name: str
) -> None:
    call = read_call(method, target)
    assert (call.permission, call.namespace, call.name) == (permission, namespace, name)


def test_a_non_resource_request_is_its_method_and_path() -> None:
    call = read_call("GET", "/apis/batch/v1")
    assert (call.verb, call.path, call.resource, call.is_write) == ("GET", "/apis/batch/v1", "", False)
