from __future__ import annotations

import queue
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import urllib3

from tests.cluster.api import Api, ApiError, Raw, UnansweredError, wait_for
from tests.cluster.api_call import Call
from tests.cluster.control_plane import ControlPlane
from tests.cluster.fault_proxy import Fault, FaultProxy


def config_map(namespace: str, name: str = "a", **data: str) -> Raw:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def creates(call: Call) -> bool:
    return call.verb == "create"


@contextmanager
def watching(
    cluster: ControlPlane, proxy: FaultProxy, namespace: str, accept: str = "application/json"
) -> Iterator[queue.Queue[str]]:
    """The events of a watch of the namespace's ConfigMaps with the label `test`, and `broken` once it is broken."""
    heard: queue.Queue[str] = queue.Queue()
    context = ssl.create_default_context(cafile=str(cluster.authority.certificate))
    context.load_cert_chain(*cluster.authority.client("watcher", "system:masters"))
    pool = urllib3.PoolManager(ssl_context=context, timeout=60, retries=False)
    url = f"{proxy.server}/api/v1/namespaces/{namespace}/configmaps?watch=true&labelSelector=test&timeoutSeconds=60"

    def listen() -> None:
        try:
            answer = pool.request("GET", url, headers={"Accept": accept}, preload_content=False)
            for part in answer if "json" in accept else answer.stream():
                heard.put(part.decode("latin-1").rstrip("\n"))
        except UnansweredError:
            heard.put("broken")

    threading.Thread(target=listen, daemon=True).start()
    wait_for(lambda: proxy.watches("configmaps") > 0)
    yield heard
    proxy.cut_watches()


def labelled(namespace: str, name: str) -> Raw:
    content = config_map(namespace, name)
    content["metadata"]["labels"] = {"test": "yes"}
    return content


def test_calls_are_recorded_with_user_verb_and_answer(proxied: Api, proxy: FaultProxy, namespace: str) -> None:
    proxied.create(config_map(namespace))
    proxied.find("ConfigMap", "b", namespace)
    proxied.patch("ConfigMap", "a", namespace, {"data": {"x": "y"}})
    recorded = [(call.user, call.verb, call.resource, call.namespace, call.name, call.status) for call in proxy.calls]
    assert recorded == [
        ("proxied", "create", "configmaps", namespace, "", 201),
        ("proxied", "get", "configmaps", namespace, "b", 404),
        ("proxied", "patch", "configmaps", namespace, "a", 200),
    ]
    assert [call.verb for call in proxy.writes()] == ["create", "patch"]


def test_a_user_has_the_same_rights_through_the_proxy(
    cluster: ControlPlane, api: Api, proxy: FaultProxy, namespace: str
) -> None:
    reader = Api(cluster.kubeconfig_of("reader", "readers", server=proxy.server))
    with pytest.raises(ApiError, match='User "reader" cannot list'):
        reader.list("ConfigMap", namespace)
    metadata = {"name": "readers", "namespace": namespace}
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
    group = "rbac.authorization.k8s.io"
    api.create({"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": rules})
    api.create({
        "apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "readers"},
        "subjects": [{"apiGroup": group, "kind": "Group", "name": "readers"}],
    })  # fmt: skip

    def allowed() -> bool:
        try:
            return bool(reader.list("ConfigMap", namespace))
        except ApiError:
            return False

    wait_for(allowed, 10, "the group's Role has no effect")
    with pytest.raises(ApiError, match='User "reader" cannot create'):
        reader.create(config_map(namespace))
    reader.close()


@pytest.mark.parametrize("status", [409, 429, 500, 503])
def test_calls_are_answered_with_an_error_of_choice(proxied: Api, proxy: FaultProxy, namespace: str, status: int) -> None:
    proxy.fail(Fault(creates, status=status))
    with pytest.raises(ApiError) as refused:
        proxied.create(config_map(namespace))
    assert refused.value.code == status
    assert proxied.find("ConfigMap", "a", namespace) is None
    assert proxied.create(config_map(namespace))


def test_an_error_can_have_retry_after(proxied: Api, proxy: FaultProxy, namespace: str) -> None:
    proxy.fail(Fault(creates, status=429, retry_after=7))
    with pytest.raises(ApiError) as refused:
        proxied.create(config_map(namespace))
    assert refused.value.headers["Retry-After"] == "7"


