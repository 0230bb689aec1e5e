"""How often a model solves each training prompt. Completions are never written to disk.

Run in a separate process (`python -m deepicd.evaluation.difficulty PLAN`), since it imports vLLM. With several engines it
starts a process for each (`… PLAN ENGINE`) and merges their counts. An interrupted sampling resumes after its last batch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from deepicd import atomic, completion
from deepicd.data.rows import is_local
from deepicd.evaluation.engine import read_admissions
from deepicd.evaluation.engines import run_engines
from deepicd.evaluation.parts import Batches
from deepicd.evaluation.plan import chunks, share, stamp
from deepicd.phases import Phase, PhaseFile
from deepicd.spec.training import DifficultySpec


@dataclass(frozen=True)
class DifficultyPlan:
    """Which model to sample, and on what; stored as JSON."""

    model: str
    """Its folder."""
    prompts: str
    """Parquet file of the training split, with the model's prompts."""
    samples: int
    """Completions per prompt."""
    temperature: float
    top_k: int
    max_prompt_tokens: int
    max_response_tokens: int
    seed: int
    opened_think: bool
    engine: dict[str, Any]
    """Arguments of vLLM's engine."""
    engines: list[dict[str, str]]
    """Variables of the process of each engine: which GPUs it has."""
    batch: int
    """Prompts per batch."""
    parts: str
    """Folder of the counts so far."""
    solved: str
    """File to write, with a line `{"id": …, "solved": …}` for each prompt."""
    progress: str
    """File that gets a line after each batch, in the format of verl's metrics logger."""
    total: str
    """File that gets the total number of those lines."""
    phases: str

    @property
    def key(self) -> str:
        """Digest of everything that decides the counts; counts of an interrupted sampling with another key are not used."""
        files = {"engines", "parts", "solved", "progress", "total", "phases"}
        chosen = {name: value for name, value in asdict(self).items() if name not in files}
        read = [stamp(Path(path)) for path in (self.model, self.prompts)]
        return sha256(json.dumps([chosen, read], sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Chosen:
    """The decision by difficulty."""

    kept: frozenset[str]
    """Ids of the prompts that are kept."""
    histogram: tuple[int, ...]
    """Number of prompts by the number of completions that solve them, from 0 to `samples`."""
    dropped_solved: int
    dropped_unsolved: int

    def to_json(self, settings: DifficultySpec) -> dict[str, Any]:
        """The content of difficulty.json."""
        return {
            "samples": settings.samples,
            "dropSolved": settings.drop_solved,
            "dropUnsolved": settings.drop_unsolved,
            "prompts": sum(self.histogram),
            "kept": len(self.kept),
            "droppedSolved": self.dropped_solved,
            "droppedUnsolved": self.dropped_unsolved,
            "histogram": list(self.histogram),
        }


def choose(solved: Mapping[str, int], settings: DifficultySpec) -> Chosen:
    """Leave out prompts by the share of their completions that solve them; a prompt that meets both limits counts as solved."""
    easy, hard = settings.drop_solved, settings.drop_unsolved
    shares = {identity: number / settings.samples for identity, number in solved.items()}
    too_easy = {identity for identity, share in shares.items() if easy is not None and share >= easy}
    too_hard = {identity for identity, share in shares.items() if hard is not None and share <= hard} - too_easy
    histogram = [0] * (settings.samples + 1)
    for number in solved.values():
        histogram[number] += 1
    return Chosen(frozenset(solved) - too_easy - too_hard, tuple(histogram), len(too_easy), len(too_hard))


def read_solved(path: Path) -> dict[str, int]:
    """The number of completions that solve each prompt, by its id."""
    return {row["id"]: row["solved"] for row in map(json.loads, path.read_text().splitlines())}


def count_solved(texts: Sequence[tuple[str, bool]], row: Mapping[str, Any], *, opened_think: bool) -> int:
    """How many completions, each with whether it was cut off, name the row's code."""
    gold = row["code"]
    local = (gold,) if is_local(row["extra_info"]) else ()
    return sum(
        completion.parse(text, opened_think=opened_think, truncated=truncated, local=local).code == gold
        for text, truncated in texts
    )


def sample(plan: DifficultyPlan, plan_file: str) -> None:
    """Sample the remaining prompts with all engines, and write the counts.

    Raises:
        SystemExit: the process of an engine failed; it has written why.
    """
    rows = read_admissions(Path(plan.prompts), None)
    batches = len(chunks(len(rows), plan.batch))
    parts = Batches(Path(plan.parts), plan.key)
    parts.begin()
    Path(plan.total).write_text(str(batches))
    if len(plan.engines) == 1:
        sample_share(plan, 0, rows)
    else:
        run_engines("deepicd.evaluation.difficulty", plan_file, plan.engines)
    lines = [
        json.dumps({"id": identity, "solved": solved}) for batch in range(batches) for identity, solved in parts.read(batch)
    ]
    atomic.write(Path(plan.solved), "".join(f"{line}\n" for line in lines))


def sample_share(plan: DifficultyPlan, number: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """Sample the remaining batches of one engine."""
    slices, parts = chunks(len(rows), plan.batch), Batches(Path(plan.parts), plan.key)
    left = [batch for batch in share(len(slices), number, len(plan.engines)) if not parts.has(batch)]
    if not left:
        return
    # One engine's phases represent all of them.
    phases = PhaseFile(Path(plan.phases)) if number == 0 else None
    if phases is not None:
        phases.enter(Phase.VLLM)
    from deepicd.evaluation.generate import Generator, Sampling

    generator = Generator(
        Path(plan.model), max_prompt_tokens=plan.max_prompt_tokens, max_response_tokens=plan.max_response_tokens,
        engine=plan.engine, seed=plan.seed,
    )  # fmt: skip
    if phases is not None:
        phases.enter(Phase.DIFFICULTY)
    for batch in left:
        chosen = rows[slices[batch]]
        [drawn] = generator.generate([row["prompt"] for row in chosen], Sampling(plan.temperature, plan.top_k, plan.samples))
        counts = []
        for row, choices in zip(chosen, drawn, strict=True):
            texts = [(choice.text, choice.truncated) for choice in choices]
            counts.append((str(row["id"]), count_solved(texts, row, opened_think=plan.opened_think)))
        parts.write(batch, counts)
        with Path(plan.progress).open("a") as progress:
            done = sum(map(parts.has, range(len(slices))))
            progress.write(json.dumps({"step": done, "data": {}}) + "\n")
    generator.close()


def main(plan_file: str, engine: str | None = None) -> None:
    """Run the plan in a JSON file, or the share of one of its engines."""
    plan = DifficultyPlan(**json.loads(Path(plan_file).read_text()))
    if engine is None:
        sample(plan, plan_file)
    else:
        sample_share(plan, int(engine), read_admissions(Path(plan.prompts), None))


if __name__ == "__main__":
    main(*sys.argv[1:])
