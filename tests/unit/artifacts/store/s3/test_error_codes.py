from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from deepicd.artifacts.store.s3.error_codes import explain
from deepicd.errors import StoreError, UserError


def error(code: str, status: int, **headers: str) -> ClientError:
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": {name.replace("_", "-"): value for name, value in headers.items()}}
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": metadata}, "PutObject")  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("NoSuchBucket", "create it"),
        ("AccessDenied", "let these credentials list, read, write and delete"),
        ("SignatureDoesNotMatch", "correct the credentials"),
        ("RequestTimeTooSkewed", "set it (NTP)"),
        ("PermanentRedirect", "set storage.s3.region"),
        ("407", "the proxy asks for a user and password"),
        ("KMS.NotFoundException", "storage.s3.encryption.kmsKeyId"),
        ("NobodyKnowsThis", "put_object was refused (NobodyKnowsThis)"),
        ("", "put_object was refused (400)"),
    ],
)
def test_an_error_code_becomes_one_line_with_the_bucket_and_the_remedy(code: str, remedy: str) -> None:
    found = explain("s3://bucket", "put_object", error(code, 400))
    assert isinstance(found, UserError)
    assert str(found).startswith("s3://bucket: ")
    assert remedy in str(found)
    assert "\n" not in str(found)


def test_a_request_that_keeps_arriving_altered_is_the_networks_fault() -> None:
    assert isinstance(explain("s3://bucket", "upload_part", error("BadDigest", 400)), StoreError)


@pytest.mark.parametrize(
    ("location", "where"),
    [
        ("https://s3.example:9000/bucket/key?x=1", "redirects to https://s3.example:9000: set"),
        ("/login", "to another path: set"),
    ],
)
def test_a_redirect_names_the_address_to_set(location: str, where: str) -> None:
    found = explain("s3://bucket", "put_object", error("307", 307, location=location))
    assert isinstance(found, UserError)
    assert where in str(found)
    assert str(found).endswith("set storage.s3.endpoint to the address of the S3 API")


def test_a_redirect_to_another_region_names_the_region() -> None:
    found = explain("s3://bucket", "head_object", error("301", 301, location="https://x", x_amz_bucket_region="eu-west-1"))
    assert "set storage.s3.region" in str(found)
