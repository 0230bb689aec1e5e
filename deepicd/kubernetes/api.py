"""The only file of `deepicd` that talks to a Kubernetes API server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from deepicd.errors import DeepICDError, ExitCode, UserError
from deepicd.spec.load import parse
from deepicd.spec.resource_names import API_VERSION, ATTEMPT_LABEL, GROUP, KIND, PLURAL, RAY_NODE_LABEL, RUN_LABEL, VERSION
from deepicd.spec.run import DeepICDRun

Raw = dict[str, Any]
T = TypeVar("T")

REQUEST_SECONDS = 15.0
MANAGER = "deepicd"
"""Field manager of what the commands apply."""


class ClusterError(DeepICDError):
    """The API server does not answer, or is not able to: trying again later may help."""

    exit_code = ExitCode.TRY_LATER


class Api:
    """Requests in one namespace: that of the kubeconfig's context or of the pod, unless one is given.

    Every method raises
        UserError: the API server refuses the request, or there is no such object.
        ClusterError: it does not answer.
    """

    def __init__(self, namespace: str | None = None) -> None:
        """Raises: UserError: there is no kubeconfig, or it is broken."""
        try:
            import httpx2
            from lightkube import Client
            from lightkube.core.exceptions import ConfigError
        except ImportError:
            raise UserError("the Kubernetes client is not installed: install deepicd[cluster]") from None
        try:
            self._client: Any = Client(
                namespace=namespace, field_manager=MANAGER, timeout=httpx2.Timeout(REQUEST_SECONDS), trust_env=True
            )
        except (ConfigError, OSError, KeyError, ValueError, TypeError) as error:
            raise UserError(f"kubeconfig: {error}: set KUBECONFIG to the cluster's kubeconfig file") from None
        self.namespace = namespace or str(self._client.namespace)
        self._here = {"namespace": self.namespace}
        # Objects are plain dictionaries here, which lightkube's overloads do not foresee.
        self._kinds: dict[str, Any] = {
            KIND: resource_class(GROUP, VERSION, KIND, PLURAL),
            "Pod": resource_class("", "v1", "Pod", "pods"),
            "ConfigMap": resource_class("", "v1", "ConfigMap", "configmaps"),
        }

    def run(self, name: str) -> Raw:
        """A DeepICDRun."""
        return self._ask(f"run {name}", lambda: dict(self._client.get(self._kinds[KIND], name, **self._here)))

    def spec_of(self, name: str) -> tuple[DeepICDRun, str]:
        """A run as run.yaml has it, and its identity."""
        found = self.run(name)
        content = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": found["spec"]}
        return parse(content, f"run {name}"), str(found["metadata"]["uid"])

    def runs(self) -> list[Raw]:
        """All DeepICDRuns of the namespace, by name."""
        found = self._ask("runs", lambda: [dict(run) for run in self._client.list(self._kinds[KIND], **self._here)])
        return sorted(found, key=lambda run: str(run["metadata"]["name"]))

    def apply(self, run: Mapping[str, Any]) -> Raw:
        """Create or change a run, as `kubectl apply --server-side` does."""
        content = self._kinds[KIND]({**run, "metadata": {**run["metadata"], "namespace": self.namespace}})
        name = run["metadata"]["name"]
        return self._ask(f"run {name}", lambda: dict(self._client.apply(content, force=True, **self._here)))

    def change(self, name: str, spec: Mapping[str, Any]) -> Raw:
        """Change fields of a run's spec."""
        return self._ask(f"run {name}", lambda: dict(self._merge(KIND, name, {"spec": dict(spec)})))

    def delete(self, name: str) -> None:
        """Delete a run, and with it all that the operator made for it."""
        self._ask(f"run {name}", lambda: self._client.delete(self._kinds[KIND], name, **self._here))

    def pods(self, run: str, attempt: int) -> list[Raw]:
        """Pods of an attempt, oldest first; of a Ray cluster's the head last."""
        chosen = {"labels": {RUN_LABEL: run, ATTEMPT_LABEL: str(attempt)}, **self._here}
        found = self._ask(f"pods of {run}", lambda: [dict(pod) for pod in self._client.list(self._kinds["Pod"], **chosen)])
        return sorted(found, key=newest_or_head_last)

    def log(self, pod: str, container: str, *, follow: bool, tail: int | None) -> Iterator[str]:
        """Lines of a container's log, each with its end."""
        chosen = {"container": container, "follow": follow, "tail_lines": tail, **self._here}
        lines: Iterator[str] = self._ask(f"log of {pod}", lambda: iter(self._client.log(pod, **chosen)))
        while (line := self._ask(f"log of {pod}", lambda: next(lines, None))) is not None:
            yield line

    def write_config_map(self, name: str, key: str, text: str) -> None:
        """Set one key of a ConfigMap that exists."""
        self._ask(f"ConfigMap {name}", lambda: self._merge("ConfigMap", name, {"data": {key: text}}))

    def _merge(self, kind: str, name: str, content: Raw) -> Any:
        from lightkube.types import PatchType

        return self._client.patch(self._kinds[kind], name, content, patch_type=PatchType.MERGE, **self._here)

    def _ask(self, what: str, request: Callable[[], T]) -> T:
        import httpx2
        from lightkube import ApiError

        try:
            return request()
        except ApiError as error:
            raise self._explained(what, int(error.status.code or 0), str(error.status.message or "")) from None
        except httpx2.HTTPStatusError as error:
            raise self._explained(what, error.response.status_code, error.response.reason_phrase) from None
        except httpx2.HTTPError as error:
            raise ClusterError(
                f"API server: does not answer ({type(error).__name__}): see that the cluster is up and the kubeconfig names it"
            ) from None

    def _explained(self, what: str, code: int, message: str) -> Exception:
        place = f"{what} in namespace {self.namespace}"
        if code == 404 and "could not find the requested resource" in message:
            return UserError(f"{place}: the cluster does not know DeepICDRuns: install the operator")
        if code == 404:
            return UserError(f"{place}: does not exist: see 'deepicd status'")
        if code == 401:
            return UserError(f"{place}: the API server does not know this user: renew the kubeconfig's credentials")
        if code == 403:
            return UserError(f"{place}: not allowed ({message}): ask for that right, or choose another --namespace")
        if code == 429 or code >= 500:
            return ClusterError(f"{place}: the API server is not able to answer ({code}): try again later")
        return UserError(f"{place}: refused ({code}): {message}")


def resource_class(group: str, version: str, kind: str, plural: str, *, namespaced: bool = True) -> Any:
    """lightkube's class of a kind: it keeps one for the whole process."""
    from lightkube.generic_resource import create_global_resource, create_namespaced_resource, get_generic_resource

    known = get_generic_resource(  # type: ignore[no-untyped-call]
        f"{group}/{version}" if group else version, kind
    )
    create = create_namespaced_resource if namespaced else create_global_resource
    return known or create(group, version, kind, plural)


def newest_or_head_last(pod: Raw) -> tuple[bool, str]:
    """Order of pods; a Ray cluster's head carries out the run's command."""
    metadata = pod["metadata"]
    return metadata["labels"].get(RAY_NODE_LABEL) == "head", str(metadata["creationTimestamp"])
