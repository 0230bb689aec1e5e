"""`latest.json` names the newest checkpoint. It never moves back to an older one."""

from __future__ import annotations

import json
from dataclasses import dataclass

import structlog

from deepicd.artifacts.layout import LATEST, CheckpointRef, parse_folder
from deepicd.artifacts.store.base import ConflictError, DamagedError, Store


@dataclass(frozen=True)
class Latest:
    """What `latest.json` says."""

    ref: CheckpointRef
    manifest_sha256: str

    def to_json(self) -> bytes:
        """The content of `latest.json`."""
        content = {
            "attempt": self.ref.attempt, "stage": self.ref.stage, "step": self.ref.step,
            "checkpoint": self.ref.folder, "manifestSha256": self.manifest_sha256,
        }  # fmt: skip
        return json.dumps(content).encode() + b"\n"


def parse(content: bytes) -> Latest:
    """Read `latest.json`.

    Raises:
        DamagedError: it is not what `Latest.to_json` writes.
    """
    try:
        fields = json.loads(content)
        ref = parse_folder(fields["checkpoint"])
        digest = fields["manifestSha256"]
        named = (fields["attempt"], fields["stage"], fields["step"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise DamagedError(f"{LATEST}: is damaged: the next checkpoint replaces it") from None
    if not isinstance(ref, CheckpointRef) or named != (ref.attempt, ref.stage, ref.step) or not isinstance(digest, str):
        raise DamagedError(f"{LATEST}: contradicts itself: the next checkpoint replaces it")
    return Latest(ref, digest)


def read(store: Store) -> Latest | None:
    """The newest checkpoint according to `latest.json`, or None.

    Raises:
        DamagedError: it cannot be read.
    """
    found = store.read(LATEST)
    return parse(found[0]) if found else None


def advance(store: Store, latest: Latest) -> None:
    """Make `latest.json` name this checkpoint, unless it names a newer one."""
    while True:
        found = store.read(LATEST)
        try:
            if found is None:
                store.write(LATEST, latest.to_json(), if_absent=True)
            elif (current := _readable(found[0])) is None or current.ref < latest.ref:
                store.write(LATEST, latest.to_json(), if_version=found[1])
        except ConflictError:
            continue  # another attempt changed it first: read it again
        return


def _readable(content: bytes) -> Latest | None:
    try:
        return parse(content)
    except DamagedError as error:
        structlog.get_logger().warning("latest.json is replaced", reason=str(error))
        return None
