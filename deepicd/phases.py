"""Phases of a stage, as its processes note them: a JSON line when a phase begins, `{"phase": …, "of": …, "time": …}`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from deepicd.new_lines import NewLines


class Phase(StrEnum):
    """What a stage does now, in the words that are shown."""

    TABLES = "tables"
    """Synthetic tables are written."""
    COHORT = "cohort"
    """Admissions are read and selected."""
    EXAMPLES = "SFT examples"
    """Notes are joined with traces."""
    PROMPTS = "model and prompts"
    """The base model is made, and notes are shortened to their budgets."""
    LATER_PARTS = "later parts"
    """What only the later part of each discharge summary has is collected, for the rules of `distill`."""
    SERVER = "teacher's server"
    """The vLLM server of the teacher starts."""
    TEACHER = "teacher's answers"
    """The teacher is asked about the training admissions, and its answers are filtered."""
    DIFFICULTY = "difficulty"
    """The start model answers the training prompts, for `stages.grpo.difficulty`."""
    DOWNLOAD = "download"
    """A checkpoint or model is fetched from the store."""
    NODES = "nodes"
    """The run waits for the nodes of its Ray cluster."""
    IMPORTS = "imports"
    """The stage's process starts, and imports the training stack or vLLM."""
    RAY = "Ray"
    """Ray and the trainer's process start."""
    MODEL = "model"
    """Ranks start, and the model and a checkpoint are loaded."""
    VLLM = "vLLM"
    """vLLM's engines start and get the weights."""
    VALIDATION = "validation"
    """Completions of the validation split are generated and scored, or SFT's held-out examples."""
    ROLLOUTS = "first rollouts"
    """Completions of the first step are generated."""
    STEPS = "steps"
    """Steps are made."""
    SAVING = "saving"
    """A checkpoint is written."""
    ANSWERS = "answers"
    """A model answers the test split."""
    BASELINE = "baseline"
    """A baseline is trained, and answers the test split."""
    METRICS = "metrics"
    """Metrics and their intervals are computed."""
    REPORT = "report"
    """The report is written."""
    ENDING = "ending processes"
    """All steps are made; the training stack's processes end."""


IN_LOOP = frozenset({Phase.ROLLOUTS, Phase.STEPS})
"""Phases that begin only once a training stage makes steps."""


@dataclass(frozen=True, slots=True)
class PhaseStart:
    """A phase begins."""

    phase: Phase
    of: str | None = None
    """What it is about, such as a model's name."""
    log: Path | None = None
    """The log of the process that is in this phase; None for the command's own process."""

    def __str__(self) -> str:
        return self.phase if self.of is None else f"{self.phase} of {self.of}"


OnPhase = Callable[[PhaseStart], None]


def ignore(start: PhaseStart) -> None:
    """An `OnPhase` for those who do not follow phases."""


class PhaseFile:
    """The file of a stage's phases: written by the stage's processes, read by the process that follows them."""

    def __init__(self, path: Path, log: Path | None = None) -> None:
        """`log`: of the processes that write it."""
        self.path = path
        self._log = log
        self._lines = NewLines(path)
        self._last: tuple[Phase, str | None] | None = None

    def enter(self, phase: Phase, of: str | None = None) -> None:
        """Note that a phase begins; nothing if this object noted it last."""
        if (phase, of) == self._last:
            return
        self._last = (phase, of)
        with self.path.open("a") as file:
            file.write(json.dumps({"phase": phase, "of": of, "time": round(time.time(), 3)}) + "\n")

    def new(self) -> Iterator[PhaseStart]:
        """The phases noted since the last call."""
        for line in self._lines.read():
            row = json.loads(line)
            yield PhaseStart(Phase(row["phase"]), row["of"], self._log)
