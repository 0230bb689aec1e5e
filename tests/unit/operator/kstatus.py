"""The published rules by which tools with kstatus (Flux, kustomize's and kpt's apply) judge an object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Verdict = Literal["Terminating", "InProgress", "Current", "Failed"]


def kstatus(run: Mapping[str, Any]) -> Verdict:
    """The verdict on a custom resource with `metadata.generation` and `status`; the first rule that applies decides.

    An object of which nothing is known is Current.
    """
    metadata, status = run["metadata"], run.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return "Terminating"
    if status.get("observedGeneration", metadata.get("generation")) != metadata.get("generation"):
        return "InProgress"
    conditions = [(each["type"], each["status"]) for each in status.get("conditions") or ()]
    for kind, holds in conditions:
        if holds == "True" and kind in ("Reconciling", "Stalled"):
            return "InProgress" if kind == "Reconciling" else "Failed"
    return "InProgress" if dict(conditions).get("Ready", "True") != "True" else "Current"
