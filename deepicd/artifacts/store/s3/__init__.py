"""A bucket as a store. Only this package uses boto3."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from deepicd.artifacts.store.base import ConflictError, OnBytes, StoredObject, Transferred
from deepicd.artifacts.store.s3.client import Bucket
from deepicd.artifacts.store.s3.download import Downloader
from deepicd.artifacts.store.s3.error_codes import MissingError
from deepicd.artifacts.store.s3.parallel import RateLimit, in_parallel
from deepicd.artifacts.store.s3.transport import checksum
from deepicd.artifacts.store.s3.upload import Uploader, ignore
from deepicd.spec.storage import S3Spec


class S3Store:
    """The objects below a prefix of a bucket."""

    def __init__(self, settings: S3Spec, *, retry_seconds: float = 600.0, limit: int | None = None) -> None:
        """`retry_seconds`: how long a failing request is retried; `limit`: bytes per second for uploads."""
        self.url = f"s3://{settings.bucket}/{settings.prefix}".rstrip("/")
        self._root = f"{settings.prefix}/" if settings.prefix else ""
        self._bucket = Bucket(settings, retry_seconds)
        self._uploader = Uploader(self._bucket, RateLimit(limit).take if limit is not None else ignore)
        self._downloader = Downloader(self._bucket)

    @property
    def trouble(self) -> str:
        return self._bucket.trouble

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        for page in self._bucket.pages("list_objects_v2", Prefix=self._root + prefix):
            for item in page.get("Contents", []):
                modified = datetime.fromisoformat(item["LastModified"])
                yield StoredObject(item["Key"].removeprefix(self._root), item["Size"], modified)

    def read(self, key: str) -> tuple[bytes, str] | None:
        try:
            answer = self._bucket.call("get_object", Key=self._root + key)
        except MissingError:
            return None
        return answer["Body"], answer["ETag"]

    def write(self, key: str, content: bytes, *, if_absent: bool = False, if_version: str | None = None) -> str:
        condition = {"IfNoneMatch": "*"} if if_absent else {"IfMatch": if_version} if if_version is not None else {}
        try:
            answer = self._bucket.call(
                "put_object", Key=self._root + key, Body=content, ChecksumCRC32=checksum(content), **condition
            )
        except ConflictError:
            # An earlier try of this request may have succeeded although its answer was lost.
            present = self.read(key)
            if present is None or present[0] != content:
                raise
            return present[1]
        except MissingError:  # some stores' answer if the version to replace does not exist
            raise ConflictError(key) from None
        return str(answer["ETag"])

    def upload(self, files: Iterable[tuple[Path, str]], on_bytes: OnBytes | None = None) -> Sequence[Transferred]:
        sent = self._uploader.upload([(path, self._root + key) for path, key in files], on_bytes or ignore)
        return [Transferred(item.key.removeprefix(self._root), item.size, item.sha256) for item in sent]

    def download(self, files: Iterable[tuple[str, Path, Transferred]], on_bytes: OnBytes | None = None) -> None:
        chosen = [(self._root + key, path, expected) for key, path, expected in files]
        self._downloader.download(chosen, on_bytes or ignore)

    def delete(self, keys: Iterable[str]) -> None:
        # One by one: the key is part of what is signed, and not every store supports deleting many in one request.
        in_parallel(lambda key: self._bucket.call("delete_object", Key=self._root + key), keys, threading.Event())

    def abort_uploads(self, older_than: datetime) -> int:
        pages = self._bucket.pages("list_multipart_uploads", Prefix=self._root)
        count = 0
        for item in [item for page in pages for item in page.get("Uploads", [])]:
            if datetime.fromisoformat(item["Initiated"]) < older_than:
                with suppress(MissingError):
                    self._bucket.call("abort_multipart_upload", Key=item["Key"], UploadId=item["UploadId"])
                    count += 1
        return count

    def link(self, key: str, seconds: int) -> str:
        return self._bucket.transport.link(self._root + key, seconds)
