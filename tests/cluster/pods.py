"""A pod's state, set by hand through its status, as its kubelet would report it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.cluster.api import Api, Raw

STARTS, RUNS_FOR, EXIT_CODE, TAKES_TO_STOP = (
    f"simulated/{name}" for name in ("starts", "runs-for", "exit-code", "takes-to-stop")
)
"""Annotations for `stages.yaml`."""


def end_pod(
    api: Api,
    pod: Raw,
    exit_code: int = 0,
    *,
    reason: str = "",
    termination_log: str = "",
    sidecar_exit_code: int = 0,
    sidecar_reason: str = "",
) -> Raw:
    """All containers end: the main ones with `exit_code`, then the sidecars."""
    now = _now()
    reason = reason or ("Completed" if exit_code == 0 else "Error")
    ended = {"exitCode": exit_code, "reason": reason, "message": termination_log}
    sidecar_reason = sidecar_reason or ("Completed" if sidecar_exit_code == 0 else "Error")
    stopped = {"exitCode": sidecar_exit_code, "reason": sidecar_reason}
    status = {
        "phase": "Succeeded" if exit_code == 0 else "Failed",
        "containerStatuses": [_ended(each, ended, now) for each in pod["spec"]["containers"]],
        "initContainerStatuses": [_ended(each, stopped, now) for each in pod["spec"].get("initContainers", ())],
    }
    return _set_status(api, pod, status)


def end_trainer(api: Api, pod: Raw, exit_code: int, sync: dict[str, Any] | None = None) -> Raw:
    """The trainer ends and the other containers keep running; `sync` is the uploader's status if it does not."""
    now = _now()
    ended = {"exitCode": exit_code, "reason": "Completed" if exit_code == 0 else "Error"}
    states = [
        _ended(each, ended, now) if each["name"] == "trainer" else _status(each, {"running": {"startedAt": now}})
        for each in pod["spec"]["containers"]
    ]
    uploaders = [
        {**_status(each, {"running": {"startedAt": now}}), **(sync or {})} for each in pod["spec"].get("initContainers", ())
    ]
    return _set_status(api, pod, {"phase": "Running", "containerStatuses": states, "initContainerStatuses": uploaders})


def keep_waiting(api: Api, pod: Raw, reason: str, message: str = "", container: str | None = None) -> Raw:
    """A container (all of them if none is named) waits, for example for its image.

    The pod needs the annotation `simulated/starts: "no"`.
    """

    def state(each: Raw) -> Raw:
        chosen = container in (None, each["name"])
        waiting = {"reason": reason, "message": message} if chosen else {"reason": "PodInitializing"}
        return _status(each, {"waiting": waiting})

    status = {
        "phase": "Pending",
        "containerStatuses": [state(each) for each in pod["spec"]["containers"]],
        "initContainerStatuses": [state(each) for each in pod["spec"].get("initContainers", ())],
    }
    return _set_status(api, pod, status)


def fail_pod(api: Api, pod: Raw, reason: str, message: str) -> Raw:
    """The kubelet ends the pod, as it does under memory pressure (`Evicted`)."""
    return _set_status(api, pod, {"phase": "Failed", "reason": reason, "message": message})


def _set_status(api: Api, pod: Raw, status: dict[str, Any]) -> Raw:
    return api.patch("Pod", pod["metadata"]["name"], pod["metadata"]["namespace"], {"status": status}, status=True)


def _ended(container: Raw, how: dict[str, Any], now: str) -> dict[str, Any]:
    return _status(container, {"terminated": {**how, "startedAt": now, "finishedAt": now}})


def _status(container: Raw, state: dict[str, Any]) -> Raw:
    named = {"name": container["name"], "image": container["image"], "imageID": ""}
    return {**named, "ready": False, "started": False, "restartCount": 0, "state": state}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
