"""A folder as a store: on one machine, or on a file server that every machine mounts."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from deepicd import atomic
from deepicd.artifacts.store.base import (
    ChangedError,
    ConflictError,
    DamagedError,
    OnBytes,
    StoredObject,
    Transferred,
)
from deepicd.errors import StoreError, UserError

_BLOCK = 4 * 2**20
_LOCK = f"{atomic.PREFIX}lock"


class FolderStore:
    """Objects are files; an object appears whole or not at all, and is on the disk when a method returns."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def url(self) -> str:
        return str(self.root)

    @property
    def trouble(self) -> str:
        return ""  # nothing is retried

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        # Folders that cannot hold the prefix are skipped.
        start = self.root / prefix.rpartition("/")[0]
        found = []
        with self._errors():
            for folder, _, names in os.walk(start, onerror=_unless_gone):
                for name in names:
                    path = Path(folder, name)
                    key = path.relative_to(self.root).as_posix()
                    if key.startswith(prefix) and not name.startswith(atomic.PREFIX):
                        try:
                            status = path.stat()
                        except FileNotFoundError:
                            continue
                        found.append(StoredObject(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)))
        yield from sorted(found, key=lambda item: item.key)

    def read(self, key: str) -> tuple[bytes, str] | None:
        with self._errors():
            try:
                content = (self.root / key).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return content, sha256(content).hexdigest()

    def write(self, key: str, content: bytes, *, if_absent: bool = False, if_version: str | None = None) -> str:
        version = sha256(content).hexdigest()
        with self._errors():
            self.root.mkdir(parents=True, exist_ok=True)
            # Between machines that mount the folder, the lock works only if their file server supports locks.
            with (self.root / _LOCK).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                present = self.read(key)
                if present is not None and present[1] == version:
                    return version
                if (if_absent and present is not None) or (if_version is not None and (present or ("", ""))[1] != if_version):
                    raise ConflictError(key)
                with atomic.replacing(self.root / key) as file:
                    file.write(content)
        return version

    def upload(self, files: Iterable[tuple[Path, str]], on_bytes: OnBytes | None = None) -> Sequence[Transferred]:
        done = []
        for path, key in files:
            digest = sha256()
            with path.open("rb") as source, self._errors(), atomic.replacing(self.root / key) as target:
                before = os.fstat(source.fileno())
                size = 0
                while block := source.read(min(_BLOCK, before.st_size - size)):
                    digest.update(block)
                    target.write(block)
                    size += len(block)
                    if on_bytes:
                        on_bytes(len(block))
                after = os.fstat(source.fileno())
                if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or size != before.st_size:
                    raise ChangedError(path.name)
            done.append(Transferred(key, size, digest.hexdigest()))
        return done

    def download(self, files: Iterable[tuple[str, Path, Transferred]], on_bytes: OnBytes | None = None) -> None:
        for key, path, expected in files:
            digest = sha256()
            with local_errors(path):
                try:
                    source = (self.root / key).open("rb")
                except (FileNotFoundError, NotADirectoryError):
                    raise DamagedError(f"{key}: is missing") from None
                with source, atomic.replacing(path) as target:
                    size = 0
                    while block := source.read(_BLOCK):
                        digest.update(block)
                        target.write(block)
                        size += len(block)
                        if on_bytes:
                            on_bytes(len(block))
                    check(key, size, digest.hexdigest(), expected)

    def delete(self, keys: Iterable[str]) -> None:
        with self._errors():
            for key in keys:
                path = self.root / key
                path.unlink(missing_ok=True)
                for parent in path.parents:
                    if parent == self.root:
                        break
                    try:
                        parent.rmdir()
                    except OSError:
                        break

    def abort_uploads(self, older_than: datetime) -> int:
        count = 0
        for path in self.root.rglob(f"{atomic.PREFIX}*"):
            with self._errors(), suppress(FileNotFoundError):
                if path.name != _LOCK and datetime.fromtimestamp(path.stat().st_mtime, UTC) < older_than:
                    path.unlink()
                    count += 1
        return count

    def link(self, key: str, seconds: int) -> str:
        return (self.root / key).absolute().as_uri()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise  # the caller handles a local file that disappeared
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise UserError(f"{self.root}: the store is full: free space there, then try again") from None
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise UserError(
                    f"{self.root}: cannot be read or written ({error.strerror}): give permission, or another store"
                ) from None
            raise StoreError(f"{self.root}: {error.strerror}: check that the folder can be reached, then try again") from None


def _unless_gone(error: OSError) -> None:
    """What `os.walk` would pass over: a folder that cannot be read would look empty."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


@contextmanager
def local_errors(path: Path) -> Iterator[None]:
    """Turn errors of writing a downloaded file into `UserError`.

    Raises:
        UserError: the local disk is full or cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise UserError(f"{path.parent}: the disk is full: free space, then run again to resume") from None
        raise UserError(f"{path}: cannot be written ({error.strerror}): give permission, or another folder") from None


def check(key: str, size: int, sha256_hex: str, expected: Transferred) -> None:
    """Raises: DamagedError: size or digest is not as expected."""
    if size != expected.size:
        raise DamagedError(f"{key}: {size} bytes instead of {expected.size}")
    if sha256_hex != expected.sha256:
        raise DamagedError(f"{key}: its content was altered (SHA-256 differs)")
