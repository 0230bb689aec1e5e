"""What the run's pods may connect to: DNS, API server, store, judges, teacher, MLflow, and on several nodes each other."""

from __future__ import annotations

from typing import Any

from deepicd.spec.endpoint import endpoint_address
from deepicd.spec.resource_names import RUN_LABEL
from deepicd.spec.storage import address_of
from deepicd_operator.resources.attempt import AttemptRequest

DASHBOARD_PORT = 8265
"""Port of the Ray head's HTTP API, Ray's default."""


def network_policy(request: AttemptRequest) -> dict[str, Any]:
    """Return the NetworkPolicy. Egress is limited by port, not by host name. From outside, only KubeRay may connect."""
    selector = {"matchLabels": {RUN_LABEL: request.name}}
    egress: list[dict[str, Any]] = [
        {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]},
        {"ports": [{"protocol": "TCP", "port": port} for port in sorted(_ports(request))]},
    ]
    ingress: list[dict[str, Any]] = []
    if request.spec.compute.nodes > 1:
        egress.append({"to": [{"podSelector": selector}]})
        ingress.append({"from": [{"podSelector": selector}]})
        # KubeRay submits the command to the head's dashboard and polls it. The dashboard has no authentication, so nothing
        # else may connect. The namespace is part of the rule, since anyone can give a pod the label.
        kuberay = {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": request.settings.kuberay_namespace}},
            "podSelector": {"matchLabels": {"app.kubernetes.io/component": "kuberay-operator"}},
        }
        ingress.append({"from": [kuberay], "ports": [{"protocol": "TCP", "port": DASHBOARD_PORT}]})
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": request.metadata(f"{request.name}-trainer", of_attempt=False),
        "spec": {"podSelector": selector, "policyTypes": ["Ingress", "Egress"], "ingress": ingress, "egress": egress},
    }


def _ports(request: AttemptRequest) -> set[int]:
    # 443 is also for the model hub and AWS.
    ports = {443, *request.settings.api_server_ports}
    storage = request.spec.storage
    if storage is not None and storage.s3 is not None and storage.s3.endpoint is not None:
        ports.add(address_of(storage.s3.endpoint).port)
    judge, distill, tracking = request.spec.reward.judge, request.spec.stages.distill, request.spec.tracking
    endpoints = [
        *(model.endpoint for model in (() if judge is None else judge.models)),
        None if distill is None else distill.teacher.endpoint,
        None if tracking is None or tracking.mlflow is None else tracking.mlflow.uri,
    ]
    ports.update(endpoint_address(endpoint).port for endpoint in endpoints if endpoint is not None)
    return ports
