"""What the operator is started with, beside the cluster's own state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import ip_address
from typing import Self
from urllib.parse import urlsplit

DEFAULT_IMAGE = "deepicd/trainer:0.1.0"
DEFAULT_PORTS = (443, 6443)
"""Ports of the API server where nobody says otherwise: the Service's, and kubeadm's."""


class PatchLevel(StrEnum):
    """How much of the pod `compute.podTemplatePatch` may change."""

    NONE = "none"
    """Nothing."""
    METADATA = "metadata"
    """Labels and annotations."""
    SCHEDULING = "scheduling"
    """Also where and when the pod is placed."""
    ANY = "any"
    """Everything, within the other rules."""


@dataclass(frozen=True)
class Settings:
    """Choices of whoever installs the operator."""

    image: str = DEFAULT_IMAGE
    """Trainer image of runs that name none."""
    network_policy: bool = True
    """Make a NetworkPolicy for each run."""
    api_server_ports: tuple[int, ...] = DEFAULT_PORTS
    """Ports that pods may reach the API server on, by NetworkPolicy."""
    kuberay_namespace: str = "kuberay-system"
    """Namespace of KubeRay's operator, which may reach the heads of runs on several nodes."""
    pod_template_patch: PatchLevel = PatchLevel.SCHEDULING
    """How much of the pod `compute.podTemplatePatch` may change."""
    privileged: bool = False
    """Let runs ask for root, privileges and the node's namespaces and folders; the namespace's Pod Security decides."""
    allowed_images: tuple[str, ...] = ()
    """Prefixes of the images that runs may use, beside `image`; any image where there is none."""
    allowed_service_accounts: tuple[str, ...] = ()
    """Existing ServiceAccounts that every run may use."""
    allowed_secrets: tuple[str, ...] = ()
    """Secrets that every run may use."""
    admission_policy: bool = False
    """Whether the API server has checked that whoever wrote the run may use what its fields name (`admission.py`)."""

    def with_port_of(self, server: str) -> Self:
        """Pods may also use the port that the operator reaches the API server on; not that of a tunnel on its own machine."""
        address = urlsplit(server)
        port = address.port or {"https": 443, "http": 80}.get(address.scheme)
        if port is None or port in self.api_server_ports or _is_loopback(address.hostname or ""):
            return self
        return replace(self, api_server_ports=(*self.api_server_ports, port))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
