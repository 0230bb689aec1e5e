"""`deepicd artifacts`: list, fetch, verify, link and clean up a run's stored files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepicd.cli.durations import duration
from deepicd.cli.named_runs import named_run, named_runs
from deepicd.cli.program import Program
from deepicd.errors import UserError

if TYPE_CHECKING:
    from deepicd.artifacts.store.base import OnBytes

app = Program(help="List, fetch, verify, prune and link a run's stored files.")

_RUN = "Address of a run (s3://BUCKET/PREFIX/RUN or a folder), or its name with --store, with --spec or on the cluster."
_RESULTS = "results"
Runs = Annotated[list[str] | None, typer.Argument(metavar="RUN", help=_RUN, show_default=False)]
OneRun = Annotated[str | None, typer.Argument(metavar="RUN", help=_RUN, show_default=False)]
StoreUrl = Annotated[
    str | None,
    typer.Option("--store", metavar="STORE", help="s3://BUCKET/PREFIX or a folder that holds runs.", show_default=False),
]
Spec = Annotated[
    Path | None, typer.Option("--spec", metavar="FILE", help="run.yaml with the storage, and the run if no RUN is given.")
]
Endpoint = Annotated[
    str | None, typer.Option("--endpoint-url", metavar="URL", help="Address of the S3 store.", show_default="AWS")
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace", "-n", metavar="NAME", help="Namespace of the run on the cluster.", show_default="the kubeconfig's"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def ls(
    runs: Runs = None,
    store: StoreUrl = None,
    spec: Spec = None,
    endpoint_url: Endpoint = None,
    namespace: Namespace = None,
    as_json: Json = False,
) -> None:
    """List runs with their attempts, checkpoints, models, metrics and reports.

    Example: `deepicd artifacts ls quickstart --store s3://models/deepicd`
    """
    from deepicd.artifacts.listing import survey, to_json
    from deepicd.cli.artifacts_view import print_runs

    found = [(survey(each, name), each.url) for name, each in named_runs(runs, store, spec, endpoint_url, namespace)]
    if as_json:
        typer.echo(json.dumps([to_json(run, url) for run, url in found], indent=2))
    else:
        print_runs(found)


@app.command()
def get(
    folder: Annotated[
        Path, typer.Option("--dir", metavar="FOLDER", help="Folder to write to; created if missing.", show_default=False)
    ],
    run: OneRun = None,
    what: Annotated[
        str, typer.Option(metavar="KIND", help="results (model and evaluation), checkpoint, model, evaluation or logs.")
    ] = "results",
    attempt: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Number of the attempt.", show_default="the newest")
    ] = None,
    stage: Annotated[str | None, typer.Option(metavar="STAGE", help="base, sft or grpo.", show_default="the last")] = None,
    step: Annotated[int | None, typer.Option(min=1, help="Step of the checkpoint.", show_default="the newest")] = None,
    store: StoreUrl = None,
    spec: Spec = None,
    endpoint_url: Endpoint = None,
    namespace: Namespace = None,
) -> None:
    """Fetch the report, metrics and model, or a checkpoint, verified; run again to resume an interrupted download.

    Example: `deepicd artifacts get s3://models/deepicd/quickstart --dir downloads`
    """
    from deepicd.artifacts.fetch import KINDS, Wanted, fetch_cards, fetch_committed, fetch_files

    if what not in (_RESULTS, *KINDS):
        raise UserError(f"--what: is '{what}': give one of {', '.join((_RESULTS, *KINDS))}")
    source = named_run(run, store, spec, endpoint_url, namespace)
    for kind in ("model", "evaluation") if what == _RESULTS else (what,):
        wanted = Wanted(kind, attempt, stage, step if kind == "checkpoint" else None)
        if kind in ("checkpoint", "model"):
            chosen = wanted.choose(source)
            with _progress(f"{chosen.ref}", chosen.size) as on_bytes:
                target = fetch_committed(source, chosen, folder, on_bytes)
            typer.echo(target)
            for path in fetch_cards(source, chosen.stage, target) if kind == "model" else ():
                typer.echo(path)
        else:
            for path in fetch_files(source, wanted, folder):
                typer.echo(path)


@app.command()
def verify(
    runs: Runs = None,
    store: StoreUrl = None,
    spec: Spec = None,
    endpoint_url: Endpoint = None,
    namespace: Namespace = None,
    as_json: Json = False,
) -> None:
    """Read every checkpoint and model back and compare its SHA-256; exit 64 if one is damaged.

    Example: `deepicd artifacts verify s3://models/deepicd/quickstart`
    """
    from deepicd.artifacts.retention import committed
    from deepicd.artifacts.store.base import DamagedError
    from deepicd.artifacts.verify import verify as read_back

    damaged: list[str] = []
    verified: list[dict[str, object]] = []
    for _, each in named_runs(runs, store, spec, endpoint_url, namespace):
        objects = list(each.list())
        if not committed(objects):
            typer.echo(f"{each.url}: holds no checkpoint and no model yet", err=True)
        with _progress("verifying", sum(item.size for item in objects)) as on_bytes:
            for ref in committed(objects):
                try:
                    made = read_back(each, ref, on_bytes)
                except DamagedError as error:
                    damaged.append(f"{each.url}/{error}")
                    found: dict[str, object] = {"damaged": True, "problem": str(error)}
                    line = f"damaged  {each.url}/{ref.folder}: {error}"
                else:
                    found = {"damaged": False, "files": len(made.files)}
                    line = f"whole    {each.url}/{ref.folder}: {len(made.files)} files"
                verified.append({"url": each.url, "folder": ref.folder} | found)
                if not as_json:
                    typer.echo(line)
    if as_json:
        typer.echo(json.dumps(verified, indent=2))
    if damaged:
        raise UserError(f"damaged: {'; '.join(damaged)}: delete those folders; a resume takes the checkpoint before them")


@app.command()
def prune(
    runs: Runs = None,
    keep_last: Annotated[
        int | None, typer.Option(min=1, help="Number of newest checkpoints to keep per stage.", show_default="--spec's, or 3")
    ] = None,
    keep_best: Annotated[
        int | None, typer.Option(min=0, help="Number of additional best checkpoints to keep.", show_default="--spec's, or 1")
    ] = None,
    idle: Annotated[
        str, typer.Option(metavar="TIME", help="Keep unfinished uploads that were active within this time.")
    ] = "1h",
    yes: Annotated[bool, typer.Option("--yes", help="Delete; by default only list.")] = False,
    store: StoreUrl = None,
    spec: Spec = None,
    endpoint_url: Endpoint = None,
    namespace: Namespace = None,
    as_json: Json = False,
) -> None:
    """Delete old checkpoints and the remains of interrupted uploads. Without --yes it only lists them.

    It never deletes a model, or the newest checkpoint of a stage, which a run resumes from.

    Example: `deepicd artifacts prune s3://models/deepicd/quickstart --keep-last 2 --yes`
    """
    from deepicd.artifacts.prune import delete_proposed, propose, to_json
    from deepicd.artifacts.retention import Keep
    from deepicd.cli.artifacts_view import print_proposal
    from deepicd.spec.load import load

    storage = None if spec is None else load(spec).spec.storage
    chosen = Keep(
        keep_last or (Keep.last if storage is None else storage.keep_last),
        keep_best if keep_best is not None else Keep.best if storage is None else storage.keep_best,
    )
    patience = duration("--idle", idle)
    found, shown = False, []
    for _, each in named_runs(runs, store, spec, endpoint_url, namespace):
        proposal = propose(each, chosen, patience)
        if as_json:
            shown.append({"url": each.url, "deleted": yes} | to_json(proposal))
        else:
            print_proposal(each.url, proposal, deleted=yes)
        found = found or not proposal.is_empty
        if yes:
            delete_proposed(each, proposal, patience)
    if as_json:
        typer.echo(json.dumps(shown, indent=2))
    elif found and not yes:
        typer.echo("nothing was deleted: add --yes")


@app.command()
def url(
    run: OneRun = None,
    what: Annotated[str, typer.Option(metavar="KIND", help="evaluation, logs, checkpoint or model.")] = "evaluation",
    attempt: Annotated[int | None, typer.Option(min=1, help="Number of the attempt.", show_default="the newest")] = None,
    stage: Annotated[str | None, typer.Option(metavar="STAGE", help="base, sft or grpo.", show_default="the last")] = None,
    step: Annotated[int | None, typer.Option(min=1, help="Step of the checkpoint.", show_default="the newest")] = None,
    expires: Annotated[str, typer.Option(metavar="TIME", help="How long the links are valid.")] = "1h",
    store: StoreUrl = None,
    spec: Spec = None,
    endpoint_url: Endpoint = None,
    namespace: Namespace = None,
    as_json: Json = False,
) -> None:
    """Print links that open without credentials, one per file: its path, a tab, its address.

    Example: `deepicd artifacts url s3://models/deepicd/quickstart --what evaluation --expires 2h`
    """
    from deepicd.artifacts.fetch import KINDS, Wanted, keys

    if what not in KINDS:
        raise UserError(f"--what: is '{what}': give one of {', '.join(KINDS)}")
    seconds = int(duration("--expires", expires).total_seconds())
    source = named_run(run, store, spec, endpoint_url, namespace)
    links = {key: source.link(key, seconds) for key in keys(source, Wanted(what, attempt, stage, step))}
    if as_json:
        typer.echo(json.dumps(links, indent=2))
        return
    for key, link in links.items():
        typer.echo(f"{key}\t{link}")


@contextmanager
def _progress(title: str, size: int) -> Iterator[OnBytes]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=size)
        yield lambda count: bar.advance(task, count)
