"""What the operator is started with, beside the cluster's own state."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_IMAGE = "deepicd/trainer:0.1.0"


@dataclass(frozen=True)
class Settings:
    """Choices of whoever installs the operator."""

    image: str = DEFAULT_IMAGE
    """Trainer image of runs that name none."""
    network_policy: bool = True
    """Make a NetworkPolicy for each run."""
    api_server_ports: tuple[int, ...] = (443, 6443)
    """Ports that pods may reach the API server on, by NetworkPolicy."""
