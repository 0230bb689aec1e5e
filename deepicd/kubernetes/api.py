"""Requests of the commands and of an attempt's reports to a Kubernetes API server, one after the other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from deepicd.errors import DeepICDError, ExitCode, UserError
from deepicd.extras import require
from deepicd.kubernetes.errors import NotFoundError, RequestError, UnauthorizedError, UnavailableError, UnknownKindError
from deepicd.kubernetes.kinds import CONFIG_MAP, POD, RUN
from deepicd.spec.load import parse
from deepicd.spec.resource_names import API_VERSION, ATTEMPT_LABEL, KIND, RAY_NODE_LABEL, RUN_LABEL
from deepicd.spec.run import DeepICDRun

if TYPE_CHECKING:
    from deepicd.kubernetes.client import Client

Raw = dict[str, Any]
T = TypeVar("T")

REQUEST_SECONDS = 15.0
MANAGER = "deepicd"
"""Field manager of what the commands apply."""


def _apart(work: Callable[[], T]) -> T:
    """Call `work` in a thread: in the main thread `asyncio.run` makes Ctrl-C a cancellation, which aiohttp may swallow."""
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return result.result()


class ClusterError(DeepICDError):
    """The API server does not answer, or cannot: trying again later may help."""

    exit_code = ExitCode.TRY_LATER


class Api:
    """Requests in one namespace: that of the kubeconfig's context or of the pod, unless one is given.

    Each request has its own connection: they are seconds apart, and may come from any thread.

    Every method raises
        UserError: the API server refuses the request, or there is no such object.
        ClusterError: it does not answer.
    """

    def __init__(self, namespace: str | None = None) -> None:
        """Raises: UserError: there is no kubeconfig, or it is broken."""
        require("the cluster", ("aiohttp", "kubernetes"))
        from deepicd.kubernetes.client import Client
        from deepicd.kubernetes.login import log_in

        login = asyncio.run(log_in())
        self.namespace = namespace or login.namespace
        self._client: Callable[[], Client] = lambda: Client(MANAGER, REQUEST_SECONDS, login)

    def run(self, name: str) -> Raw:
        """A DeepICDRun."""
        return self._ask(f"run {name}", lambda client: client.get(RUN, self.namespace, name))

    def spec_of(self, name: str) -> tuple[DeepICDRun, str]:
        """A run as run.yaml has it, and its uid."""
        found = self.run(name)
        content = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": found["spec"]}
        return parse(content, f"run {name}"), str(found["metadata"]["uid"])

    def runs(self) -> list[Raw]:
        """All DeepICDRuns of the namespace, by name."""
        found = self._ask("runs", lambda client: client.list(RUN, self.namespace))
        return sorted(found, key=lambda run: str(run["metadata"]["name"]))

    def apply(self, run: Mapping[str, Any]) -> Raw:
        """Create or change a run, as `kubectl apply --server-side` does."""
        content = {**run, "metadata": {**run["metadata"], "namespace": self.namespace}}
        return self._ask(f"run {run['metadata']['name']}", lambda client: client.apply(RUN, content))

    def change(self, name: str, spec: Mapping[str, Any]) -> Raw:
        """Change fields of a run's spec."""
        return self._ask(f"run {name}", lambda client: client.merge(RUN, self.namespace, name, {"spec": dict(spec)}))

    def delete(self, name: str) -> None:
        """Delete a run, and with it everything that the operator created for it."""
        self._ask(f"run {name}", lambda client: client.delete(RUN, self.namespace, name))

    def pods(self, run: str, attempt: int) -> list[Raw]:
        """Pods of an attempt, oldest first; the head of a Ray cluster comes last."""
        labels = {RUN_LABEL: run, ATTEMPT_LABEL: str(attempt)}
        found = self._ask(f"pods of {run}", lambda client: client.list(POD, self.namespace, labels))
        return sorted(found, key=newest_or_head_last)

    def log(self, pod: str, container: str, *, follow: bool, tail: int | None) -> Iterator[str]:
        """Lines of a container's log, each with its line ending."""
        client = self._client()
        lines = client.log(self.namespace, pod, container, follow=follow, tail=tail)

        async def following() -> str | None:
            return await anext(lines, None)

        with asyncio.Runner() as runner:
            try:
                while (line := self._explained(f"log of {pod}", lambda: runner.run(following()))) is not None:
                    yield line
            finally:
                runner.run(client.close())

    def write_config_map(self, name: str, key: str, text: str) -> None:
        """Set one key of a ConfigMap that exists."""
        self._ask(f"ConfigMap {name}", lambda client: client.merge(CONFIG_MAP, self.namespace, name, {"data": {key: text}}))

    def _ask(self, what: str, request: Callable[[Client], Awaitable[T]]) -> T:
        async def once() -> T:
            client = self._client()
            try:
                return await request(client)
            finally:
                await client.close()

        return self._explained(what, lambda: _apart(lambda: asyncio.run(once())))

    def _explained(self, what: str, ask: Callable[[], T]) -> T:
        place = f"{what} in namespace {self.namespace}"
        try:
            return ask()
        except UnknownKindError:
            raise UserError(f"{place}: the cluster does not know DeepICDRuns: install the operator") from None
        except NotFoundError:
            raise UserError(f"{place}: does not exist: see 'deepicd status'") from None
        except UnauthorizedError:
            raise UserError(f"{place}: the API server does not know this user: renew the kubeconfig's credentials") from None
        except UnavailableError as error:
            if error.code:
                found = f"the API server is not able to answer ({error.code}): try again later"
                raise ClusterError(f"{place}: {found}") from None
            raise ClusterError(
                f"API server: does not answer ({error}): check that the cluster is up and the kubeconfig names it"
            ) from None
        except RequestError as error:
            if error.code == 403:
                found = f"not allowed ({error}): ask for that right, or choose another --namespace"
                raise UserError(f"{place}: {found}") from None
            raise UserError(f"{place}: refused ({error.code}): {error}") from None


def newest_or_head_last(pod: Raw) -> tuple[bool, str]:
    """Sort key of pods: the newest last, or a Ray cluster's head, which runs the run's command."""
    metadata = pod["metadata"]
    return metadata["labels"].get(RAY_NODE_LABEL) == "head", str(metadata["creationTimestamp"])
