"""TLS with an own authority, and encryption by the server."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from deepicd.artifacts.store.s3 import S3Store
from deepicd.errors import DeepICDError, UserError
from deepicd.spec.storage import S3Spec
from tests.cluster.certificates import Authority
from tests.storage.fault_proxy import FaultProxy
from tests.storage.seaweed import BUCKET, Seaweed, secret_folder

MIB = 2**20
SSE = "x-amz-server-side-encryption"


def store(proxy: FaultProxy, tmp_path: Path, retry_seconds: float = 10, **settings: Any) -> S3Store:
    credentials = {"secretFolder": secret_folder(tmp_path / "secret")}
    spec = {"bucket": BUCKET, "prefix": tmp_path.name, "endpoint": proxy.endpoint, "credentials": credentials, **settings}
    return S3Store(S3Spec.model_validate(spec), retry_seconds=retry_seconds)


def sources(tmp_path: Path) -> list[Path]:
    """One that is sent whole, and one in parts."""
    (tmp_path / "small").write_bytes(b"small")
    (tmp_path / "large").write_bytes(b"large" * (4 * MIB))
    return [tmp_path / "small", tmp_path / "large"]


def test_files_are_uploaded_and_downloaded_with_an_own_authority(tls: FaultProxy, authority: Authority, tmp_path: Path) -> None:
    trusting = store(tls, tmp_path, caBundle=str(authority.certificate))
    files = sources(tmp_path)
    sent = trusting.upload([(path, path.name) for path in files])
    trusting.download([(item.key, tmp_path / "out" / item.key, item) for item in sent])
    for path in files:
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("act", ["call", "put"])
def test_a_certificate_of_an_unknown_authority_is_refused_with_the_remedy(act: str, tls: FaultProxy, tmp_path: Path) -> None:
    wary = store(tls, tmp_path)
    with pytest.raises(UserError, match=r"certificate not trusted: name the file of its authority in storage\.s3\.caBundle"):
        wary.read("latest.json") if act == "call" else wary.upload([(sources(tmp_path)[0], "small")])
    assert tls.headers == []  # nothing was sent before the certificate was refused


def test_a_bundle_without_a_certificate_is_for_the_user_to_fix(tls: FaultProxy, tmp_path: Path) -> None:
    (tmp_path / "bundle.pem").write_text("not a certificate")
    with pytest.raises(UserError, match=r"caBundle: .*bundle\.pem: has no readable certificate"):
        store(tls, tmp_path, caBundle=str(tmp_path / "bundle.pem"))


@pytest.mark.parametrize(
    ("encryption", "expected"),
    [
        ({"type": "s3"}, {SSE: "AES256"}),
        ({"type": "kms", "kmsKeyId": "key-1"}, {SSE: "aws:kms", f"{SSE}-aws-kms-key-id": "key-1"}),
    ],
)
def test_every_new_object_asks_for_the_chosen_encryption(
    encryption: dict[str, str], expected: dict[str, str], seaweed: Seaweed, tmp_path: Path
) -> None:
    # The server has no keys and may refuse: what it was asked for counts here.
    proxy = FaultProxy(seaweed.endpoint)
    chosen = store(proxy, tmp_path, retry_seconds=0.1, encryption=encryption)
    for path in sources(tmp_path):
        with suppress(DeepICDError):
            chosen.upload([(path, path.name)])
    with suppress(DeepICDError):
        chosen.write("latest.json", b"{}")
    proxy.close()
    asked = [headers for kind, headers in proxy.headers if kind in ("put", "create")]
    assert len(asked) >= 3
    for headers in asked:
        assert {name: headers.get(name) for name in expected} == expected
