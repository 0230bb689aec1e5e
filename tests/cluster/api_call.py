"""A request to the API server, in terms of RBAC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>v[^/]+)"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/[^/]))?/(?P<resource>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<subresource>.+))?)?$"
)
_NAMESPACE_PARTS = ("status", "finalize")


@dataclass
class Call:
    """One request; `status` is 0 until it is answered."""

    verb: str
    """get, list, watch, create, update, patch, delete, deletecollection; the HTTP method for a non-resource path."""
    path: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    user: str = ""
    status: int = 0

    @property
    def is_write(self) -> bool:
        """Whether it changes something."""
        return self.verb in WRITES

    @property
    def permission(self) -> tuple[str, str, str]:
        """Group, resource (with its subresource) and verb, as a Role names them."""
        return self.group, f"{self.resource}/{self.subresource}" if self.subresource else self.resource, self.verb


def read_call(method: str, target: str, user: str = "") -> Call:
    """Return the call that an HTTP request makes."""
    path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
    found = _PATH.match(path)
    if found is None:
        return Call(method, path, user=user)
    parts: dict[str, Any] = {name: value or "" for name, value in found.groupdict().items() if name != "version"}
    if parts["namespace"] and parts["resource"] in _NAMESPACE_PARTS and not parts["name"]:
        parts = {**parts, "resource": "namespaces", "name": parts["namespace"], "subresource": parts["resource"]}
    return Call(_verb(method, parts["name"], query), path, user=user, **parts)


def _verb(method: str, name: str, query: dict[str, list[str]]) -> str:
    if method == "GET" and query.get("watch", ["false"])[0] in ("true", "1", ""):
        return "watch"
    if method in ("GET", "HEAD"):
        return "get" if name else "list"
    if method == "DELETE":
        return "delete" if name else "deletecollection"
    return {"POST": "create", "PUT": "update", "PATCH": "patch"}[method]
