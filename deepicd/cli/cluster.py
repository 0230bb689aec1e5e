"""`deepicd submit`, `status`, `logs`, `wait`, `cancel`, `resume`: runs on a Kubernetes cluster."""

from __future__ import annotations

import json
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepicd.cli.durations import duration
from deepicd.cli.spec import SpecFile
from deepicd.errors import DeepICDError, ExitCode, UserError
from deepicd.spec.resource_names import SYNC, TRAINER

if TYPE_CHECKING:
    from rich.console import RenderableType

    from deepicd.kubernetes.api import Api

Name = Annotated[str, typer.Argument(metavar="RUN", help="Name of the run.", show_default=False)]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", metavar="NAME", help="Namespace of the run.", show_default="the kubeconfig's")
]

POLL_SECONDS = 2.0
ENDED = ("Succeeded", "Failed")


class RunFailedError(DeepICDError):
    """The run that was waited for has failed; the exit code is its last attempt's."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class NotYetError(DeepICDError):
    """The run had not ended by `--timeout`."""

    exit_code = ExitCode.TRY_LATER


def submit(
    file: SpecFile,
    namespace: Namespace = None,
    wait_for_end: Annotated[bool, typer.Option("--wait", help="Wait until it ends, as `deepicd wait` does.")] = False,
) -> None:
    """Check run.yaml and apply it to the cluster: a new run, or a change of one that exists.

    A failed run that is changed starts its next attempt.

    Example: `deepicd submit manifests/samples/deepicd-r1-7b.yaml --namespace research`
    """
    from deepicd.cli.submit import follow_up
    from deepicd.spec.load import parse, read_run

    content = read_run(file)
    run = parse(content, str(file))
    if wait_for_end and run.spec.suspend:
        raise UserError(f"{file}: spec.suspend: is true, and a suspended run does not end: leave it or --wait out")
    api = _api(namespace or run.metadata.namespace)
    applied = api.apply(content)
    typer.echo(follow_up(applied, content["spec"], api.namespace))
    if wait_for_end:
        _wait(api, run.metadata.name, None, applied)


def status(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="Name of a run.", show_default="all runs")] = None,
    namespace: Namespace = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh every two seconds, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the objects as JSON.")] = False,
) -> None:
    """Show the runs of a namespace, active ones first, or one with its attempts, conditions, checkpoint and metrics.

    Example: `deepicd status quickstart --watch`
    """
    from deepicd.cli.cluster_view import one_run, table_of
    from deepicd.cli.cluster_watch import console, follow

    if as_json and watch:
        raise UserError("--json: is given with --watch: leave one of them out")
    api = _api(namespace)

    def look() -> list[dict[str, Any]]:
        return api.runs() if run is None else [api.run(run)]

    def show(runs: list[dict[str, Any]]) -> RenderableType:
        return table_of(runs) if run is None else one_run(runs[0])

    if as_json:
        found = look()
        typer.echo(json.dumps(found if run is None else found[0], indent=2))
    elif watch:
        follow(look, show, POLL_SECONDS)
    else:
        console().print(show(look()))


def logs(
    run: Name,
    namespace: Namespace = None,
    attempt: Annotated[int | None, typer.Option(min=1, help="Number of the attempt.", show_default="the newest")] = None,
    container: Annotated[str, typer.Option(metavar="NAME", help=f"{TRAINER} or {SYNC}, the uploader.")] = TRAINER,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow the log until the container ends.")] = False,
    tail: Annotated[int | None, typer.Option(min=0, help="Only this many of the last lines.", show_default="all")] = None,
) -> None:
    """Print the log of a run's pod. The training stack's own log is in the store: `deepicd artifacts get --what logs`.

    Example: `deepicd logs quickstart --follow`
    """
    if container not in (TRAINER, SYNC):
        raise UserError(f"--container: is '{container}': give {TRAINER} or {SYNC}")
    api = _api(namespace)
    found = api.run(run).get("status") or {}
    number = attempt or int(found.get("attempt") or 0)
    pods = api.pods(run, number) if number else []
    if not pods:
        reason = found.get("reason") or "the operator has not seen it yet"
        raise UserError(f"run {run}: attempt {number} has no pod ({reason}): see 'deepicd status {run}'")
    for line in api.log(pods[-1]["metadata"]["name"], container, follow=follow, tail=tail):
        sys.stdout.write(line if line.endswith("\n") else f"{line}\n")
        sys.stdout.flush()


def wait(
    run: Name,
    namespace: Namespace = None,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="Give up after this time, such as 90m.", show_default="never")
    ] = None,
) -> None:
    """Wait until a run ends; a line for each change.

    Exit code: 0 if it succeeded, its last attempt's if it failed, 75 if it has not ended.

    Example: `deepicd wait quickstart --timeout 2h`
    """
    _wait(_api(namespace), run, None if timeout is None else duration("--timeout", timeout))


def cancel(
    run: Name,
    namespace: Namespace = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete the run; its stored files are kept.")] = False,
) -> None:
    """Stop a run once its checkpoint is durable; `deepicd resume` resumes from there.

    Example: `deepicd cancel quickstart`
    """
    api = _api(namespace)
    if delete:
        api.delete(run)
        typer.echo(f"run {run} is deleted; what is in its store stays")
        return
    _check_not_ended(api.run(run), "cancel")
    api.change(run, {"suspend": True})
    typer.echo(f"run {run} stops once its checkpoint is durable: 'deepicd resume {run}' resumes it")


def resume(run: Name, namespace: Namespace = None) -> None:
    """Resume a cancelled run from its last verified checkpoint.

    Example: `deepicd resume quickstart`
    """
    api = _api(namespace)
    found = api.run(run)
    _check_not_ended(found, "resume")
    if not (found["spec"].get("suspend") or False):
        raise UserError(f"run {run}: is not suspended: see 'deepicd status {run}'")
    api.change(run, {"suspend": False})
    typer.echo(f"run {run} resumes: 'deepicd wait {run}' waits for its end")


def _api(namespace: str | None) -> Api:
    from deepicd.kubernetes.api import Api

    return Api(namespace)


def _check_not_ended(run: dict[str, Any], verb: str) -> None:
    state = (run.get("status") or {}).get("state")
    if state in ENDED:
        name = run["metadata"]["name"]
        remedy = "submit it under another name" + (", or with a change that it may have" if state == "Failed" else "")
        raise UserError(f"run {name}: has {state.lower()}, there is nothing to {verb}: {remedy}")


def _wait(api: Api, name: str, patience: timedelta | None, applied: dict[str, Any] | None = None) -> None:
    """Wait until the run with its current spec ends; `applied`: the run as submitted, to tell it from another of its name."""
    from deepicd.cli.cluster_view import message, news
    from deepicd.cli.submit import failed_attempt, is_seen
    from deepicd.kubernetes.api import ClusterError

    began, printed = time.monotonic(), ""
    uid, failed = (applied["metadata"]["uid"], failed_attempt(applied)) if applied else ("", None)
    while True:
        try:
            run = api.run(name)
        except ClusterError as error:
            # A control plane may be away for minutes during an upgrade; the run continues.
            sys.stderr.write(f"warning: {error}\n")
        else:
            uid = uid or run["metadata"]["uid"]
            if run["metadata"]["uid"] != uid:
                raise UserError(f"run {name}: was deleted, and another one of that name was created")
            status = run.get("status") or {}
            changed = status.get("observedGeneration", -1) >= 0 and not is_seen(run)
            if (line := "changed, not seen by the operator yet" if changed else news(run)) != printed:
                why = message(status) if status.get("state") == "Pending" and not changed else ""
                typer.echo(f"{line}: {why}" if why else line)
                printed = line
            if is_seen(run):
                if failed is not None and failed_attempt(run) == failed:
                    raise UserError(f"run {name}: no attempt follows the change: see 'deepicd status {name}'")
                _leave_if_ended(name, status)
        if patience is not None and time.monotonic() - began > patience.total_seconds():
            raise NotYetError(f"run {name}: has not ended within --timeout: {printed}")
        time.sleep(POLL_SECONDS)


def _leave_if_ended(name: str, status: dict[str, Any]) -> None:
    if status.get("state") == "Succeeded":
        raise typer.Exit(ExitCode.DONE)
    if status.get("state") == "Failed":
        attempts = status.get("attempts") or [{}]
        code = attempts[-1].get("exitCode")
        failed: dict[str, Any] = next((each for each in status.get("conditions") or () if each["type"] == "Failed"), {})
        known = (ExitCode.USER_ERROR, ExitCode.CRASHED, ExitCode.TRY_LATER)
        message = f"run {name}: {status.get('reason')}: {failed.get('message', '')}"
        raise RunFailedError(message, code if code in known else ExitCode.CRASHED)
