from __future__ import annotations

import pytest

from deepicd_operator.settings import Settings
from tests.unit.operator.attempts import JUDGE, MLFLOW, SEVERAL, TEACHER, attempt_objects, made, request, trainer
from tests.unit.operator.builders import NAME


def test_pods_may_reach_names_the_api_server_and_the_store() -> None:
    policy = made("NetworkPolicy", storage={"s3": {"bucket": "models", "endpoint": "http://store.svc:8333"}})["spec"]
    assert policy["ingress"] == []
    ports = [port["port"] for rule in policy["egress"] for port in rule["ports"]]
    assert ports == [53, 53, 443, 6443, 8333]
    silent = attempt_objects(request(settings=Settings(network_policy=False)))
    assert "NetworkPolicy" not in [each["kind"] for each in silent]


def test_pods_may_reach_the_judge() -> None:
    policy = made("NetworkPolicy", reward={"weights": {"judge": 0.1}, "judge": JUDGE})["spec"]
    assert [port["port"] for rule in policy["egress"] for port in rule["ports"]] == [53, 53, 443, 6443, 8000]


def test_pods_may_reach_mlflow() -> None:
    policy = made("NetworkPolicy", tracking=MLFLOW)["spec"]
    assert [port["port"] for rule in policy["egress"] for port in rule["ports"]] == [53, 53, 443, 5000, 6443]


def test_a_second_judge_may_be_reached_with_its_key() -> None:
    second = {"endpoint": "http://second.models.svc:8002/v1", "name": "second", "apiKey": {"secret": "second-key"}}
    reward = {"weights": {"judge": 0.1}, "judge": {**JUDGE, "second": second}}
    policy = made("NetworkPolicy", reward=reward)["spec"]
    assert [port["port"] for rule in policy["egress"] for port in rule["ports"]] == [53, 53, 443, 6443, 8000, 8002]
    key = next(each for each in trainer(reward=reward)["env"] if each["name"] == "DEEPICD_SECOND_JUDGE_API_KEY")
    assert key["valueFrom"]["secretKeyRef"] == {"name": "second-key", "key": "apiKey"}


def test_pods_may_reach_the_teacher() -> None:
    policy = made("NetworkPolicy", stages__distill={"teacher": TEACHER})["spec"]
    assert [port["port"] for rule in policy["egress"] for port in rule["ports"]] == [53, 53, 443, 6443, 8001]


def test_only_kuberay_may_reach_the_heads_dashboard() -> None:
    own, kuberay = made("NetworkPolicy", **SEVERAL)["spec"]["ingress"]
    assert own == {"from": [{"podSelector": {"matchLabels": {"deepicd.io/run": NAME}}}]}
    assert kuberay["ports"] == [{"protocol": "TCP", "port": 8265}]
    (peer,) = kuberay["from"]
    assert peer["podSelector"]["matchLabels"] == {"app.kubernetes.io/component": "kuberay-operator"}
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "kuberay-system"}


def test_kuberays_namespace_is_the_one_that_is_given() -> None:
    objects = attempt_objects(request(settings=Settings(kuberay_namespace="ray"), **SEVERAL))
    policy = next(each for each in objects if each["kind"] == "NetworkPolicy")
    selector = policy["spec"]["ingress"][1]["from"][0]["namespaceSelector"]
    assert selector == {"matchLabels": {"kubernetes.io/metadata.name": "ray"}}


@pytest.mark.parametrize(
    ("server", "ports"),
    [
        ("https://10.96.0.1:443", (443, 6443)), ("https://cluster.example:16443", (443, 6443, 16443)),
        ("https://cluster.example", (443, 6443)), ("https://[fd00::1]:8443", (443, 6443, 8443)),
        # A tunnel that ends on the operator's machine.
        ("https://127.0.0.1:38721", (443, 6443)), ("https://[::1]:38721", (443, 6443)), ("https://localhost:1", (443, 6443)),
    ],
)  # fmt: skip
def test_the_port_that_the_operator_itself_uses_is_open_to_pods(server: str, ports: tuple[int, ...]) -> None:
    assert Settings().with_port_of(server).api_server_ports == ports
