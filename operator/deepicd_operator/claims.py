"""PersistentVolumeClaims of attempts: deleted once their content is in the store, otherwise kept for a later upload."""

from __future__ import annotations

from deepicd_operator.attempt_result import is_uploaded
from deepicd_operator.reasons import Reason
from deepicd_operator.snapshot import Snapshot
from deepicd_operator.status import Attempt, RunStatus

FETCH = "manifests/upload-the-rest.yaml"
"""A pod that users can create, see docs/artifacts.md."""


def leftovers(snapshot: Snapshot, attempt: Attempt, reason: Reason) -> str:
    """Return where the results are that an ended attempt did not upload, for its message; empty if none are left or known."""
    if is_needed(snapshot, attempt):
        if snapshot.spec_field("storage") is None:
            return f"its results are only on PersistentVolumeClaim {attempt.volume}"
        return f"what was not stored is on PersistentVolumeClaim {attempt.volume}, and {FETCH} uploads it"
    if reason in (Reason.UPLOAD_FAILED, Reason.STORE_UNREACHABLE) and attempt.volume is None:
        return "what was not stored was lost with the pod; with compute.scratch.storageClass the volume would be kept"
    return ""


def without_needless_claims(status: RunStatus, ended: Attempt, *, needed: bool) -> RunStatus:
    """Return the status with only the claim of the newest ended attempt that ran, if that claim holds results not uploaded.

    `needed`: result of `is_needed` for the attempt when its end was found.
    """
    may_have_run = needed or ended.running is not None or ended.reason == Reason.COMPLETED
    for attempt in status.attempts:
        kept = needed if attempt.number == ended.number else not may_have_run
        if attempt.volume is not None and not kept:
            status = status.with_attempt(attempt, volume=None)
    return status


def is_needed(snapshot: Snapshot, attempt: Attempt) -> bool:
    """Whether the claim of an attempt that is ending may hold the only copy of results."""
    if attempt.volume is None or (attempt.running is None and not _is_unseen(snapshot, attempt)):
        return False
    # Its completion was observed before its Job and pod were deleted.
    stored = attempt.reason == Reason.COMPLETED or is_uploaded(snapshot, attempt.number)
    return snapshot.spec_field("storage") is None or not stored


def _is_unseen(snapshot: Snapshot, attempt: Attempt) -> bool:
    """Whether the attempt may have run unobserved: its pod is gone, and it was not stopped before it ran."""
    job = snapshot.job(attempt.number)
    made = job is not None or attempt.pod is not None or snapshot.complete
    refused = job is not None and job.invalid
    return attempt.reason is None and made and not refused and snapshot.pod(attempt.number) is None
