"""The completions that `stages.grpo.keepRollouts` keeps: a parquet file for each step. They hold note text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from deepicd import atomic
from deepicd.errors import UserError

_NAME = re.compile(r"step-([0-9]{6,})\.parquet")


@dataclass(frozen=True, slots=True)
class KeptRollout:
    """One completion of GRPO."""

    step: int
    id: str
    """The admission's, as in the cohort."""
    rollout: int
    """Its number among the completions of the prompt, from 0."""
    prompt: str
    """The text that the model got, with the special tokens of its chat template."""
    completion: str
    """The text that was scored."""
    gold: str
    """The right code."""
    tokens: int
    """Tokens of the completion."""
    reward: float
    terms: Mapping[str, float]
    """The reward's terms by name, `well_formed` and `truncated`."""


_COLUMNS = [field.name for field in fields(KeptRollout)]


def keep(folder: Path, rollouts: Sequence[KeptRollout]) -> None:
    """Write a step's completions, at least one, instead of those of an earlier try of the step."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with atomic.replacing(_file(folder, rollouts[0].step)) as file:
        pq.write_table(pa.Table.from_pylist([asdict(one) for one in rollouts]), file, compression="zstd")


def steps(folder: Path) -> list[int]:
    """The steps with kept completions, ascending."""
    found = (_NAME.fullmatch(path.name) for path in folder.glob("step-*.parquet"))
    return sorted(int(match[1]) for match in found if match)


def read(folder: Path, step: int) -> Iterator[KeptRollout]:
    """The completions of one step that `steps` lists, in order: prompt by prompt.

    Raises:
        UserError: the step's file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = _file(folder, step)
    try:
        rows: list[dict[str, Any]] = pq.read_table(path, columns=_COLUMNS).to_pylist()
        kept = [KeptRollout(**row) for row in rows]
    except (pa.ArrowException, OSError, TypeError):
        raise UserError(f"{path}: is damaged: fetch it again, or delete it") from None
    yield from kept


def _file(folder: Path, step: int) -> Path:
    return folder / f"step-{step:06d}.parquet"
