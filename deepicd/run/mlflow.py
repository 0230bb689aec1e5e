"""A run of an MLflow server, by its REST API. It needs no package of MLflow's, which is larger than the operator's image."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPRedirectHandler, Request, build_opener

from deepicd import atomic
from deepicd.errors import DeepICDError
from deepicd.spec.tracking import PASSWORD, TOKEN, USERNAME, MlflowSpec

TIMEOUT_SECONDS = 10.0
_RUN_TAG = "deepicd.run"
_LONGEST_VALUE = 500
_MOST_PARAMETERS = 100


class TrackerError(DeepICDError):
    """The server did not take something. Its message has nothing that was sent."""

    passing = True
    """Whether it may take it later."""


class RefusedError(TrackerError):
    """The server will not take it later either."""

    passing = False


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a metric."""

    name: str
    value: float
    step: int
    time: float
    """Seconds since 1970."""


class MlflowRun:
    """One run of an experiment. Each call raises TrackerError."""

    def __init__(self, chosen: MlflowSpec, file: Path, environment: Mapping[str, str] = os.environ) -> None:
        """`file`: where its id is kept, so that a later launch continues it."""
        self._chosen, self._file = chosen, file
        self._headers = {"Content-Type": "application/json", **_authorization(environment)}
        self._id = ""
        self._unsent: Mapping[str, str] = {}
        """Parameters of a run that was created, until the server has them."""

    def open(self, name: str, identity: str | None, parameters: Mapping[str, str]) -> None:
        """Continue the run whose id was kept, or that has the identity, else create one.

        Args:
            name: shown for a new run.
            identity: of this run on every machine; None if only its folder tells it from others.
            parameters: of a new run; the first 100 are sent.
        """
        experiment = self._experiment()
        # After a failure, a run that this process has created is not created again.
        self._id = self._id or self._kept(experiment) or (self._find(experiment, identity) if identity else "")
        if self._id:
            self._update("RUNNING")
        else:
            tags = [{"key": "mlflow.runName", "value": name}, {"key": _RUN_TAG, "value": identity or name}]
            body = {"experiment_id": experiment, "run_name": name, "start_time": _milliseconds(time.time()), "tags": tags}
            self._id = str(self._part(self._call("runs/create", body), "run", "info", "run_id"))
            self._unsent = parameters
        self._keep(experiment)
        if self._unsent:
            shown = [{"key": key, "value": text[:_LONGEST_VALUE]} for key, text in self._unsent.items()]
            self._call("runs/log-batch", {"run_id": self._id, "params": shown[:_MOST_PARAMETERS]})
            self._unsent = {}

    def log(self, values: Sequence[Value]) -> None:
        """Add values; at most 1,000."""
        metrics = [
            {"key": one.name, "value": one.value, "timestamp": _milliseconds(one.time), "step": one.step} for one in values
        ]
        self._call("runs/log-batch", {"run_id": self._id, "metrics": metrics})

    def end(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED. `open` continues it."""
        self._update(status)

    def _update(self, status: str) -> None:
        ended = {} if status == "RUNNING" else {"end_time": _milliseconds(time.time())}
        self._call("runs/update", {"run_id": self._id, "status": status, **ended})

    def _experiment(self) -> str:
        name = self._chosen.experiment
        found = self._get("experiments/get-by-name", experiment_name=name)
        if found is None:
            return str(self._part(self._call("experiments/create", {"name": name}), "experiment_id"))
        return str(self._part(found, "experiment", "experiment_id"))

    def _keep(self, experiment: str) -> None:
        place = {"uri": self._chosen.uri, "experiment": experiment, "run": self._id}
        try:
            atomic.write(self._file, json.dumps(place))
        except OSError as error:
            raise TrackerError(f"{self._file}: {error.strerror}: make the run's folder writable") from None

    def _kept(self, experiment: str) -> str:
        """The id in the file, if it can be read and the server still has its run."""
        try:
            kept = json.loads(self._file.read_text())
            run = str(kept["run"])
            same = (kept["uri"], kept["experiment"]) == (self._chosen.uri, experiment)
        except (OSError, ValueError, KeyError, TypeError):
            return ""
        found = self._get("runs/get", run_id=run) if same else None
        # A deleted run is still shown, and takes nothing.
        return run if found is not None and self._part(found, "run", "info", "lifecycle_stage") != "deleted" else ""

    def _find(self, experiment: str, identity: str) -> str:
        chosen = f"tags.`{_RUN_TAG}` = '{identity}'"
        found = self._call("runs/search", {"experiment_ids": [experiment], "filter": chosen, "max_results": 1})
        runs = found.get("runs")
        return str(self._part(found, "runs", 0, "info", "run_id")) if runs else ""

    def _part(self, answer: Any, *path: str | int) -> Any:
        """A part of an answer, by its names and places."""
        try:
            for step in path:
                answer = answer[step]
        except (KeyError, IndexError, TypeError):
            raise self._not_mlflow() from None
        return answer

    def _not_mlflow(self) -> TrackerError:
        place = f"tracking.mlflow.uri: {self._chosen.uri}"
        return TrackerError(f"{place}: does not answer as MLflow does: give the address of an MLflow server")

    def _get(self, what: str, **query: str) -> dict[str, Any] | None:
        """The answer; None if there is no such thing."""
        try:
            return self._answer(Request(f"{self._address(what)}?{urlencode(query)}", headers=self._headers))  # noqa: S310 - http only
        except _MissingError:
            return None

    def _call(self, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        content = json.dumps(body).encode()
        return self._answer(Request(self._address(what), data=content, headers=self._headers, method="POST"))  # noqa: S310 - http only

    def _address(self, what: str) -> str:
        return f"{self._chosen.uri.rstrip('/')}/api/2.0/mlflow/{what}"

    def _answer(self, request: Request) -> dict[str, Any]:
        place = f"tracking.mlflow.uri: {self._chosen.uri}"
        try:
            with _OPENER.open(request, timeout=TIMEOUT_SECONDS) as response:
                answer = json.loads(response.read() or b"{}")
        except HTTPError as error:
            error.close()
            raise _refusal(error.code, place) from None
        except (HTTPException, OSError) as error:
            reason = type(getattr(error, "reason", error)).__name__
            raise TrackerError(f"{place}: does not answer ({reason}): start it, or correct the address") from None
        except ValueError:
            raise self._not_mlflow() from None
        if not isinstance(answer, dict):
            raise self._not_mlflow()
        return answer


class _NoRedirects(HTTPRedirectHandler):
    """Would repeat a request as GET, and hand the credentials to another server."""

    def redirect_request(self, *_: Any) -> None:
        """A redirect is an HTTPError instead."""


_OPENER = build_opener(_NoRedirects)


class _MissingError(RefusedError):
    """Status 404."""


def _refusal(code: int, place: str) -> TrackerError:
    if code in (401, 403):
        return RefusedError(f"{place}: refuses the credentials (status {code}): set {TOKEN}, or {USERNAME} and {PASSWORD}")
    if code == 404:
        return _MissingError(f"{place}: has no such address (status 404): give the address of an MLflow server")
    if 300 <= code < 400:
        return RefusedError(f"{place}: redirects (status {code}), as to a login page: give the server's own https:// address")
    if code in (408, 425, 429) or code >= 500:
        return TrackerError(f"{place}: fails (status {code}): see its log")
    return RefusedError(f"{place}: refuses what was sent (status {code}): see its log")


def _authorization(environment: Mapping[str, str]) -> dict[str, str]:
    if token := environment.get(TOKEN):
        return {"Authorization": f"Bearer {token}"}
    if user := environment.get(USERNAME):
        pair = f"{user}:{environment.get(PASSWORD, '')}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
