"""Log in to a Kubernetes API server: by the ServiceAccount of a pod, or else by the kubeconfig."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config
from yaml import YAMLError

from deepicd.errors import UserError

PLUGIN_SECONDS = 120.0
"""How long a plugin that the kubeconfig names may take: a person may have to log in."""
_REMEDY = "set KUBECONFIG to the cluster's kubeconfig file"
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class Login:
    """Address, trust store and credentials for the client, and the default namespace."""

    configuration: Configuration
    namespace: str

    contents: tuple[bytes, ...] = ()
    """Of the files that trust and credentials name: these may be rewritten in place."""

    @property
    def credentials(self) -> tuple[object, ...]:
        """Values that differ after a log-in with new credentials: only then is a retry useful."""
        return self.configuration.host, self.configuration.api_key.get("BearerToken"), self.contents


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
    namespace = _NAMESPACE_FILE.read_text().strip() if _NAMESPACE_FILE.exists() else "default"
    return Login(configuration, namespace, _contents(configuration))


def _kubeconfig() -> str:
    paths = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    if not any(Path(path).expanduser().is_file() for path in paths.split(os.pathsep) if path):
        raise UserError(f"kubeconfig: no file {paths}: {_REMEDY}")
    return paths


async def _by_kubeconfig(paths: str) -> Login:
    configuration, before = Configuration(), _children()
    try:
        reading = load_kube_config(paths, client_configuration=configuration, persist_config=False)
        loader = await asyncio.wait_for(reading, PLUGIN_SECONDS)
        context, user = loader.current_context["context"], loader._user
    except TimeoutError:
        names = ", ".join([await _end(child) for child in _children() - before]) or "its exec plugin"
        raise UserError(
            f"kubeconfig: {names} gave no credentials within {PLUGIN_SECONDS:.0f} s: run it by hand to see why"
        ) from None
    except (ConfigException, OSError) as error:
        raise UserError(f"kubeconfig: {error}: {_REMEDY}") from None
    except (YAMLError, AttributeError, KeyError, TypeError, ValueError):
        raise UserError(f"kubeconfig: {paths} is not a kubeconfig: {_REMEDY}") from None
    if user and "exec" in user and not configuration.api_key and not configuration.cert_file:
        # The loader logs why and continues without credentials.
        plugin = user.value["exec"]
        command = plugin.get("command") if isinstance(plugin, dict) else None
        if command is None:
            raise UserError(f"kubeconfig: exec has no command: {_REMEDY}")
        raise UserError(f"kubeconfig: {command} gives no credentials: run it by hand to see why")
    if token := configuration.api_key.get("BearerToken"):
        # Files end in a line feed, which no header takes.
        configuration.api_key["BearerToken"] = token.strip()
    return Login(configuration, str(context.get("namespace") or "default"), _contents(configuration))


def _children() -> set[int]:
    """Ids of this process's child processes."""
    lists = (path.read_text() for path in Path("/proc/self/task").glob("*/children"))
    return {int(number) for line in lists for number in line.split()}


def _program(child: int) -> str:
    return Path(f"/proc/{child}/comm").read_text().strip()


async def _end(child: int) -> str:
    """End a child process, and let asyncio see its end; returns its program's name."""
    name = ""
    with suppress(FileNotFoundError, ProcessLookupError):
        name = _program(child)
        os.kill(child, signal.SIGKILL)
        for _ in range(100):
            if child not in _children():
                break
            await asyncio.sleep(0.01)
    return name


def _contents(configuration: Configuration) -> tuple[bytes, ...]:
    """The content of the files of trust and credentials, once they are known to be whole.

    Raises:
        UserError: one is missing or broken, or the key does not belong to the certificate.
    """
    authority, certificate, key = configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file
    try:
        context = ssl.create_default_context(cafile=authority)
        if certificate:
            context.load_cert_chain(certificate, key)
        return tuple(Path(path).read_bytes() for path in (authority, certificate, key) if path)
    except OSError as error:
        found = ", ".join(path for path in (authority, certificate, key) if path)
        found += f": {error.strerror or error}"
        raise UserError(f"kubeconfig: {found}: give PEM files, and the key that belongs to the certificate") from None
