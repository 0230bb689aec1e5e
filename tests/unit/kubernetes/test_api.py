from __future__ import annotations

from typing import Any

from deepicd.kubernetes.api import newest_or_head_last


def pod(name: str, second: int, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "creationTimestamp": f"2026-04-01T12:00:{second:02}Z", "labels": labels}}


def test_the_pod_whose_log_is_shown_is_the_newest() -> None:
    assert max([pod("new", 2), pod("old", 1)], key=newest_or_head_last)["metadata"]["name"] == "new"


def test_the_pod_whose_log_is_shown_is_a_ray_clusters_head() -> None:
    pods = [pod("head", 1, **{"ray.io/node-type": "head"}), pod("worker", 2, **{"ray.io/node-type": "worker"})]
    assert max(pods, key=newest_or_head_last)["metadata"]["name"] == "head"
