"""What follows a submit, also if the run existed already and has ended or is suspended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deepicd.errors import UserError

Raw = Mapping[str, Any]


def is_seen(run: Raw) -> bool:
    """Whether the status is for the current spec, not for one before its last change."""
    seen, generation = (run.get("status") or {}).get("observedGeneration", -1), run["metadata"].get("generation", 0)
    return bool(seen >= generation)


def failed_attempt(run: Raw) -> int | None:
    """Number of the attempt that a failed run ended with, or None."""
    status = run.get("status") or {}
    return status.get("attempt") or 0 if status.get("state") == "Failed" else None


def follow_up(run: Raw, given: Raw, namespace: str) -> str:
    """What follows for a run just applied, by its status, which is still the earlier one; `given`: the file's spec.

    Raises:
        UserError: nothing follows; the message says what makes the run start.
    """
    name, status = run["metadata"]["name"], run.get("status") or {}
    delete = f"delete the run first ('deepicd cancel {name} --delete -n {namespace}')"
    if run["metadata"].get("deletionTimestamp"):
        raise UserError(f"run {name}: is being deleted: submit it again once it is gone")
    if status.get("state") == "Succeeded":
        raise UserError(f"run {name}: has succeeded, so no attempt follows: give it another name, or {delete}")
    if status.get("state") == "Failed" and is_seen(run):
        raise UserError(
            f"run {name}: has failed ({status.get('reason')}), and the file changes nothing: change a field that may change, "
            f"such as stages.grpo.microBatchSizePerGpu or compute.memory, give it another name, or {delete}"
        )
    if run["spec"].get("suspend"):
        if not given.get("suspend"):
            resume = f"'deepicd resume {name} -n {namespace}'"
            raise UserError(f"run {name}: is suspended, and stays suspended: add suspend: false to the file, or give {resume}")
        return f"run {name} applied in namespace {namespace}, suspended: 'deepicd resume {name} -n {namespace}' starts it"
    waits = f"'deepicd wait {name} -n {namespace}' waits for its end"
    if (attempt := failed_attempt(run)) is not None:
        return f"run {name} changed in namespace {namespace}: attempt {attempt + 1} follows: {waits}"
    return f"run {name} applied in namespace {namespace}: {waits}"
