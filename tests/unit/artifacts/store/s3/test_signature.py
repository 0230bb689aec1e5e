from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from deepicd.artifacts.store.s3.signature import query_string, signed

NOW = datetime(2026, 5, 17, 8, 30, 1, tzinfo=UTC)
KEYS = st.text(st.characters(codec="utf-8", exclude_characters="/", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)


def by_boto3(method: str, url: str, headers: dict[str, str], credentials: Credentials, region: str) -> str:
    """The header that botocore's signer adds."""
    request = AWSRequest(method, url, headers=headers)
    request.context["client_config"] = Config(s3={"payload_signing_enabled": False})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auth, "get_current_datetime", lambda: NOW.replace(tzinfo=None))
        auth.S3SigV4Auth(credentials, "s3", region).add_auth(request)
    return str(request.headers["Authorization"])


@given(
    method=st.sampled_from(["GET", "PUT"]),
    key=KEYS,
    query=st.dictionaries(st.sampled_from(["partNumber", "uploadId"]), KEYS),
    headers=st.dictionaries(
        st.sampled_from(["x-amz-checksum-crc32", "range", "x-amz-server-side-encryption"]), st.just("a b=")
    ),
    token=st.one_of(st.none(), st.just("token/+=")),
)
def test_it_is_what_boto3_signs(
    method: str, key: str, query: dict[str, str], headers: dict[str, str], token: str | None
) -> None:
    path = "/bucket/" + quote(key, safe="/-_.~")
    url = f"https://store.example{path}" + (f"?{query_string(query)}" if query else "")
    expected = by_boto3(method, url, headers, Credentials("key", "secret", token), "eu-west-1")
    credentials = ReadOnlyCredentials("key", "secret", token)
    found = signed(method, path, query, {**headers, "host": "store.example"}, credentials, "eu-west-1", NOW)
    assert found["authorization"] == expected


def test_the_secret_key_is_in_no_header() -> None:
    found = signed("GET", "/", {}, {"host": "h"}, ReadOnlyCredentials("key", "the-secret", None), "r", NOW)
    assert "the-secret" not in str(found)
