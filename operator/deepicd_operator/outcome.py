"""How an attempt ended, judged from what its Job, its pod and its reports leave behind."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from deepicd.spec.progress import Failure, FailureCode, Progress, read_failure
from deepicd_operator.observed import JobView, Observed, PodView
from deepicd_operator.reasons import Reason
from deepicd_operator.resources.job import USER_ERROR
from deepicd_operator.status import Attempt

STORE_ERROR = 75
"""Exit code of an uploader that had to leave something behind."""
GONE_SLACK = timedelta(seconds=10)
"""How much longer than its grace period a pod may take to disappear before its node counts as lost."""
_EXIT_CODE = re.compile(r"exit code (\d+)")
_DISRUPTIONS = {
    "PreemptionByScheduler": Reason.PREEMPTED,
    "DeletionByTaintManager": Reason.NODE_LOST,
    "DeletionByPodGC": Reason.NODE_LOST,
}
"""By the reason of the condition DisruptionTarget; any other is an eviction, unless the pod's own reason says more."""
_BY_KUBELET = {
    "Preempting": Reason.PREEMPTED,
    "NodeLost": Reason.NODE_LOST,
    "NodeShutdown": Reason.NODE_LOST,
    "Shutdown": Reason.NODE_LOST,
    "Terminated": Reason.NODE_LOST,
}
"""By the reason of a pod that its kubelet gave up; any other (Evicted, OutOfcpu, NodeAffinity, …) is an eviction."""
_FAILURES = {
    FailureCode.BAD_INPUT: Reason.BAD_INPUT,
    FailureCode.REWARD_CODE: Reason.REWARD_CODE_FAILED,
    FailureCode.REWARD_COLLAPSE: Reason.REWARD_COLLAPSED,
    FailureCode.NOT_A_NUMBER: Reason.NOT_A_NUMBER,
    FailureCode.STALL: Reason.STALLED,
    FailureCode.STORE: Reason.STORE_UNREACHABLE,
    FailureCode.TERMINATED: Reason.TERMINATED,
    FailureCode.CRASH: Reason.CRASHED,
}
_FINAL = {FailureCode.BAD_INPUT, FailureCode.NOT_A_NUMBER, FailureCode.REWARD_CODE, FailureCode.REWARD_COLLAPSE}


@dataclass(frozen=True)
class Ending:
    """Why an attempt is over."""

    reason: Reason
    found: str = ""
    exit_code: int | None = None


def ending(attempt: Attempt, observed: Observed, now: datetime) -> Ending | None:
    """How the attempt ended, or None while it goes on.

    A Job that is missing was looked for on the API server itself, not only in the cache.
    """
    job, pod = observed.job(attempt.number), observed.pod(attempt.number)
    if job is None:
        # One that has never been there is made.
        return Ending(Reason.JOB_DELETED) if attempt.pod is not None or observed.complete else None
    if job.succeeded and pod is not None and pod.sync.exit_code == STORE_ERROR:
        return Ending(Reason.STORE_UNREACHABLE, "the results could not be uploaded", STORE_ERROR)
    if job.succeeded:
        return Ending(Reason.COMPLETED, exit_code=0)
    if job.failed:
        return _failure(job, pod, observed.progress, attempt.disruption)
    if lost := _on_lost_node(attempt, observed, now):
        return Ending(Reason.NODE_LOST, lost)
    return None


def doomed(attempt: Attempt, observed: Observed) -> Ending | None:
    """Why an attempt that Kubernetes would keep for ever must be stopped, or None."""
    job, pod = observed.job(attempt.number), observed.pod(attempt.number)
    if job is not None and job.suspended and attempt.running is not None:
        return Ending(Reason.PREEMPTED, "Kueue took the attempt's resources back")
    if job is not None and head_is_lost(attempt, observed):
        # One that KubeRay made in its place knows nothing of the command.
        lost = pod if pod is not None and pod.name == attempt.pod else None
        job = replace(job, message=f"the Ray cluster's head {attempt.pod} is gone")
        return _failure(job, lost, observed.progress, attempt.disruption)
    if pod is None:
        return None
    for container in (pod.trainer, pod.sync):
        if container.waiting == "InvalidImageName":
            return Ending(Reason.IMAGE_NAME_INVALID, container.message)
    if pod.sync.exit_code == USER_ERROR:
        reported = read_failure(pod.sync.termination_log)
        return Ending(Reason.BAD_INPUT, reported.message if reported else "the uploader ended with exit code 64", USER_ERROR)
    return None