def test_a_lost_request_changes_nothing(proxied: Api, proxy: FaultProxy, namespace: str) -> None:
    proxy.fail(Fault(creates, lose="request"))
    with pytest.raises(UnansweredError):
        proxied.create(config_map(namespace))
    assert proxied.find("ConfigMap", "a", namespace) is None


def test_a_lost_answer_hides_a_change(proxied: Api, proxy: FaultProxy, namespace: str) -> None:
    proxy.fail(Fault(creates, lose="answer"))
    with pytest.raises(UnansweredError):
        proxied.create(config_map(namespace))
    assert proxied.find("ConfigMap", "a", namespace)


def test_the_nth_call_fails_and_no_other(proxied: Api, proxy: FaultProxy, namespace: str) -> None:
    proxy.fail(Fault(creates, status=500, skip=1, times=2))
    outcomes = []
    for number in range(4):
        try:
            proxied.create(config_map(namespace, f"c{number}"))
            outcomes.append("made")
        except ApiError:
            outcomes.append("failed")
    assert outcomes == ["made", "failed", "failed", "made"]


def test_a_delayed_call_runs_into_the_clients_time_limit(cluster: ControlPlane, proxy: FaultProxy, namespace: str) -> None:
    hasty = Api(cluster.kubeconfig_of("proxied", "system:masters", server=proxy.server), timeout=0.5)
    proxy.fail(Fault(creates, delay=600))
    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        hasty.create(config_map(namespace))
    assert hasty.create(config_map(namespace))
    hasty.close()


def test_something_can_be_done_between_the_change_and_its_answer(
    api: Api, proxied: Api, proxy: FaultProxy, namespace: str
) -> None:
    seen: list[bool] = []

    def look() -> None:
        seen.append(api.find("ConfigMap", "a", namespace) is not None)

    proxy.fail(Fault(creates, then=look))
    proxied.create(config_map(namespace))
    assert seen == [True]


def test_an_open_watch_is_cut(cluster: ControlPlane, api: Api, proxy: FaultProxy, namespace: str) -> None:
    with watching(cluster, proxy, namespace) as heard:
        api.create(labelled(namespace, "first"))
        assert '"first"' in heard.get(timeout=10)
        assert proxy.cut_watches("configmaps") == 1
        assert heard.get(timeout=10) == "broken"
    assert proxy.watches("configmaps") == 0


def test_a_silent_watch_stays_open_and_a_new_one_works(
    cluster: ControlPlane, api: Api, proxy: FaultProxy, namespace: str
) -> None:
    with watching(cluster, proxy, namespace) as silent:
        assert proxy.silence_watches("configmaps") == 1
        with watching(cluster, proxy, namespace) as speaking:
            wait_for(lambda: proxy.watches("configmaps") == 2)
            api.create(labelled(namespace, "first"))
            assert '"first"' in speaking.get(timeout=10)
        assert silent.get(timeout=10) == "broken"


def test_a_watch_in_protobuf_is_forwarded_immediately(
    cluster: ControlPlane, api: Api, proxy: FaultProxy, namespace: str
) -> None:
    with watching(cluster, proxy, namespace, "application/vnd.kubernetes.protobuf;stream=watch") as heard:
        api.create(labelled(namespace, "in-protobuf"))
        assert "in-protobuf" in heard.get(timeout=10)


@pytest.mark.parametrize(("factor", "names"), [(0, ["last"]), (2, ["first", "first", "last"])])
def test_events_of_a_watch_are_dropped_or_doubled(
    cluster: ControlPlane, api: Api, proxy: FaultProxy, namespace: str, factor: int, names: list[str]
) -> None:
    def alter(call: Call, event: dict[str, Any]) -> list[dict[str, Any]]:
        return [event] * (factor if event["object"]["metadata"]["name"] == "first" else 1)

    proxy.alter_watch = alter
    with watching(cluster, proxy, namespace) as heard:
        api.create(labelled(namespace, "first"))
        api.create(labelled(namespace, "last"))
        lines: list[str] = []
        while not any('"last"' in line for line in lines):
            lines.append(heard.get(timeout=10))
    assert [next(name for name in ("first", "last") if f'"{name}"' in line) for line in lines] == names


def test_the_proxy_outlives_an_api_server(cluster: ControlPlane, proxied: Api, namespace: str) -> None:
    with cluster.api_server_down(), pytest.raises(UnansweredError):
        proxied.create(config_map(namespace))
    assert proxied.create(config_map(namespace))
