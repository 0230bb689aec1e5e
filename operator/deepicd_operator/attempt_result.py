"""How an attempt ended, judged from its Job, its pod and its reports."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from deepicd.errors import ExitCode
from deepicd.spec.progress import Failure, FailureCode, Progress, Upload, read_failure
from deepicd_operator.kinds import RAY_JOB
from deepicd_operator.reasons import Reason, Rule
from deepicd_operator.snapshot import JobView, PodView, Snapshot
from deepicd_operator.status import Attempt

_OUT_OF_MEMORY = "OOMKilled"
"""Kubernetes' reason for a container that used more than its memory limit."""
GONE_SLACK = timedelta(seconds=10)
"""How much longer than its grace period a pod may take to disappear before its node counts as lost."""
_EXIT_CODE = re.compile(r"exit code (\d+)")
_DISRUPTIONS = {
    "PreemptionByScheduler": Reason.PREEMPTED,
    "DeletionByTaintManager": Reason.NODE_LOST,
    "DeletionByPodGC": Reason.NODE_LOST,
}
"""By the reason of the condition DisruptionTarget. Any other is an eviction, unless the pod's own reason is more specific."""
_BY_KUBELET = {
    "Preempting": Reason.PREEMPTED,
    "NodeLost": Reason.NODE_LOST,
    "NodeShutdown": Reason.NODE_LOST,
    "Shutdown": Reason.NODE_LOST,
    "Terminated": Reason.NODE_LOST,
}
"""By the reason of a pod that its kubelet rejected or ended. Any other (OutOfcpu, NodeAffinity, …) is an eviction."""
_RAN_SHORT = (
    (re.compile(r"low on resource: memory"), Reason.OUT_OF_MEMORY),
    (re.compile(r"low on resource: (ephemeral-storage|inodes)|local (ephemeral )?storage|EmptyDir"), Reason.OUT_OF_DISK),
)
"""By the message with which a kubelet evicts a pod: what its node or the pod ran out of, and would again."""
_FAILURES = {
    FailureCode.BAD_INPUT: Reason.BAD_INPUT,
    FailureCode.REWARD_CODE: Reason.REWARD_CODE_FAILED,
    FailureCode.REWARD_COLLAPSE: Reason.REWARD_COLLAPSED,
    FailureCode.NOT_A_NUMBER: Reason.NOT_A_NUMBER,
    FailureCode.GPU_OUT_OF_MEMORY: Reason.GPU_OUT_OF_MEMORY,
    FailureCode.OUT_OF_MEMORY: Reason.OUT_OF_MEMORY,
    FailureCode.STALL: Reason.STALLED,
    FailureCode.STORE: Reason.STORE_UNREACHABLE,
    FailureCode.JUDGE: Reason.JUDGE_UNREACHABLE,
    FailureCode.TEACHER: Reason.TEACHER_UNREACHABLE,
    FailureCode.TERMINATED: Reason.TERMINATED,
    FailureCode.CRASH: Reason.CRASHED,
}
_FINAL = {code for code, reason in _FAILURES.items() if reason.rule is Rule.STOP}


@dataclass(frozen=True)
class AttemptResult:
    """Why an attempt is over."""

    reason: Reason
    found: str = ""
    exit_code: int | None = None


def attempt_result(attempt: Attempt, snapshot: Snapshot, now: datetime) -> AttemptResult | None:
    """Return how the attempt ended, or None while it continues.

    If the Job is missing, the caller has looked for it on the API server, not only in the cache.
    """
    job, pod = snapshot.job(attempt.number), snapshot.pod(attempt.number)
    if job is None:
        why = attempt.reason or _why_not_made(attempt, snapshot)
        if attempt.pod is not None or snapshot.complete:
            why = Reason.JOB_DELETED
        # A Job that never existed will be created, unless the attempt is to end.
        return AttemptResult(Reason(why)) if why is not None else None
    if job.succeeded:
        return _completion(attempt, snapshot)
    if job.failed and pod is not None and not pod.head and pod.trainer.exit_code == 0:
        # Another container failed, or the pod was disrupted, after the trainer had succeeded.
        completed = _completion(attempt, snapshot)
        if completed.reason is Reason.COMPLETED or _disruption(job, pod, attempt.disruption) is None:
            return completed
    if job.failed:
        return _failure(job, pod, snapshot.progress, attempt.disruption)
    if lost := _on_lost_node(attempt, snapshot, now):
        return AttemptResult(Reason.NODE_LOST, lost)
    return None


def _why_not_made(attempt: Attempt, snapshot: Snapshot) -> Reason | None:
    """Why the Job of an attempt is not to be made any more, or None: its other objects, and its record, are of one spec."""
    if snapshot.spec_field("suspend") is True:
        return Reason.SUSPENDED
    return Reason.SPEC_CHANGED if attempt.is_outdated(snapshot.generation) else None


