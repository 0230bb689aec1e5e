"""Stores of artefacts: a folder or a bucket, behind one interface."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from deepicd.artifacts.store.base import Store
from deepicd.artifacts.store.folder import FolderStore
from deepicd.errors import UserError
from deepicd.spec.storage import S3Spec, StorageSpec
from deepicd.spec.wording import expected


def store_url(storage: StorageSpec) -> str:
    """The address of a run.yaml's store: `s3://bucket/prefix`, or a folder's absolute path."""
    if storage.s3 is not None:
        return "/".join(part for part in (f"s3://{storage.s3.bucket}", storage.s3.prefix) if part)
    return str(Path(storage.folder or ".").absolute())


def open_store(url: str, *, storage: StorageSpec | None = None, endpoint_url: str | None = None) -> Store:
    """The store at `s3://bucket/prefix` or in a folder; `storage` gives the other settings.

    Raises:
        UserError: the address is not that of a store.
    """
    if url.startswith("s3://"):
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        settings: dict[str, object] = {"bucket": bucket, "prefix": prefix.strip("/")}
        if endpoint_url is not None:
            settings["endpoint"] = endpoint_url
        try:
            base = storage.s3.model_dump(by_alias=False) if storage is not None and storage.s3 is not None else {}
            s3 = S3Spec.model_validate({**base, **settings})
        except ValidationError as error:
            wrong = error.errors(include_url=False)[0]
            field, text = (str(wrong["loc"][0]), expected(wrong)) if wrong["loc"] else expected(wrong).split(": ", 1)
            raise UserError(f"{'--endpoint-url' if field == 'endpoint' else f'{url}: {field}'}: {text}") from None
        from deepicd.artifacts.store.s3 import S3Store

        return S3Store(s3, limit=storage.max_bytes_per_second if storage is not None else None)
    if "://" in url:
        raise UserError(f"{url}: is not the address of a store: write s3://BUCKET/PREFIX or a folder")
    return FolderStore(Path(url))
