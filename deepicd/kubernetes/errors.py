"""Types of failed requests to a Kubernetes API server.

Only `answer_error` interprets an API server's answer: by the typed fields of its Status (`reason`, `details.causes`), or by
its text where it has only text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RefusedField:
    """A field that the API server refuses: its path in the object, and why."""

    path: str
    problem: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}" if self.path else self.problem


class RequestError(Exception):
    """A request that did not succeed."""

    def __init__(self, message: str, code: int = 0, *, answered: bool = False) -> None:
        """`code`: HTTP status, 0 without an answer; `answered`: by the API server itself, not by a proxy before it."""
        super().__init__(message)
        self.code = code
        self.answered = answered


class NotFoundError(RequestError):
    """The object, or the namespace that it should be in, does not exist."""


class UnknownKindError(NotFoundError):
    """The API server does not have the kind."""


class AlreadyExistsError(RequestError):
    """An object of that kind and name exists."""


class ChangedMeanwhileError(RequestError):
    """The object was replaced, or has another version than the request is for."""


class RefusedError(RequestError):
    """The API server understood the request and refuses it: a retry alone does not help."""


class QuotaExceededError(RefusedError):
    """A ResourceQuota has no room for the object."""


class NamespaceTerminatingError(RefusedError):
    """The namespace is being deleted."""


class RefusedFieldsError(RefusedError):
    """Fields of the object are unknown, or have values that are not allowed."""

    def __init__(self, fields: tuple[RefusedField, ...], code: int = 0, *, answered: bool = False) -> None:
        super().__init__("; ".join(map(str, fields)), code, answered=answered)
        self.fields = fields


class UnavailableError(RequestError):
    """The API server did not answer, or cannot: try again later."""

    def __init__(self, message: str, code: int = 0, *, answered: bool = False, retry_after: float | None = None) -> None:
        """`retry_after`: seconds."""
        super().__init__(message, code, answered=answered)
        self.retry_after = retry_after


class UnauthorizedError(UnavailableError):
    """The API server does not accept the credentials: they are wrong, or have expired."""


def answer_error(code: int, headers: Mapping[str, str] | None, body: str | None) -> RequestError:
    """The error for an answer other than 2xx."""
    status = _status(body)
    code, answered = int(status.get("code") or code), bool(status)
    message = str(status.get("message") or status.get("reason") or f"HTTP {code}")
    if code in {401, 410, 429} or code >= 500:
        unavailable = UnauthorizedError if code == 401 else UnavailableError
        return unavailable(message, code, answered=answered, retry_after=_retry_after(headers, status))
    if fields := _refused_fields(code, status, message):
        return RefusedFieldsError(fields, code, answered=answered)
    return _type(code, status, message)(message, code, answered=answered)


def _type(code: int, status: Mapping[str, Any], message: str) -> type[RequestError]:
    if code == 404:
        # A 404 for a missing object names it; one for a path that is not served names none.
        return NotFoundError if _details(status).get("name") else UnknownKindError
    if code == 409:
        return AlreadyExistsError if status.get("reason") == "AlreadyExists" else ChangedMeanwhileError
    if any(cause.get("reason") == "NamespaceTerminating" for cause in _causes(status)):
        return NamespaceTerminatingError
    return QuotaExceededError if code == 403 and says_quota_exceeded(message) else RefusedError


def says_quota_exceeded(message: str) -> bool:
    """Whether a message of the API server, or of an event that repeats it, is from quota admission, which has no type."""
    return "exceeded quota: " in message


# Messages of the decoder, whose answers have no causes.
_STRICT = re.compile(r'(unknown|duplicate) field "([^"]+)"')
_MISTYPED = re.compile(r"cannot unmarshal (\S+) into Go struct field \w+\.(\S+) of type (\S+)")


def _refused_fields(code: int, status: Mapping[str, Any], message: str) -> tuple[RefusedField, ...]:
    if code == 422:
        return tuple(RefusedField(str(each.get("field") or ""), str(each.get("message") or "")) for each in _causes(status))
    if code != 400:
        return ()
    if "strict decoding error" in message:
        return tuple(RefusedField(path, f"{problem} field") for problem, path in _STRICT.findall(message))
    return tuple(RefusedField(path, f"is a {found}, not a {wanted}") for found, path, wanted in _MISTYPED.findall(message))


def _status(body: str | None) -> dict[str, Any]:
    """The body as a Status; empty where it is something else, such as a proxy's page."""
    try:
        found = json.loads(body or "")
    except ValueError:
        return {}
    return found if isinstance(found, dict) and found.get("kind") == "Status" else {}


def _details(status: Mapping[str, Any]) -> Mapping[str, Any]:
    return status.get("details") or {}


def _causes(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(_details(status).get("causes") or ())


def _retry_after(headers: Mapping[str, str] | None, status: Mapping[str, Any]) -> float | None:
    text = str((headers or {}).get("Retry-After") or _details(status).get("retryAfterSeconds") or "")
    return float(text) if text.isdecimal() else None
