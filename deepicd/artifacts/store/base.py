"""The interface of a store of artefacts. Keys are relative to the store's root, with parts separated by `/`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

OnBytes = Callable[[int], None]
"""Called with the number of bytes that were just transferred, from any thread."""


@dataclass(frozen=True)
class StoredObject:
    """One object of a store."""

    key: str
    size: int
    """Bytes."""
    modified: datetime
    """By the store's clock."""


@dataclass(frozen=True)
class Transferred:
    """A file that was sent; the digest is of the bytes as they were read for sending."""

    key: str
    size: int
    sha256: str


class ConflictError(Exception):
    """A conditional write was refused: the object exists already, or does not have the expected version."""


class Store(Protocol):
    """A folder or an S3 prefix. Methods may be called from several threads.

    Every method raises `UserError` for what the user must fix (no permission, no such bucket, wrong secret, disk full) and
    `StoreError` when the store cannot be reached or keeps failing after the retries; both name the store and the remedy.
    """

    @property
    def url(self) -> str:
        """`s3://bucket/prefix` or the folder's path, as messages and `latest.json` show it."""

    @property
    def trouble(self) -> str:
        """Why a request is being retried, without secrets; empty while the store answers."""

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """All objects whose key begins with `prefix`, in the order of their keys."""

    def read(self, key: str) -> tuple[bytes, str] | None:
        """A small object's content and its version (ETag), or None."""

    def write(self, key: str, content: bytes, *, if_absent: bool = False, if_version: str | None = None) -> str:
        """Write a small object in one request; returns its version. Without a condition it replaces an existing object.

        A retry after a lost answer is not a conflict: an object with exactly this content counts as written.

        Raises:
            ConflictError: the condition does not hold.
        """

    def upload(self, files: Iterable[tuple[Path, str]], on_bytes: OnBytes | None = None) -> Sequence[Transferred]:
        """Send files to keys in parallel, each read once; returns in the order given once all are durable.

        An interrupted large upload resumes with the parts that the store already has, even after a restart.

        Raises:
            ChangedError: a file changed while it was read.
        """

    def download(self, files: Iterable[tuple[str, Path, Transferred]], on_bytes: OnBytes | None = None) -> None:
        """Fetch keys to paths by parallel ranged reads and verify size and SHA-256; a partial file is resumed.

        A path is created only once its content is verified.

        Raises:
            DamagedError: an object is missing, short or altered; names its key.
        """

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; a missing one is not an error."""

    def abort_uploads(self, older_than: datetime) -> int:
        """Abort unfinished uploads that began before `older_than`; returns how many."""

    def link(self, key: str, seconds: int) -> str:
        """A link that opens the object without credentials for `seconds`; for a folder its `file:` address."""


class DamagedError(Exception):
    """An object is missing, short or altered."""


class ChangedError(Exception):
    """A file changed while it was read."""
