from __future__ import annotations

import pytest

from deepicd.artifacts.store.s3.refusals import explain
from deepicd.errors import StoreError, UserError


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("NoSuchBucket", "create it"),
        ("AccessDenied", "let these credentials list, read, write and delete"),
        ("SignatureDoesNotMatch", "correct the credentials"),
        ("RequestTimeTooSkewed", "set it (NTP)"),
        ("PermanentRedirect", "set storage.s3.region"),
        ("KMS.NotFoundException", "storage.s3.encryption.kmsKeyId"),
        ("NobodyKnowsThis", "put_object was refused (NobodyKnowsThis)"),
        ("", "put_object was refused (400)"),
    ],
)
def test_a_refusal_names_the_bucket_and_the_remedy_in_one_line(code: str, remedy: str) -> None:
    error = explain("s3://bucket", "put_object", code, 400)
    assert isinstance(error, UserError)
    assert str(error).startswith("s3://bucket: ")
    assert remedy in str(error)
    assert "\n" not in str(error)


def test_what_keeps_arriving_altered_is_the_networks_fault() -> None:
    assert isinstance(explain("s3://bucket", "upload_part", "BadDigest", 400), StoreError)
