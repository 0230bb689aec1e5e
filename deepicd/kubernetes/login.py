"""Log in to a Kubernetes API server: by the ServiceAccount of a pod, or else by the kubeconfig."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config
from yaml import YAMLError

from deepicd.errors import UserError

_REMEDY = "set KUBECONFIG to the cluster's kubeconfig file"
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class Login:
    """Address, trust store and credentials for the client, and the default namespace."""

    configuration: Configuration
    namespace: str

    @property
    def credentials(self) -> tuple[str | None, ...]:
        """Values that differ after a log-in with new credentials: only then is a retry useful."""
        chosen = self.configuration
        return chosen.host, chosen.api_key.get("BearerToken"), chosen.cert_file, chosen.key_file


async def log_in() -> Login:
    """Read the current credentials; a plugin that the kubeconfig names is run to get new ones.

    Raises:
        UserError: there are none, or they are broken.
    """
    try:
        return _by_service_account()
    except ConfigException:
        return await _by_kubeconfig(_kubeconfig())


def _by_service_account() -> Login:
    configuration = Configuration()
    load_incluster_config(configuration)
    return Login(configuration, _NAMESPACE_FILE.read_text().strip() if _NAMESPACE_FILE.exists() else "default")


def _kubeconfig() -> str:
    paths = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    if not any(Path(path).expanduser().is_file() for path in paths.split(os.pathsep) if path):
        raise UserError(f"kubeconfig: no file {paths}: {_REMEDY}")
    return paths


async def _by_kubeconfig(paths: str) -> Login:
    configuration = Configuration()
    try:
        loader = await load_kube_config(paths, client_configuration=configuration, persist_config=False)
        context, user = loader.current_context["context"], loader._user
    except (ConfigException, OSError) as error:
        raise UserError(f"kubeconfig: {error}: {_REMEDY}") from None
    except (YAMLError, AttributeError, KeyError, TypeError, ValueError):
        raise UserError(f"kubeconfig: {paths} is not a kubeconfig: {_REMEDY}") from None
    if user and "exec" in user and not configuration.api_key and not configuration.cert_file:
        # The loader logs why and continues without credentials.
        raise UserError(f"kubeconfig: {user['exec']['command']} gives no credentials: run it by hand to see why")
    return Login(configuration, str(context.get("namespace") or "default"))
