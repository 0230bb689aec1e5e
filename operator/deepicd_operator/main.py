"""The `deepicd-operator` command."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, NoReturn

import typer

from deepicd.errors import DeepICDError
from deepicd_operator.settings import DEFAULT_IMAGE, Settings

cli = typer.Typer(
    name="deepicd-operator",
    help="Carries out DeepICDRuns on Kubernetes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@cli.command()
def crd() -> None:
    """Print the CustomResourceDefinition.

    Example: `deepicd-operator crd | kubectl apply --server-side -f -`
    """
    from deepicd_operator.crd import crd_yaml

    sys.stdout.write(crd_yaml())


@cli.command()
def permissions() -> None:
    """Print the RBAC rules that the operator needs, in each namespace it serves and in the cluster.

    Example: `deepicd-operator permissions`
    """
    import yaml

    from deepicd_operator.permissions import CLUSTER, NAMESPACED

    yaml.safe_dump({"namespaced": list(NAMESPACED), "cluster": list(CLUSTER)}, sys.stdout, sort_keys=False)


@cli.command()
def run(
    namespace: Annotated[
        list[str] | None, typer.Option("--namespace", "-n", help="Serve this namespace; again for more.", show_default="all")
    ] = None,
    image: Annotated[str, typer.Option(help="Trainer image of runs that name none.", envvar="DEEPICD_IMAGE")] = DEFAULT_IMAGE,
    network_policy: Annotated[bool, typer.Option(help="Make a NetworkPolicy for each run.")] = True,
    port: Annotated[int, typer.Option(help="Port of /healthz, /readyz and /metrics; 0 serves none.")] = 8080,
    workers: Annotated[int, typer.Option(min=1, help="Runs reconciled at once.")] = 16,
    resync: Annotated[float, typer.Option(min=1, help="Seconds between full lists.")] = 120.0,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve until SIGTERM, with the kubeconfig, or the ServiceAccount in a cluster.

    Example: `deepicd-operator run --namespace research`
    """
    from deepicd_operator import logs
    from deepicd_operator.process import Process

    logs.configure(log_level)
    settings = Settings(image=image, network_policy=network_policy)
    asyncio.run(Process(settings, tuple(namespace or ()), port, workers, resync).run())


def app() -> NoReturn:
    """Run the command line; an error of ours is one line on stderr and its own exit code."""
    try:
        cli()
    except DeepICDError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
    sys.exit(0)