def head_is_lost(attempt: Attempt, observed: Observed) -> bool:
    """Whether the command's pod is no more while its RayJob goes on.

    KubeRay makes another head and asks it for a command that went with the first; it takes minutes to see that in vain.
    """
    job, pod = observed.job(attempt.number), observed.pod(attempt.number)
    if job is None or job.kind != "RayJob" or job.finished or job.deleting or job.suspended or attempt.running is None:
        return False
    return pod is None or pod.name != attempt.pod or pod.ended


def _failure(job: JobView, pod: PodView | None, progress: Progress | None, seen: str | None) -> Ending:
    exit_code, reported = _exit_code(job, pod), _reported(pod, progress)
    found = reported.message if reported else job.message
    if job.invalid:
        reason = Reason.BAD_INPUT
    elif pod is not None and pod.trainer.ended_as == "OOMKilled":
        reason, found = Reason.OUT_OF_MEMORY, pod.name
    elif reported is not None and reported.code in _FINAL:
        reason = _FAILURES[reported.code]
    elif exit_code == USER_ERROR:
        reason = Reason.BAD_INPUT
    elif disruption := _disruption(job, pod, seen):
        reason, found = disruption, (pod.message if pod else "") or job.message
    elif reported is not None and reported.code != FailureCode.TERMINATED:
        reason = _FAILURES[reported.code]
    elif exit_code in (None, 137, 143) and (pod is None or pod.deleting):
        reason, found = Reason.POD_DELETED, pod.name if pod else job.message
    else:
        reason = Reason.TERMINATED if exit_code == 143 else Reason.CRASHED
    return Ending(reason, found, exit_code)


def _reported(pod: PodView | None, progress: Progress | None) -> Failure | None:
    # The termination log is the container's last word; the ConfigMap may miss it where the network is gone.
    written = read_failure(pod.trainer.termination_log) if pod is not None and pod.trainer.termination_log else None
    return written or (progress.failure if progress is not None else None)


def _exit_code(job: JobView, pod: PodView | None) -> int | None:
    # The container of a Ray cluster's head is Ray's: KubeRay knows how the command in it ended.
    if pod is not None and pod.trainer.exit_code is not None and not pod.head:
        return pod.trainer.exit_code
    match = _EXIT_CODE.search(job.message)
    return int(match[1]) if match else None


def _disruption(job: JobView, pod: PodView | None, seen: str | None) -> Reason | None:
    why = (pod.disruption if pod is not None else "") or seen or ""
    given_up = pod.reason if pod is not None and pod.phase == "Failed" else ""
    if why or given_up:
        return _DISRUPTIONS.get(why) or _BY_KUBELET.get(given_up, Reason.EVICTED)
    return Reason.EVICTED if "DisruptionTarget" in job.message else None


def _on_lost_node(attempt: Attempt, observed: Observed, now: datetime) -> str:
    """Name of the node that a pod of the attempt is lost with; empty where none is.

    A dead kubelet never reports a pod's end, so neither the pod nor its Job would ever finish.
    """
    for pod in observed.pods:
        if pod.attempt != attempt.number or not pod.deleting or pod.ended or not pod.node:
            continue
        overdue = pod.gone_by is not None and now > pod.gone_by + GONE_SLACK
        if pod.node in observed.lost_nodes or (overdue and pod.disruption == "DeletionByTaintManager"):
            return pod.node
    return ""
