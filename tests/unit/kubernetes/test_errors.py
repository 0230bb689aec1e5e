from __future__ import annotations

import json
from typing import Any

import pytest

from deepicd.kubernetes.errors import (
    AlreadyExistsError,
    ChangedMeanwhileError,
    NamespaceTerminatingError,
    NotFoundError,
    QuotaExceededError,
    RefusedError,
    RefusedField,
    RefusedFieldsError,
    RequestError,
    UnauthorizedError,
    UnavailableError,
    UnknownKindError,
    answer_error,
)

QUOTA = 'pods "a" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=4, used: 0, limited: 2'
STRICT = (
    'Job in version "v1" cannot be handled as a Job: strict decoding error: '
    'unknown field "spec.template.spec.afinity", duplicate field "spec.suspend"'
)
MISTYPED = (
    'Job in version "v1" cannot be handled as a Job: json: cannot unmarshal number into Go struct field '
    "PodSpec.spec.template.spec.nodeName of type string"
)


def answer(
    code: int, reason: str = "", message: str = "no", headers: dict[str, str] | None = None, **details: Any
) -> RequestError:
    status = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message, "details": details}
    return answer_error(code, headers, json.dumps(status))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (answer(404, "NotFound", name="a", kind="jobs"), NotFoundError),
        (answer(404, "NotFound"), UnknownKindError),
        (answer_error(404, None, "404 page not found\n"), UnknownKindError),
        (answer(409, "AlreadyExists", name="a"), AlreadyExistsError),
        (answer(409, "Conflict", name="a"), ChangedMeanwhileError),
        (answer(403, "Forbidden"), RefusedError),
        (answer(403, "Forbidden", QUOTA), QuotaExceededError),
        (answer(403, "Forbidden", causes=[{"reason": "NamespaceTerminating"}]), NamespaceTerminatingError),
        (answer(400, "BadRequest", "the body is too large"), RefusedError),
        (answer(401, "Unauthorized"), UnauthorizedError),
        (answer(410, "Expired"), UnavailableError),
        (answer(429, "TooManyRequests"), UnavailableError),
        (answer(503, "ServiceUnavailable"), UnavailableError),
        (answer_error(502, None, "<html>bad gateway"), UnavailableError),
    ],
)
def test_each_answer_has_a_type(found: RequestError, expected: type[RequestError]) -> None:
    assert type(found) is expected


def test_quota_words_in_another_answer_are_no_refusal_by_quota() -> None:
    assert type(answer(400, "BadRequest", QUOTA)) is RefusedError


def test_an_invalid_object_names_each_field_by_its_cause() -> None:
    causes = [
        {"reason": "FieldValueInvalid", "field": "spec.a", "message": "must be positive"},
        {"reason": "FieldValueRequired", "field": "spec.b", "message": "Required value"},
    ]
    found = answer(422, "Invalid", causes=causes)
    assert isinstance(found, RefusedFieldsError)
    assert found.fields == (RefusedField("spec.a", "must be positive"), RefusedField("spec.b", "Required value"))
    assert str(found) == "spec.a: must be positive; spec.b: Required value"


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (STRICT, ("spec.template.spec.afinity: unknown field", "spec.suspend: duplicate field")),
        (MISTYPED, ("spec.template.spec.nodeName: is a number, not a string",)),
    ],
)
def test_a_decoders_words_name_each_field(message: str, fields: tuple[str, ...]) -> None:
    found = answer(400, "BadRequest", message)
    assert isinstance(found, RefusedFieldsError)
    assert tuple(map(str, found.fields)) == fields


def test_an_error_says_when_to_retry() -> None:
    found = answer(429, headers={"Retry-After": "7"}), answer(429, retryAfterSeconds=3), answer(503)
    assert [each.retry_after for each in found if isinstance(each, UnavailableError)] == [7, 3, None]


def test_only_a_status_is_the_api_servers_own_answer() -> None:
    assert answer(404, name="a").answered
    assert not answer_error(404, None, "default backend - 404").answered
    assert not answer_error(404, None, '["a", "list"]').answered
