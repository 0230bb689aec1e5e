"""Claims of attempts: deleted once all that is on them is in the store, else kept for whoever fetches the rest."""

from __future__ import annotations

from deepicd_operator.observed import Observed
from deepicd_operator.outcome import is_uploaded
from deepicd_operator.plan import Deletion
from deepicd_operator.reasons import Reason
from deepicd_operator.status import Attempt
from deepicd_operator.turn import Turn

FETCH = "manifests/upload-the-rest.yaml"
"""A pod for users to create, see docs/artifacts.md."""


def what_is_left(observed: Observed, attempt: Attempt, reason: Reason) -> str:
    """Where what an ended attempt did not upload is, for its message; empty where nothing is left, or nobody knows."""
    if _is_needed(observed, attempt):
        return f"what was not stored is on PersistentVolumeClaim {attempt.volume}, and {FETCH} uploads it"
    if reason in (Reason.UPLOAD_FAILED, Reason.STORE_UNREACHABLE) and attempt.volume is None:
        return "what was not stored went with the pod; a volume of compute.scratch.storageClass would be kept"
    return ""


def release(turn: Turn, ended: Attempt) -> None:
    """Delete the claims that nobody needs: of ended attempts only the newest keeps what was not uploaded."""
    for attempt in turn.status.attempts:
        if attempt.volume is not None and not (attempt.number == ended.number and _is_needed(turn.observed, attempt)):
            turn.delete(Deletion("PersistentVolumeClaim", attempt.volume, owner=turn.observed.uid))
            turn.update(attempt, volume=None)


def _is_needed(observed: Observed, attempt: Attempt) -> bool:
    """Whether the attempt's claim may hold what is nowhere else."""
    if attempt.volume is None or attempt.running is None:
        return False
    return observed.wished("storage") is None or not is_uploaded(observed, attempt.number)
