from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deepicd.artifacts.store.base import Store
from deepicd.artifacts.store.folder import FolderStore
from deepicd.artifacts.store.s3 import S3Store
from deepicd.spec.storage import S3Spec
from tests.cluster.certificates import Authority
from tests.storage.fault_proxy import FaultProxy
from tests.storage.seaweed import ACCESS_KEY, BUCKET, SECRET_KEY, Seaweed, secret_folder


@pytest.fixture
def proxy(seaweed: Seaweed) -> Iterator[FaultProxy]:
    made = FaultProxy(seaweed.endpoint)
    yield made
    made.close()


MakeS3 = Callable[..., S3Store]


@pytest.fixture
def make_s3(seaweed: Seaweed, tmp_path: Path) -> MakeS3:
    """Makes stores below a prefix of the test's own."""

    def make(
        endpoint: str | None = None, key: str = ACCESS_KEY, secret: str = SECRET_KEY, bucket: str = BUCKET, **options: float
    ) -> S3Store:
        credentials = {"secretFolder": secret_folder(tmp_path / f"secret-{key}", key, secret)}
        settings = {"bucket": bucket, "prefix": tmp_path.name, "endpoint": endpoint or seaweed.endpoint}
        return S3Store(S3Spec.model_validate({**settings, "credentials": credentials}), **{"retry_seconds": 30, **options})  # type: ignore[arg-type]

    return make


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, make_s3: MakeS3) -> Store:
    """Each kind of store in turn: what holds for one holds for the other."""
    return make_s3() if request.param == "s3" else FolderStore(tmp_path / "store")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "authority"
    folder.mkdir()
    return Authority(folder)


@pytest.fixture
def tls(seaweed: Seaweed, authority: Authority) -> Iterator[FaultProxy]:
    """The server behind TLS."""
    made = FaultProxy(seaweed.endpoint, authority.server("store"))
    yield made
    made.close()
