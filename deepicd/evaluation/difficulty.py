"""How often a model solves each training prompt. Completions are never written to disk.

Run in a separate process (`python -m deepicd.evaluation.difficulty PLAN`), since it imports vLLM.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepicd import completion
from deepicd.appended import AppendedFile
from deepicd.data.rows import is_local
from deepicd.evaluation.engine import read_admissions
from deepicd.evaluation.plan import CHUNK
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
    solved: str
    """File that gets a line `{"id": …, "solved": …}` for each prompt; those that it has are not sampled again."""
    progress: str
    """File that gets a line after each batch, in the format of verl's metrics logger."""
    total: str
    """File that gets the total number of those lines."""
    phases: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """What difficulty decides."""

    kept: frozenset[str]
    """Ids of the prompts that stay."""
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
    """Leave out prompts by the share of their completions that solve them; a prompt on both sides counts as solved."""
    easy, hard = settings.drop_solved, settings.drop_unsolved
    shares = {identity: number / settings.samples for identity, number in solved.items()}
    too_easy = {identity for identity, share in shares.items() if easy is not None and share >= easy}
    too_hard = {identity for identity, share in shares.items() if hard is not None and share <= hard} - too_easy
    histogram = [0] * (settings.samples + 1)
    for number in solved.values():
        histogram[number] += 1
    return Chosen(frozenset(solved) - too_easy - too_hard, tuple(histogram), len(too_easy), len(too_hard))


def read_solved(path: Path) -> dict[str, int]:
    """What a file says so far; a torn last line is left out."""
    found = {}
    for line in _whole_lines(path):
        row = json.loads(line)
        found[row["id"]] = row["solved"]
    return found


def _whole_lines(path: Path) -> Iterator[bytes]:
    if path.exists():
        yield from (line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"}\n"))


def count_solved(texts: Sequence[tuple[str, bool]], row: Mapping[str, Any], *, opened_think: bool) -> int:
    """How many completions, each with whether it was cut off, name the row's code."""
    gold = row["code"]
    local = (gold,) if is_local(row["extra_info"]) else ()
    return sum(
        completion.parse(text, opened_think=opened_think, truncated=truncated, local=local).code == gold
        for text, truncated in texts
    )


def sample(plan: DifficultyPlan) -> None:
    """Sample the prompts that are left."""
    from deepicd.evaluation.generate import Generator, Sampling

    path = Path(plan.solved)
    done = read_solved(path)
    rows = [row for row in read_admissions(Path(plan.prompts), None) if str(row["id"]) not in done]
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    Path(plan.total).write_text(str(len(chunks)))
    if not chunks:
        return
    phases = PhaseFile(Path(plan.phases))
    phases.enter(Phase.VLLM)
    generator = Generator(
        Path(plan.model), max_prompt_tokens=plan.max_prompt_tokens, max_response_tokens=plan.max_response_tokens,
        engine=plan.engine, seed=plan.seed,
    )  # fmt: skip
    phases.enter(Phase.DIFFICULTY)
    content = path.read_bytes() if path.exists() else b""
    file = AppendedFile(path, torn=bool(content) and not content.endswith(b"\n"))
    for step, chunk in enumerate(chunks, start=1):
        [drawn] = generator.generate([row["prompt"] for row in chunk], Sampling(plan.temperature, plan.top_k, plan.samples))
        lines = []
        for row, choices in zip(chunk, drawn, strict=True):
            texts = [(choice.text, choice.truncated) for choice in choices]
            solved = count_solved(texts, row, opened_think=plan.opened_think)
            lines.append(json.dumps({"id": str(row["id"]), "solved": solved}) + "\n")
        file.add("".join(lines).encode())
        with Path(plan.progress).open("a") as progress:
            progress.write(json.dumps({"step": step, "data": {}}) + "\n")
    generator.close()


def main(plan_file: str) -> None:
    """Run the plan in a JSON file."""
    sample(DifficultyPlan(**json.loads(Path(plan_file).read_text())))


if __name__ == "__main__":
    main(sys.argv[1])
