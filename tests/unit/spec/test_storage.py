from __future__ import annotations

from typing import Any

import pytest

from deepicd.errors import UserError
from deepicd.spec.load import parse
from deepicd.spec.storage import StorageSpec
from tests.unit.spec.test_load import quickstart


def storage(**fields: Any) -> StorageSpec:
    return StorageSpec.model_validate(fields)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "spec.storage: give s3 or folder, one of the two"),
        ({"folder": "/runs", "s3": {"bucket": "runs"}}, "spec.storage: give s3 or folder, one of the two"),
        ({"folder": ""}, "spec.storage.folder"),
        ({"folder": "/runs", "keepLast": 0}, "spec.storage.keepLast"),
        ({"folder": "/runs", "maxBytesPerSecond": "fast"}, "a size is a whole number and a binary unit"),
        ({"s3": {"bucket": "Up"}}, "spec.storage.s3.bucket"),
        ({"s3": {"bucket": "runs", "prefix": "/a"}}, "spec.storage.s3.prefix"),
        ({"s3": {"bucket": "runs", "prefix": "a/../b"}}, "a part of the prefix cannot be '.' or '..'"),
        ({"s3": {"bucket": "runs", "endpoint": "store:9000"}}, "spec.storage.s3.endpoint"),
        ({"s3": {"bucket": "runs", "credentials": {}}}, "give secretName or secretFolder, one of the two"),
        (
            {"s3": {"bucket": "runs", "credentials": {"secretName": "a", "secretFolder": "/b"}}},
            "give secretName or secretFolder, one of the two",
        ),
        ({"s3": {"bucket": "runs", "encryption": {"type": "s3", "kmsKeyId": "k"}}}, "kmsKeyId goes with type: kms"),
        ({"s3": {"bucket": "runs", "verify": False}}, "unknown field 'verify'"),
    ],
)
def test_a_mistake_in_storage_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        parse(quickstart(spec__storage=given), "run.yaml")
    assert message in str(error.value)


def test_an_endpoint_with_credentials_in_it_is_refused_without_showing_them() -> None:
    given = {"s3": {"bucket": "runs", "endpoint": "https://key:the-secret@store"}}
    with pytest.raises(UserError) as error:
        parse(quickstart(spec__storage=given), "run.yaml")
    assert "spec.storage.s3: endpoint: has a user or password in it" in str(error.value)
    assert "the-secret" not in str(error.value)


def test_tls_verification_cannot_be_turned_off() -> None:
    s3 = storage(s3={"bucket": "runs"}).s3
    assert s3 is not None
    assert not [name for name in type(s3).model_fields if "verify" in name or "insecure" in name]


def test_three_checkpoints_and_the_best_stay_by_default() -> None:
    chosen = storage(folder="/runs")
    assert (chosen.keep_last, chosen.keep_best, chosen.max_bytes_per_second) == (3, 1, None)
