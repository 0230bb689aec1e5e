"""A page for every reason: its meaning, where it appears, what the operator does, and the remedy."""

from __future__ import annotations

import re
from pathlib import Path

from deepicd_operator.conditions import ConditionType
from deepicd_operator.reasons import Reason, Rule
from docs.pages.markdown import cell, sentence

NOTES = Path(__file__).parents[1] / "reasons.md"

_BEFORE_A_POD = (
    Reason.CREATED, Reason.QUEUED, Reason.UNSCHEDULABLE, Reason.QUOTA_EXCEEDED, Reason.POD_REFUSED, Reason.NAME_TAKEN,
    Reason.API_REFUSED,
)  # fmt: skip
_STARTING = (Reason.STARTING, Reason.IMAGE_PULL_FAILED, Reason.CONFIG_MISSING, Reason.VOLUME_MISSING)
_ENDED = (Rule.RETRY, Rule.RETRY_FREE, Rule.STOP)
CONDITIONS: dict[ConditionType, tuple[Reason, ...]] = {
    ConditionType.ACCEPTED: (Reason.VALID, Reason.INVALID_SPEC, Reason.UNKNOWN_FIELD, Reason.NOT_ALLOWED, Reason.CANNOT_PLAN),
    ConditionType.SCHEDULED: (*_BEFORE_A_POD, Reason.VOLUME_MISSING, Reason.SCHEDULED, Reason.SUSPENDED),
    ConditionType.RUNNING: (
        *_BEFORE_A_POD,
        *_STARTING,
        Reason.RUNNING,
        Reason.UPLOADING,
        Reason.STOPPING,
        Reason.SUSPENDED,
    ),
    ConditionType.CHECKPOINT_DURABLE: (Reason.UPLOADED, Reason.UPLOADER_FAILING, Reason.NO_CHECKPOINT, Reason.NO_STORAGE),
    ConditionType.STEPS_STALLED: (Reason.PREPARING, Reason.STEPPING, Reason.NO_REPORT, Reason.STALLED),
    ConditionType.REWARD_COLLAPSED: (Reason.STABLE, Reason.REWARD_COLLAPSED),
    ConditionType.JUDGE_DIVERGED: (Reason.JUDGE_CONSISTENT, Reason.JUDGE_DIVERGED),
    ConditionType.SUCCEEDED: (Reason.COMPLETED,),
    ConditionType.FAILED: tuple(reason for reason in Reason if reason.rule is Rule.STOP),
    ConditionType.RECONCILING: (Reason.IN_PROGRESS,),
    ConditionType.STALLED: (
        Reason.IN_PROGRESS,
        Reason.INVALID_SPEC,
        Reason.UNKNOWN_FIELD,
        Reason.NOT_ALLOWED,
        Reason.CANNOT_PLAN,
    ),
}
"""The conditions in which `summary` uses a reason. Ended attempts have theirs in `status.attempts`."""
_WHILE_TRAINING = (Reason.NO_REPORT, Reason.UPLOADER_FAILING, Reason.JUDGE_DIVERGED)
"""Problems during which the attempt continues to train."""
ACTS = {
    Rule.CONTINUE: "continues: nothing is wrong.",
    Rule.WAIT: "waits. The attempt continues once the cause is gone.",
    Rule.RETRY: "starts another attempt after a back-off, from the last verified checkpoint. The old one counts towards "
    "`recovery.maxAttempts`.",
    Rule.RETRY_FREE: "starts another attempt, from the last verified checkpoint. The old one does not count towards "
    "`recovery.maxAttempts`.",
    Rule.STOP: "ends the run: its state is `Failed`, until a change of the spec starts the next attempt.",
}


_AT_WORK = (
    Reason.RUNNING, Reason.UPLOADING, Reason.NO_REPORT, Reason.PREPARING, Reason.STEPPING, Reason.STOPPING,
)  # fmt: skip
_LOOK = """\
kubectl describe deepicdrun RUN   # conditions, attempts, events
deepicd status RUN
"""
_LOOK_INSIDE = """\
deepicd logs RUN --attempt N      # with --container sync: the uploader's
deepicd artifacts get RUN --what logs --dir logs   # the training stack's own
"""


def places(reason: Reason) -> list[str]:
    """Return where the status shows a reason."""
    found = [f"condition `{kind}`" for kind, reasons in CONDITIONS.items() if reason in reasons]
    if (reason.rule in _ENDED and reason is not Reason.ATTEMPTS_EXHAUSTED) or reason in (Reason.COMPLETED, Reason.SUSPENDED):
        found.append("`status.attempts`")
    if reason is Reason.BACK_OFF:
        found.append("`status.reason`")
    return [*found, "an event"] if reason.rule is not Rule.CONTINUE else found


def notes() -> dict[str, str]:
    """Return the hand-written notes about reasons, by name. Links are relative to the page of a reason."""
    names = {reason.lower(): reason for reason in Reason}
    _, *parts = re.split(r"^## (\w+)\n", NOTES.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {
        str(Reason(name)): re.sub(
            r"\]\((#?)([^)\s]+)\)",
            lambda link: f"]({names[link[2]]}.md)" if link[1] else f"](../../{link[2]})",
            text.strip(),
        )
        for name, text in zip(parts[::2], parts[1::2], strict=True)
    }


def reason_page(reason: Reason, note: str) -> str:
    """Return the page of one reason."""
    explanation = reason.explanation
    facts = {
        "Appears in": ", ".join(places(reason)),
        "The operator": "lets the attempt continue." if reason in _WHILE_TRAINING else ACTS[reason.rule],
        "Remedy:": sentence(explanation.remedy),
    }
    written = "".join(f"- **{name}** {text}\n" for name, text in facts.items() if text)
    more = f"\n## More\n{note}\n" if note else ""
    commands = _LOOK + (_LOOK_INSIDE if reason.rule in _ENDED or reason in _AT_WORK else "")
    return f"# {reason}\n{sentence(explanation.meaning)}\n\n{written}{more}\n## Look closer\n```sh\n{commands}```\n"


def reasons_index() -> str:
    """Return a table of all reasons, in the order in which a run meets them."""
    rows = "".join(f"| [{reason}]({reason}.md) | {cell(reason.explanation.meaning)} | {reason.rule} |\n" for reason in Reason)
    return (
        "# Reasons\nEach condition, event and ended attempt has one of these words as its reason. Its message has what was "
        f"found and the remedy.\n\n| reason | meaning | the operator does |\n|---|---|---|\n{rows}"
    )
