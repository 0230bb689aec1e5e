"""Claims of attempts: deleted once all that is on them is in the store, else kept for whoever fetches the rest."""

from __future__ import annotations

from deepicd_operator.attempt_result import is_uploaded
from deepicd_operator.reasons import Reason
from deepicd_operator.snapshot import Snapshot
from deepicd_operator.status import Attempt, RunStatus

FETCH = "manifests/upload-the-rest.yaml"
"""A pod for users to create, see docs/artifacts.md."""


def what_is_left(snapshot: Snapshot, attempt: Attempt, reason: Reason) -> str:
    """Where what an ended attempt did not upload is, for its message; empty where nothing is left, or nobody knows."""
    if is_needed(snapshot, attempt):
        if snapshot.spec_field("storage") is None:
            return f"what it has made is on PersistentVolumeClaim {attempt.volume} alone"
        return f"what was not stored is on PersistentVolumeClaim {attempt.volume}, and {FETCH} uploads it"
    if reason in (Reason.UPLOAD_FAILED, Reason.STORE_UNREACHABLE) and attempt.volume is None:
        return "what was not stored went with the pod; a volume of compute.scratch.storageClass would be kept"
    return ""


def without_needless_claims(status: RunStatus, ended: Attempt, *, needed: bool) -> RunStatus:
    """The status where only the newest ended attempt that ran keeps its claim, if that holds what was not uploaded.

    `needed`: what `is_needed` said of the attempt when its end was found.
    """
    may_have_run = needed or ended.running is not None or ended.reason == Reason.COMPLETED
    for attempt in status.attempts:
        kept = needed if attempt.number == ended.number else not may_have_run
        if attempt.volume is not None and not kept:
            status = status.with_attempt(attempt, volume=None)
    return status


def is_needed(snapshot: Snapshot, attempt: Attempt) -> bool:
    """Whether the claim of an attempt that is ending may hold what is nowhere else."""
    if attempt.volume is None or (attempt.running is None and not _is_unseen(snapshot, attempt)):
        return False
    # That it had completed was seen before its Job was deleted, and its pod with it.
    stored = attempt.reason == Reason.COMPLETED or is_uploaded(snapshot, attempt.number)
    return snapshot.spec_field("storage") is None or not stored


def _is_unseen(snapshot: Snapshot, attempt: Attempt) -> bool:
    """Whether the attempt may have run while no operator looked: its pod is gone, and it was not stopped before it ran."""
    job = snapshot.job(attempt.number)
    made = job is not None or attempt.pod is not None or snapshot.complete
    refused = job is not None and job.invalid
    return attempt.reason is None and made and not refused and snapshot.pod(attempt.number) is None
