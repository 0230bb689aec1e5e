"""Download objects to files: ranges in parallel, verified before the file gets its name, resumed when interrupted."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from hashlib import sha256
from io import FileIO
from itertools import islice
from pathlib import Path

from deepicd.artifacts.store.base import DamagedError, OnBytes, Transferred
from deepicd.artifacts.store.folder import check, local_errors
from deepicd.artifacts.store.s3.client import Bucket
from deepicd.artifacts.store.s3.error_codes import MissingError, OutOfRangeError
from deepicd.artifacts.store.s3.parallel import AT_ONCE, StoppedError, in_parallel
from deepicd.artifacts.store.s3.transport import PIECE_BYTES
from deepicd.artifacts.store.s3.upload import ignore

RANGE_BYTES = 16 * 2**20
"""Bytes per request: ranges of 8 MiB cost the server a fifth more."""
RANGES_AHEAD = 16
"""Ranges of a file requested before the oldest of them is hashed: few enough to be still in memory then."""
TRIES = 3
"""Downloads with a wrong digest before an object counts as damaged."""


@dataclass
class Downloader:
    """Fetches objects of a bucket."""

    bucket: Bucket
    _ranges: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(AT_ONCE, "range"))

    def download(self, files: Iterable[tuple[str, Path, Transferred]], on_bytes: OnBytes) -> None:
        """See `Store.download`; keys are those of the bucket."""
        chosen, stop = list(files), threading.Event()
        for folder in {path.parent for _, path, _ in chosen}:
            with local_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
        in_parallel(lambda item: self._file(*item, on_bytes, stop), chosen, stop)

    def _file(self, key: str, path: Path, expected: Transferred, on_bytes: OnBytes, stop: threading.Event) -> None:
        partial = path.with_name(f".{path.name}.{expected.sha256[:16]}.part")
        for more in reversed(range(TRIES)):
            try:
                self._fill(partial, key, expected, on_bytes, stop)
            except DamagedError:
                partial.unlink(missing_ok=True)
                # An interrupted download or the network may be the cause: start from scratch.
                if not more:
                    raise
                on_bytes = ignore  # these bytes are already counted
            else:
                break
        with local_errors(path):
            partial.replace(path)

    def _fill(self, partial: Path, key: str, expected: Transferred, on_bytes: OnBytes, stop: threading.Event) -> None:
        """Fill a file by ranges, each written as it arrives, and hash in order what the file then has."""
        with local_errors(partial), FileIO(os.open(partial, os.O_RDWR | os.O_CREAT, 0o644), "r+") as file:
            # Whole ranges before the first hole are kept. Without holes, or after a crash, the digest differs.
            hole = os.lseek(file.fileno(), 0, os.SEEK_HOLE) if os.fstat(file.fileno()).st_size else 0
            present = min(hole, expected.size) // RANGE_BYTES * RANGE_BYTES
            file.truncate(present)
            broken = threading.Event()
            writing = threading.Lock()  # the kernel lets one thread at a time write to a file; the others would spin

            def fetch(start: int) -> None:
                def write(piece: bytes, offset: int) -> None:
                    if broken.is_set() or stop.is_set():
                        raise StoppedError
                    with writing, local_errors(partial):
                        while piece:
                            count = os.pwrite(file.fileno(), piece, start + offset)
                            piece, offset = piece[count:], offset + count

                length = min(RANGE_BYTES, expected.size - start)
                try:
                    size = self.bucket.request("get_object", lambda transport: transport.get(key, start, length, write), stop)
                except MissingError:
                    raise DamagedError(f"{key}: is missing") from None
                except OutOfRangeError:
                    raise DamagedError(f"{key}: is shorter than {expected.size} bytes") from None
                if size != expected.size:
                    raise DamagedError(f"{key}: {size} bytes instead of {expected.size}")

            missing = iter(range(present, expected.size or 1, RANGE_BYTES))  # an empty object is requested too
            requested: deque[Future[None]] = deque()
            digest, piece = sha256(), bytearray(PIECE_BYTES)
            try:
                for start in range(0, expected.size or 1, RANGE_BYTES):
                    for each in islice(missing, RANGES_AHEAD - len(requested)):
                        requested.append(self._ranges.submit(fetch, each))
                    if start >= present:
                        requested.popleft().result()
                    for offset in range(start, min(start + RANGE_BYTES, expected.size), PIECE_BYTES):
                        count = os.preadv(file.fileno(), [piece], offset)
                        digest.update(memoryview(piece)[:count])
                        on_bytes(count)
            finally:
                broken.set()
                for future in requested:
                    future.cancel()
                wait(requested)
        check(key, expected.size, digest.hexdigest(), expected)
