"""The claim of an attempt, `attempts/<n>/writer.json`: two processes cannot write the same attempt.

The writer's id is kept in the local folder, so an uploader that is restarted there is the same writer.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from deepicd import atomic
from deepicd.artifacts.layout import ATTEMPTS, parse_attempt, writer_key
from deepicd.artifacts.store.base import ConflictError, Store
from deepicd.errors import UserError
from deepicd.file_lock import exclusive
from deepicd.run_layout import UploadedFolder
from deepicd.spec.environment import ATTEMPT


@dataclass(frozen=True)
class Writer:
    """The identity of a local folder's uploader, kept in the folder."""

    writer: str
    """Random id."""
    attempts: dict[str, int]
    """Attempt number by the store's URL."""


@contextmanager
def sole_writer(folder: Path) -> Iterator[Writer]:
    """Lock a local folder for this process's uploads; the lock ends with the process, however it ends.

    Raises:
        UserError: another process uploads from it, or it cannot be written.
    """
    with exclusive(
        UploadedFolder(folder).writer_lock,
        lambda _: "is being uploaded by another process: wait for it, or give this one another --dir",
    ):
        yield _read_writer(folder) or _save_writer(folder, Writer(secrets.token_hex(8), {}))


def choose_attempt(
    store: Store, folder: Path, writer: Writer, wanted: int | None = None, environment: Mapping[str, str] = os.environ
) -> int:
    """Claim an attempt: `wanted`, or else DEEPICD_ATTEMPT, or the folder's own, or the next free one.

    Raises:
        UserError: another process writes that attempt.
    """
    if wanted is None:
        wanted = _from_environment(environment) or writer.attempts.get(store.url)
    if wanted is not None:
        claim(store, wanted, writer)
    while wanted is None:
        free = 1 + max((parse_attempt(item.key) or 0 for item in store.list(ATTEMPTS)), default=0)
        try:
            claim(store, free, writer)
            wanted = free
        except UserError:
            continue  # another run claimed it first
    _save_writer(folder, Writer(writer.writer, {**writer.attempts, store.url: wanted}))
    return wanted


def claim(store: Store, attempt: int, writer: Writer) -> None:
    """Become, or remain, the writer of an attempt.

    Raises:
        UserError: another process writes it.
    """
    key = writer_key(attempt)
    found = store.read(key)
    if found is None:
        content = json.dumps({"writer": writer.writer, "host": socket.gethostname()}).encode() + b"\n"
        try:
            store.write(key, content, if_absent=True)
        except ConflictError:
            found = store.read(key)
    if found is not None and (owner := _owner(found[0])).get("writer") != writer.writer:
        raise UserError(
            f"attempt {attempt} is being written by another process (host {owner.get('host', 'unknown')}): "
            "give this one another --attempt"
        )


def _owner(content: bytes) -> dict[str, object]:
    try:
        owner = json.loads(content)
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _from_environment(environment: Mapping[str, str]) -> int | None:
    value = environment.get(ATTEMPT)
    if not value:
        return None
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise UserError(f"{ATTEMPT}: is '{value}': give a number from 1")
    return int(value)


def _read_writer(folder: Path) -> Writer | None:
    path = UploadedFolder(folder).writer
    try:
        return Writer(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise UserError(f"{path}: is damaged: delete it, and give another --attempt") from None


def _save_writer(folder: Path, writer: Writer) -> Writer:
    atomic.write(UploadedFolder(folder).writer, json.dumps(asdict(writer)))
    return writer
