from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepicd.errors import UserError
from deepicd.spec.load import parse
from deepicd.spec.storage import Address, StorageSpec, address_of
from tests.unit.spec.test_load import quickstart


def storage(**fields: Any) -> StorageSpec:
    return StorageSpec.model_validate(fields)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "spec.storage: give exactly one of s3, folder"),
        ({"folder": "/runs", "s3": {"bucket": "runs"}}, "spec.storage: give exactly one of s3, folder"),
        ({"folder": ""}, "spec.storage.folder"),
        ({"folder": "/runs", "keepLast": 0}, "spec.storage.keepLast"),
        ({"folder": "/runs", "maxBytesPerSecond": "fast"}, "a size is a whole number and a binary unit"),
        ({"s3": {"bucket": "Up"}}, "spec.storage.s3.bucket"),
        ({"s3": {"bucket": "runs", "prefix": "/a"}}, "spec.storage.s3.prefix"),
        ({"s3": {"bucket": "runs", "prefix": "a/../b"}}, "prefix: a part of it cannot be '.' or '..'"),
        ({"s3": {"bucket": "runs", "endpoint": "store:9000"}}, "spec.storage.s3.endpoint"),
        ({"s3": {"bucket": "runs", "credentials": {}}}, "give exactly one of secretName, secretFolder"),
        (
            {"s3": {"bucket": "runs", "credentials": {"secretName": "a", "secretFolder": "/b"}}},
            "give exactly one of secretName, secretFolder",
        ),
        ({"s3": {"bucket": "runs", "encryption": {"type": "s3", "kmsKeyId": "k"}}}, "kmsKeyId goes with type: kms"),
        ({"s3": {"bucket": "runs", "verify": False}}, "unknown field 'verify'"),
    ],
)
def test_a_mistake_in_storage_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        parse(quickstart(spec__storage=given), "run.yaml")
    assert message in str(error.value)


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://minio.storage:90000", "https://minio:0", "https://minio:", "https://minio:nine", "http://[", "https://[zz]",
        "http://", "https://:9000", "https://-minio", "https://a..b", "https://a b", "https://minio?x=1", "https://minio#x",
        "ftp://minio", "minio:9000", "https://minio/path",
    ],
)  # fmt: skip
def test_an_endpoint_that_is_no_address_is_refused_in_one_line(endpoint: str) -> None:
    with pytest.raises(UserError) as error:
        parse(quickstart(spec__storage={"s3": {"bucket": "runs", "endpoint": endpoint}}), "run.yaml")
    assert "spec.storage.s3.endpoint: " in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("endpoint", "host", "port"),
    [
        ("https://s3.eu-west-1.amazonaws.com", "s3.eu-west-1.amazonaws.com", 443),
        ("http://minio.storage.svc:9000/", "minio.storage.svc", 9000),
        ("http://10.0.0.7", "10.0.0.7", 80),
        ("http://[fd00::7]:9000", "fd00::7", 9000),
    ],
)
def test_an_endpoint_is_taken_apart(endpoint: str, host: str, port: int) -> None:
    assert storage(s3={"bucket": "runs", "endpoint": endpoint}).s3 is not None
    assert address_of(endpoint) == Address(host, port)


@given(st.text(st.characters(codec="utf-8")).map(lambda text: f"https://{text}") | st.text())
def test_any_text_is_an_address_or_refused_in_one_line(text: str) -> None:
    content = quickstart(spec__storage={"s3": {"bucket": "runs", "endpoint": text}})
    refused = ""
    try:
        parse(content, "run.yaml")
    except UserError as error:
        refused = str(error)
    assert "\n" not in refused
    if not refused:
        assert 0 < address_of(text).port < 2**16


def test_an_endpoint_with_credentials_in_it_is_refused_without_showing_them() -> None:
    given = {"s3": {"bucket": "runs", "endpoint": "https://key:the-secret@store"}}
    with pytest.raises(UserError) as error:
        parse(quickstart(spec__storage=given), "run.yaml")
    assert "spec.storage.s3.endpoint: has a user or password in it" in str(error.value)
    assert "the-secret" not in str(error.value)


def test_tls_verification_cannot_be_turned_off() -> None:
    s3 = storage(s3={"bucket": "runs"}).s3
    assert s3 is not None
    assert not [name for name in type(s3).model_fields if "verify" in name or "insecure" in name]


def test_three_checkpoints_and_the_best_stay_by_default() -> None:
    chosen = storage(folder="/runs")
    assert (chosen.keep_last, chosen.keep_best, chosen.max_bytes_per_second) == (3, 1, None)
