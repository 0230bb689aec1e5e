"""`manifest.json` lists the files of a checkpoint or model. It is written last: without it the checkpoint does not exist.

{"format": 1, "kind": "checkpoint", "run": "quickstart", "attempt": 1, "stage": "grpo", "step": 50,
 "files": [{"path": "actor/model_world_size_1_rank_0.pt", "size": 1024, "sha256": "…"}, …],
 "specDigest": "…", "versions": {"verl": "0.9.1", …}, "metrics": {"reward": 0.61}, "created": "2026-01-31T12:00:00Z"}

Paths are relative to the manifest's folder, separated by `/`, unique and sorted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic.functional_validators import AfterValidator

from deepicd.artifacts.layout import MANIFEST, CheckpointRef, Committed, ModelRef, manifest_key
from deepicd.artifacts.store.base import DamagedError, Transferred

FORMAT: Literal[1] = 1

# Control characters, backslashes and surrogates; an empty part of a path, `.` and `..`.
_ODD = re.compile(r"[\x00-\x1f\\\ud800-\udfff]|(^|/)\.{0,2}(/|\Z)")

_Count = Annotated[int, Field(ge=1)]


def check_path(path: str) -> str:
    """Return the path if a manifest can list it.

    Raises:
        ValueError: it is not the relative path of a file inside the folder.
    """
    if path == MANIFEST or _ODD.search(path):
        raise ValueError(f"is not the path of a file inside the folder (got {json.dumps(path)})")
    return path


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, alias_generator=to_camel, validate_by_name=True)


class ManifestFile(_Strict):
    """One file of a committed folder."""

    path: Annotated[str, AfterValidator(check_path)]
    size: Annotated[int, Field(ge=0)]
    """Bytes."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Manifest(_Strict):
    """The files of a checkpoint or model, and its origin."""

    format: Literal[1] = FORMAT
    kind: Literal["checkpoint", "model"]
    run: str
    attempt: _Count
    stage: Literal["base", "sft", "grpo"]
    step: _Count | None
    """The optimiser step after which it was saved; None for a model."""
    files: Annotated[tuple[ManifestFile, ...], Field(min_length=1)]
    spec_digest: str
    """SHA-256 of run.yaml with every default filled in; empty if the uploader was not given it."""
    versions: dict[str, str]
    """Versions of the software that made it: `deepicd`, `verl`, `torch`, …"""
    metrics: dict[str, FiniteFloat] | None
    """`reward` is the validation reward at this step, `trainingReward` the mean of the step's rollouts."""
    created: AwareDatetime

    @model_validator(mode="after")
    def _files_are_in_order(self) -> Self:
        paths = [file.path for file in self.files]
        if any(first >= second for first, second in pairwise(paths)):
            raise ValueError("files: paths are not sorted and unique")
        if (self.kind == "checkpoint") != (self.step is not None) or (self.kind == "checkpoint" and self.stage == "base"):
            raise ValueError(f"kind: a {self.kind} of stage {self.stage} with step {self.step} is not possible")
        return self

    @property
    def ref(self) -> Committed:
        """The checkpoint or model that the manifest belongs to."""
        return ModelRef(self.attempt, self.stage) if self.step is None else CheckpointRef(self.attempt, self.stage, self.step)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def transfers(self) -> list[Transferred]:
        """The files with their keys below the run's root."""
        return [Transferred(f"{self.ref.folder}/{file.path}", file.size, file.sha256) for file in self.files]

    def to_json(self) -> bytes:
        """The content of `manifest.json`."""
        return self.model_dump_json(by_alias=True, indent=1).encode() + b"\n"


def build(
    ref: Committed,
    sent: Iterable[Transferred],
    *,
    run: str,
    spec_digest: str,
    versions: dict[str, str],
    metrics: dict[str, float] | None,
    created: datetime,
) -> Manifest:
    """The manifest of files that were sent to `ref`'s folder."""
    begin = len(ref.folder) + 1
    files = [ManifestFile(path=file.key[begin:], size=file.size, sha256=file.sha256) for file in sent]
    is_model = isinstance(ref, ModelRef)
    return Manifest.model_validate(
        {
            "kind": "model" if is_model else "checkpoint",
            "run": run,
            "attempt": ref.attempt,
            "stage": ref.stage,
            "step": None if isinstance(ref, ModelRef) else ref.step,
            "files": tuple(sorted(files, key=lambda file: file.path)),
            "spec_digest": spec_digest,
            "versions": versions,
            "metrics": metrics,
            "created": created,
        }
    )


def parse(content: bytes, key: str) -> Manifest:
    """Parse a manifest; errors name it by `key`.

    Raises:
        DamagedError: it is not a manifest of this format, or belongs to another key; names the field.
    """
    try:
        known = json.loads(content)
    except (ValueError, RecursionError):
        raise DamagedError(f"{key}: is not JSON") from None
    if not isinstance(known, dict):
        raise DamagedError(f"{key}: is not a JSON object")
    if known.get("format") != FORMAT or isinstance(known["format"], (bool, float)):
        found = json.dumps(known.get("format"))[:40]
        raise DamagedError(f"{key}: format: is {found}, this deepicd reads {FORMAT}: use the deepicd that wrote it")
    try:
        manifest = Manifest.model_validate_json(content, by_name=False, by_alias=True)
    except ValidationError as error:
        raise DamagedError(f"{key}: {_problem(error)}") from None
    if key != manifest_key(manifest.ref):
        raise DamagedError(f"{key}: is the manifest of {manifest.ref.folder}")
    return manifest


def _problem(error: ValidationError) -> str:
    first: Any = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{field}: {message}" if field else message
