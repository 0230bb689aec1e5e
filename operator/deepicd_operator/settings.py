"""The operator's settings, from its command line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import ip_address
from typing import Literal, Self
from urllib.parse import urlsplit

DEFAULT_IMAGE = "deepicd/trainer:0.2.0"
DEFAULT_PORTS = (443, 6443)
"""Default ports of the API server: the Service's and kubeadm's."""


LogLevel = Literal["debug", "info", "warning", "error"]


class PatchLevel(StrEnum):
    """How much of the pod `compute.podTemplatePatch` may change."""

    NONE = "none"
    """Nothing."""
    METADATA = "metadata"
    """Labels and annotations."""
    SCHEDULING = "scheduling"
    """Also fields that decide where and when the pod runs."""
    ANY = "any"
    """Everything, within the other rules."""


@dataclass(frozen=True)
class Settings:
    """Settings chosen by the administrator who installs the operator."""

    image: str = DEFAULT_IMAGE
    """Trainer image of runs that name none."""
    network_policy: bool = True
    """Create a NetworkPolicy for each run."""
    api_server_ports: tuple[int, ...] = DEFAULT_PORTS
    """Ports that pods may reach the API server on, by NetworkPolicy."""
    kuberay_namespace: str = "kuberay-system"
    """Namespace of KubeRay's operator, which may reach the heads of runs on several nodes."""
    pod_template_patch: PatchLevel = PatchLevel.SCHEDULING
    """How much of the pod `compute.podTemplatePatch` may change."""
    privileged: bool = False
    """Let runs ask for root, privileges and the node's namespaces and folders; the namespace's Pod Security decides."""
    allowed_images: tuple[str, ...] = ()
    """Prefixes of the images that runs may use in addition to `image`; empty: any image."""
    allowed_service_accounts: tuple[str, ...] = ()
    """Existing ServiceAccounts that every run may use."""
    allowed_secrets: tuple[str, ...] = ()
    """Secrets that every run may use."""
    admission_policy: bool = False
    """Whether the API server checks that a run's author has rights to what its fields name (`admission.py`)."""

    def with_port_of(self, server: str) -> Self:
        """Return the settings with the port of `server` added to `api_server_ports`, unless it is a tunnel on loopback."""
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
