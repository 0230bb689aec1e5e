"""The process of the stage `distill`: `python -m deepicd.distill.main PLAN`.

It writes `traces.jsonl` and `distill.json`, each whole or not at all. Its log has no note text.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from deepicd import atomic, icd10
from deepicd.data import rows, sources
from deepicd.distill import later_parts
from deepicd.distill.answers import Answers
from deepicd.distill.harvest import Admission, Counts, Harvest
from deepicd.distill.later_parts import LaterParts
from deepicd.distill.plan import DistillPlan
from deepicd.distill.question import prompts
from deepicd.distill.teacher import Teacher
from deepicd.errors import DeepICDError, UserError
from deepicd.new_lines import NewLines
from deepicd.phases import Phase, PhaseFile
from deepicd.prompt import Prompt
from deepicd.spec.data import NotesSource
from deepicd.spec.distill import DistillSpec

EVERY_SECONDS = 5.0
"""Time between two lines of progress."""
_BATCH = 256
_ROOM = "free space or correct the rights, then run again: the answers so far are kept"


class Progress:
    """Writes lines of progress, and adds up the time of all launches."""

    def __init__(self, path: Path, total: int, settings: DistillSpec) -> None:
        """`path`: of this launch, next to those of earlier ones."""
        self._path, self._total, self._prices = path, total, settings.teacher.prices
        self._began = time.monotonic()
        self._last = (self._began, 0)
        self._before = sum(map(_seconds, sorted(path.parent.glob("launch-*.jsonl"))))
        self._step = 0

    @property
    def seconds(self) -> float:
        """Of all launches."""
        return self._before + time.monotonic() - self._began

    def cost(self, counts: Counts) -> float | None:
        """Cost of all answers; None without prices."""
        if self._prices is None:
            return None
        return (counts.prompt_tokens * self._prices.prompt + counts.completion_tokens * self._prices.completion) / 1e6

    def note(self, counts: Counts, teacher: Teacher) -> None:
        """Write a line."""
        now = time.monotonic()
        then, answered = self._last
        self._last = (now, teacher.asked)
        self._step = max(self._step, min(counts.settled, self._total))
        values = {
            "kept": counts.kept / counts.settled if counts.settled > 0 else None,
            "rate": (teacher.asked - answered) / (now - then) if now > then else None,
            "cost": self.cost(counts),
            "waiting": teacher.waiting or None,
            "seconds": round(now - self._began, 1),
        }
        data = {f"distill/{name}": value for name, value in values.items() if value is not None}
        with self._path.open("a") as file:
            file.write(json.dumps({"step": self._step, "data": data}) + "\n")


def _seconds(launch: Path) -> float:
    lines = NewLines(launch).read()
    return float(json.loads(lines[-1])["data"].get("distill/seconds", 0.0)) if lines else 0.0


def distill(plan: DistillPlan) -> None:
    """Run the plan.

    Raises:
        DeepICDError: the stage cannot continue; the answers so far are kept.
    """
    settings = DistillSpec.model_validate(plan.settings)
    phases = PhaseFile(Path(plan.phases))
    phases.enter(Phase.LATER_PARTS)
    later = _collect_later(plan)
    split = pq.ParquetFile(plan.prompts).metadata.num_rows
    total = min(split, settings.max_admissions or split)
    Path(plan.total).write_text(str(total))
    phases.enter(Phase.TEACHER)
    with LaterParts(later) as parts:
        teacher = Teacher(settings.teacher, Answers(Path(plan.answers)), plan.identity)
        own = None if plan.own_prompt is None else Prompt(**plan.own_prompt)
        in_flight = 2 * settings.teacher.concurrency
        harvest = Harvest(settings, teacher, seed=plan.seed, own=own, english=plan.english, in_flight=in_flight)
        progress = Progress(Path(plan.progress), total, settings)
        traces = asyncio.run(_work(plan, settings, teacher, harvest, parts, progress))
    lines = (json.dumps({"id": identity, "trace": trace}, ensure_ascii=False) + "\n" for identity, trace in traces.items())
    with atomic.replacing(Path(plan.traces)) as file:
        file.writelines(line.encode() for line in lines)
    atomic.write(
        Path(plan.counts), json.dumps(_counts(plan, settings, harvest.counts, teacher, progress, later), indent=2) + "\n"
    )
    Path(plan.later).unlink(missing_ok=True)
    phases.enter(Phase.ENDING)


async def _work(
    plan: DistillPlan, settings: DistillSpec, teacher: Teacher, harvest: Harvest, parts: LaterParts, progress: Progress
) -> dict[str, str]:
    async with teacher:
        await teacher.check()
        noting = asyncio.create_task(_note(progress, harvest, teacher))
        try:
            traces = await harvest.run(lambda: _admissions(plan, settings.max_admissions, parts))
        finally:
            noting.cancel()
        teacher.check_answered()
        progress.note(harvest.counts, teacher)
        return traces


async def _note(progress: Progress, harvest: Harvest, teacher: Teacher) -> None:
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        progress.note(harvest.counts, teacher)


def _admissions(plan: DistillPlan, limit: int | None, parts: LaterParts) -> Iterator[Admission]:
    asks = Prompt(**plan.student_prompt)
    file = pq.ParquetFile(plan.prompts)
    key = rows.key(file.schema_arrow.names)
    left = file.metadata.num_rows if limit is None else limit
    for batch in file.iter_batches(_BATCH, columns=[key, "code", "prompt"]):
        for row in batch.slice(0, left).to_pylist():
            code, identity = row["code"], str(row[key])
            title = icd10.description(code) if icd10.is_valid(code) else ""
            yield Admission(identity, code, title, asks.note(row["prompt"]), parts.of(identity))
        left -= min(left, len(batch))


def _collect_later(plan: DistillPlan) -> Path | None:
    source = Path(plan.discharge) if plan.discharge is not None else None
    found = source or (None if plan.notes is None else NotesSource.model_validate(plan.notes))
    if found is None:
        return None
    path = Path(plan.later)
    path.parent.mkdir(parents=True, exist_ok=True)
    later_parts.write(path, sources.parts(Path(plan.cohort), "train", found, path.parent))
    return path


def _counts(
    plan: DistillPlan, settings: DistillSpec, counts: Counts, teacher: Teacher, progress: Progress, later: Path | None
) -> dict[str, Any]:
    cost = progress.cost(counts)
    chosen = settings.teacher
    return {
        "promptVersion": None if plan.own_prompt is not None else prompts()["version"],
        "teacher": {
            "run": chosen.run,
            "model": chosen.model,
            "endpoint": chosen.endpoint,
            "name": chosen.name,
            "dataUse": chosen.data_use,
        },
        "oracle": settings.oracle,
        "admissions": counts.admissions,
        "traces": counts.kept,
        "answers": counts.answers,
        "rejected": {rule: counts.rejected[rule] for rule in sorted(counts.rejected)},
        "unanswered": {reason: teacher.failed[reason] for reason in sorted(teacher.failed)},
        "tokens": {"prompt": counts.prompt_tokens, "completion": counts.completion_tokens},
        "answersWithoutTokens": counts.without_tokens,
        "seconds": round(progress.seconds, 1),
        "cost": None if cost is None else round(cost, 4),
        "laterParts": "unknown" if later is None else "compared",
        "english": plan.english,
        "filters": settings.filters.model_dump(by_alias=True, mode="json"),
    }


def main(plan_file: str) -> int:
    """Run the plan in a JSON file; returns the exit code."""
    plan = DistillPlan(**json.loads(Path(plan_file).read_text()))
    try:
        distill(plan)
    except DeepICDError as error:
        return _failed(plan, error)
    except (OSError, sqlite3.Error) as error:
        found = error.strerror if isinstance(error, OSError) else str(error)
        return _failed(plan, UserError(f"{_folder(plan)}: cannot be written or read ({found}): {_ROOM}"))
    return 0


def _folder(plan: DistillPlan) -> Path:
    return Path(plan.traces).parent


def _failed(plan: DistillPlan, error: DeepICDError) -> int:
    """Say why the stage ends; returns the exit code."""
    sys.stderr.write(f"{error}\n")
    with suppress(OSError):  # on a full disk; the log has the line too
        atomic.write(Path(plan.failure), json.dumps({"message": str(error), "code": error.code}))
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
