"""Verify stored and local files against their manifests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from hashlib import file_digest
from pathlib import Path

from deepicd.artifacts.layout import Committed
from deepicd.artifacts.manifest import Manifest
from deepicd.artifacts.restore import read_manifest
from deepicd.artifacts.store.base import OnBytes, Store, Transferred
from deepicd.run_layout import CARDS

_BATCH = 256 * 2**20
"""Bytes on the local disk at a time; a larger file is a batch of its own."""


def verify(store: Store, ref: Committed, on_bytes: OnBytes | None = None) -> Manifest:
    """Read back every file of a checkpoint or model, and compare its SHA-256.

    Raises:
        DamagedError: one is missing, short or altered; names its key.
        UserError, StoreError: see `Store`.
    """
    made = read_manifest(store, ref)
    for batch in _batches(made):
        with tempfile.TemporaryDirectory(prefix="deepicd-verify-") as folder:
            store.download([(file.key, Path(folder, str(number)), file) for number, file in enumerate(batch)], on_bytes)
    return made


def matches(made: Manifest, folder: Path) -> bool:
    """Whether a local folder holds exactly what a manifest lists, apart from a model's cards."""
    listed = {file.path for file in made.files}
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if not listed <= found <= listed.union(CARDS):
        return False
    return all(
        (folder / file.path).stat().st_size == file.size and _digest(folder / file.path) == file.sha256 for file in made.files
    )


def _batches(made: Manifest) -> Iterator[list[Transferred]]:
    batch: list[Transferred] = []
    size = 0
    for file in made.transfers():
        if batch and size + file.size > _BATCH:
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += file.size
    yield batch


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
