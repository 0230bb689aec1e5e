"""The plan of the process that runs the stage `distill`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class DistillPlan:
    """The questions and the place of each file; stored as JSON."""

    settings: dict[str, Any]
    """Fields of `DistillSpec`."""
    identity: str
    """Of the teacher's model, for the keys of its answers."""
    own_prompt: dict[str, Any] | None
    """Fields of the `Prompt` that the teacher was trained with, if it is asked with that."""
    seed: int
    prompts: str
    """Parquet file of the training split, as the student sees it."""
    student_prompt: dict[str, Any]
    """Fields of the `Prompt` of that file."""
    cohort: str
    """Folder of the cohort."""
    notes: dict[str, Any] | None
    """Fields of `NotesSource`, if the cohort was built from the user's own notes."""
    discharge: str | None
    """Folder with the table of discharge summaries, if it was built from them. Without either, later parts are unknown."""
    english: bool
    answers: str
    """Folder of the kept answers."""
    later: str
    """File for the text of the later parts; deleted at the end."""
    traces: str
    counts: str
    """distill.json."""
    progress: str
    """File that gets lines of progress, in the format of verl's metrics logger."""
    total: str
    """File that gets the number of admissions."""
    phases: str
    failure: str
    """File for the reason why the stage cannot continue."""

    def to_json(self) -> str:
        """The plan as JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"
