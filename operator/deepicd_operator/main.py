"""The `deepicd-operator` command."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, NoReturn

import typer

from deepicd import extras
from deepicd.cli.program import Program, add_version, call
from deepicd.errors import DeepICDError, ExitCode
from deepicd_operator.settings import DEFAULT_IMAGE, DEFAULT_PORTS, LogLevel, PatchLevel, Settings

cli = Program(name="deepicd-operator", help="Run DeepICDRuns on Kubernetes.", add_completion=False)
add_version(cli, "deepicd-operator")


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
def admission() -> None:
    """Print the spec of the ValidatingAdmissionPolicy that the chart installs.

    Example: `deepicd-operator admission`
    """
    import yaml

    from deepicd_operator.admission import policy_spec

    yaml.safe_dump(policy_spec(), sys.stdout, sort_keys=False, width=1000)


@cli.command()
def run(
    namespace: Annotated[
        list[str] | None,
        typer.Option("--namespace", "-n", metavar="NAME", help="Serve this namespace; can be repeated.", show_default="all"),
    ] = None,
    image: Annotated[
        str, typer.Option(metavar="IMAGE", help="Trainer image of runs that name none.", envvar="DEEPICD_IMAGE")
    ] = DEFAULT_IMAGE,
    network_policy: Annotated[bool, typer.Option(help="Create a NetworkPolicy for each run.")] = True,
    api_server_port: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N",
            help="Port that pods reach the API server on; can be repeated.",
            show_default="443, 6443",
            min=1,
            max=65535,
        ),
    ] = None,
    kuberay_namespace: Annotated[
        str, typer.Option(metavar="NAME", help="Namespace of KubeRay's operator.")
    ] = Settings.kuberay_namespace,
    pod_template_patch: Annotated[
        PatchLevel, typer.Option(help="What compute.podTemplatePatch may change.")
    ] = Settings.pod_template_patch,
    privileged: Annotated[bool, typer.Option(help="Let runs ask for root, privileges and the node's namespaces.")] = False,
    allowed_image: Annotated[
        list[str] | None,
        typer.Option(metavar="PREFIX", help="Prefix of images that runs may use; can be repeated.", show_default="any image"),
    ] = None,
    allowed_service_account: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Existing ServiceAccount that every run may use; can be repeated.")
    ] = None,
    allowed_secret: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Secret that every run may use; can be repeated.")
    ] = None,
    admission_policy: Annotated[
        bool,
        typer.Option(help="Rely on the chart's ValidatingAdmissionPolicy for Secrets and ServiceAccounts in fields."),
    ] = False,
    port: Annotated[int, typer.Option(help="Port of /healthz, /readyz and /metrics; 0 for none.")] = 8080,
    workers: Annotated[int, typer.Option(min=1, help="Number of runs reconciled at the same time.")] = 16,
    resync: Annotated[float, typer.Option(metavar="SECONDS", min=1, help="Seconds between full lists.")] = 120.0,
    log_level: Annotated[LogLevel, typer.Option(help="Least level of the lines that are logged.")] = "info",
) -> None:
    """Run the operator until SIGTERM, with the kubeconfig or, in a cluster, the ServiceAccount.

    Example: `deepicd-operator run --namespace research`
    """
    from deepicd_operator import logs
    from deepicd_operator.process import Process

    logs.configure(log_level)
    settings = Settings(
        image=image,
        network_policy=network_policy,
        api_server_ports=tuple(api_server_port or DEFAULT_PORTS),
        kuberay_namespace=kuberay_namespace,
        pod_template_patch=pod_template_patch,
        privileged=privileged,
        allowed_images=tuple(allowed_image or ()),
        allowed_service_accounts=tuple(allowed_service_account or ()),
        allowed_secrets=tuple(allowed_secret or ()),
        admission_policy=admission_policy,
    )
    asyncio.run(Process(settings, tuple(namespace or ()), port, workers, resync).run())


def app() -> NoReturn:
    """Run the command line. A DeepICDError is printed as one line on stderr and sets the exit code."""
    try:
        call(cli)
    except DeepICDError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        sys.stderr.write(f"error: {extras.missing(error)}\n")
        sys.exit(ExitCode.USER_ERROR)
    sys.exit(ExitCode.DONE)