def uploads(snapshot: Snapshot, number: int) -> bool:
    """Whether a separate uploader container stores the attempt's results."""
    pod, job = snapshot.pod(number), snapshot.job(number)
    if pod is not None:
        return pod.uploads
    return snapshot.spec_field("storage") is not None and (job is None or job.kind != RAY_JOB)


def is_uploaded(snapshot: Snapshot, number: int) -> bool:
    """Whether all results of the attempt are known to be durable."""
    pod, job = snapshot.pod(number), snapshot.job(number)
    if not uploads(snapshot, number):
        return job is not None and job.succeeded
    if pod is not None and (pod.ended or pod.sync.ended) and pod.sync.exit_code == 0:
        return True
    return _reports_complete(snapshot.upload, pod)


def _reports_complete(upload: Upload | None, pod: PodView | None) -> bool:
    """Whether the uploader's last launch reports that everything is stored. A report of an earlier launch is out of date."""
    began = pod.sync.started if pod is not None else None
    return upload is not None and upload.complete and (began is None or upload.time >= began)


def _completion(attempt: Attempt, snapshot: Snapshot) -> AttemptResult:
    """The result after the trainer exited with 0. Unless the uploader has, too, results were lost with the pod."""
    if not uploads(snapshot, attempt.number) or is_uploaded(snapshot, attempt.number):
        return AttemptResult(Reason.COMPLETED, exit_code=0)
    return _failed_upload(snapshot.pod(attempt.number))


def _failed_upload(pod: PodView | None) -> AttemptResult:
    if pod is None:
        return AttemptResult(Reason.UPLOAD_FAILED, "its pod is gone, and its end was not observed")
    code, reported = pod.sync.exit_code, read_failure(pod.sync.termination_log)
    if code == ExitCode.TRY_LATER:
        found = reported.message if reported else "the results were not all stored"
        return AttemptResult(Reason.STORE_UNREACHABLE, found, code)
    if pod.sync.ended_as == _OUT_OF_MEMORY:
        return AttemptResult(Reason.UPLOAD_FAILED, f"it used more than its memory limit, exit code {code}", code)
    how = "it did not end" if code is None else f"it ended with exit code {code}"
    # containerd may miss that the kernel sent SIGKILL for lack of memory.
    if code == ExitCode.KILLED:
        how = f"it was killed for lack of memory or time, exit code {code}"
    return AttemptResult(Reason.UPLOAD_FAILED, f"{how}: {reported.message}" if reported else how, code)


def doomed(attempt: Attempt, snapshot: Snapshot, grace: timedelta, now: datetime) -> AttemptResult | None:
    """Return why an attempt that Kubernetes would keep forever must be stopped, or None."""
    job, pod = snapshot.job(attempt.number), snapshot.pod(attempt.number)
    if job is not None and job.suspended and attempt.running is not None:
        return AttemptResult(Reason.PREEMPTED, "Kueue took the attempt's resources back")
    if job is not None and head_is_lost(attempt, snapshot):
        # A head that KubeRay created as a replacement does not run the command.
        lost = pod if pod is not None and pod.name == attempt.pod else None
        job = replace(job, message=f"the Ray cluster's head {attempt.pod} is gone")
        return _failure(job, lost, snapshot.progress, attempt.disruption)
    return None if pod is None else _outlived(attempt, snapshot, pod, job, grace, now) or _cannot_work(pod)


def _cannot_work(pod: PodView) -> AttemptResult | None:
    """Return why a container of the pod can never work, or None."""
    for container in (pod.trainer, pod.sync):
        if container.waiting == "InvalidImageName":
            return AttemptResult(Reason.IMAGE_NAME_INVALID, container.message)
    if pod.sync.exit_code == ExitCode.USER_ERROR and not pod.trainer.ended:
        reported = read_failure(pod.sync.termination_log)
        found = reported.message if reported else f"the uploader ended with exit code {pod.sync.exit_code}"
        return AttemptResult(Reason.BAD_INPUT, found, pod.sync.exit_code)
    return None


def _outlived(
    attempt: Attempt, snapshot: Snapshot, pod: PodView, job: JobView | None, grace: timedelta, now: datetime
) -> AttemptResult | None:
    """Return how a trainer ended whose pod is kept alive by injected sidecars (of a service mesh, of Vault).

    The kubelet ends the uploader only after all other containers. If the trainer failed, deleting the Job ends the uploader.
    If it succeeded, the uploader exits once it is done, and is restarted for as long as the pod exists.
    """
    if job is None or job.finished or pod.head or pod.ended or not pod.trainer.ended or not pod.others:
        return None
    if pod.trainer.exit_code != 0:
        return _failure(job, pod, snapshot.progress, attempt.disruption)
    if not pod.uploads or _is_uploaded_since(snapshot.upload, pod):
        return AttemptResult(Reason.COMPLETED, exit_code=0)
    if now < (pod.trainer.ended_at or attempt.start) + grace:
        return None
    # An uploader that exited with 0 and waits for its restart had nothing left to do, even if the trainer ended later.
    done = pod.sync.exit_code == 0 and pod.sync.running_since is None
    return AttemptResult(Reason.COMPLETED, exit_code=0) if done else _failed_upload(pod)


