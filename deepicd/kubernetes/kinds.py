"""Paths of the kinds in a Kubernetes API."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from deepicd.spec.resource_names import GROUP, KIND, PLURAL, VERSION


@dataclass(frozen=True)
class Kind:
    """A kind of object, and its path in the API."""

    name: str
    plural: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Path of an object or its subresource; without a name: of all objects; without a namespace: of all namespaces."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts += [self.plural, *(quote(part, safe="") for part in (name, subresource) if part is not None)]
        return "/" + "/".join(parts)


RUN = Kind(KIND, PLURAL, GROUP, VERSION)
POD = Kind("Pod", "pods")
CONFIG_MAP = Kind("ConfigMap", "configmaps")