def _is_uploaded_since(upload: Upload | None, pod: PodView) -> bool:
    """Whether the uploader exited with 0 after the trainer ended. An earlier exit may be due to a signal sent only to it."""
    times: list[datetime | None] = [upload.time] if upload is not None and upload.complete else []
    if pod.sync.exit_code == 0:
        times.append(pod.sync.ended_at)
    return any(pod.trainer.ended_at is None or time is None or time >= pod.trainer.ended_at for time in times)


def head_is_lost(attempt: Attempt, snapshot: Snapshot) -> bool:
    """Whether the pod that ran the command is gone while its RayJob continues.

    KubeRay creates another head and asks it about a command that was lost with the first. It takes minutes to give up.
    """
    job, pod = snapshot.job(attempt.number), snapshot.pod(attempt.number)
    if job is None or job.kind != RAY_JOB or job.finished or job.deleting or job.suspended or attempt.running is None:
        return False
    return pod is None or pod.name != attempt.pod or pod.ended


def _failure(job: JobView, pod: PodView | None, progress: Progress | None, seen: str | None) -> AttemptResult:
    exit_code, reported = _exit_code(job, pod), _reported(pod, progress)
    found = reported.message if reported else job.message
    if job.invalid:
        reason = Reason.BAD_INPUT
    elif pod is not None and pod.trainer.ended_as == _OUT_OF_MEMORY:
        reason, found = Reason.OUT_OF_MEMORY, pod.name
    elif reported is not None and reported.code in _FINAL:
        reason = _FAILURES[reported.code]
    elif exit_code == ExitCode.USER_ERROR:
        reason = Reason.BAD_INPUT
    elif disruption := _disruption(job, pod, seen):
        reason, found = disruption, (pod.message if pod else "") or job.message
    elif reported is not None and reported.code != FailureCode.TERMINATED:
        reason = _FAILURES[reported.code]
    elif exit_code in (None, ExitCode.KILLED, ExitCode.TERMINATED) and (pod is None or pod.deleting):
        reason, found = Reason.POD_DELETED, pod.name if pod else job.message
    else:
        reason = Reason.TERMINATED if exit_code == ExitCode.TERMINATED else Reason.CRASHED
    return AttemptResult(reason, found, exit_code)


def _reported(pod: PodView | None, progress: Progress | None) -> Failure | None:
    # The termination log is the container's last report; it may be missing in the ConfigMap if the network failed.
    written = read_failure(pod.trainer.termination_log) if pod is not None and pod.trainer.termination_log else None
    return written or (progress.failure if progress is not None else None)


def _exit_code(job: JobView, pod: PodView | None) -> int | None:
    # The main process of a Ray cluster's head is Ray: the command's exit code is known only to KubeRay.
    if pod is not None and pod.trainer.exit_code is not None and not pod.head:
        return pod.trainer.exit_code
    match = _EXIT_CODE.search(job.message)
    return int(match[1]) if match else None


def _disruption(job: JobView, pod: PodView | None, seen: str | None) -> Reason | None:
    why = (pod.disruption if pod is not None else "") or seen or ""
    given_up = pod.reason if pod is not None and pod.phase == "Failed" else ""
    if why or given_up:
        return _DISRUPTIONS.get(why) or _BY_KUBELET.get(given_up) or _eviction(pod)
    return Reason.EVICTED if "DisruptionTarget" in job.message else None


def _eviction(pod: PodView | None) -> Reason:
    message = pod.message if pod is not None and pod.reason == "Evicted" else ""
    return next((reason for pattern, reason in _RAN_SHORT if pattern.search(message)), Reason.EVICTED)


def _on_lost_node(attempt: Attempt, snapshot: Snapshot, now: datetime) -> str:
    """Return the name of the lost node of one of the attempt's pods; empty if no node is lost.

    A dead kubelet never reports a pod's end, so neither the pod nor its Job would ever finish.
    """
    for pod in snapshot.pods:
        if pod.attempt != attempt.number or not pod.deleting or pod.ended or not pod.node:
            continue
        overdue = pod.gone_by is not None and now > pod.gone_by + GONE_SLACK
        if pod.node in snapshot.lost_nodes or (overdue and pod.disruption == "DeletionByTaintManager"):
            return pod.node
    return ""
