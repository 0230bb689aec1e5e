from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepicd.evaluation import difficulty
from deepicd.evaluation.difficulty import DifficultyPlan, choose, count_solved, read_solved, sample, sample_share
from deepicd.evaluation.engine import read_admissions
from deepicd.spec.training import DifficultySpec

SOLVED = {"a": 0, "b": 1, "c": 3, "d": 4}


def test_nothing_is_left_out_by_default() -> None:
    found = choose(SOLVED, DifficultySpec(samples=4))
    assert (found.kept, found.histogram) == (frozenset("abcd"), (1, 1, 0, 1, 1))


@pytest.mark.parametrize(
    ("sides", "kept", "dropped"),
    [
        ({"drop_solved": 1}, "abc", (1, 0)),
        ({"drop_unsolved": 0}, "bcd", (0, 1)),
        ({"drop_solved": 0.75}, "ab", (2, 0)),
        ({"drop_solved": 1, "drop_unsolved": 0.25}, "c", (1, 2)),
        ({"drop_solved": 0.25, "drop_unsolved": 0.25}, "", (3, 1)),
    ],
)
def test_each_side_leaves_out_its_own(sides: dict[str, float], kept: str, dropped: tuple[int, int]) -> None:
    settings = DifficultySpec(samples=4, **sides)
    found = choose(SOLVED, settings)
    assert found.kept == frozenset(kept)
    assert (found.dropped_solved, found.dropped_unsolved) == dropped
    written = found.to_json(settings)
    assert written["prompts"] == written["kept"] + written["droppedSolved"] + written["droppedUnsolved"] == 4


def test_a_completion_solves_by_its_code_and_a_local_code_can_be_right() -> None:
    right, wrong = ("x</think><diagnosis>M51.16</diagnosis>", False), ("x</think><diagnosis>M5117</diagnosis>", False)
    row = {"code": "M5116", "extra_info": {"local_code": False}}
    assert count_solved([right, wrong, right, ("no code", True)], row, opened_think=True) == 2
    local = {"code": "M5199", "extra_info": {"local_code": True}}
    assert count_solved([("x</think><diagnosis>M5199</diagnosis>", False)], local, opened_think=True) == 1


class Generator:
    """Completions that name the gold code of even admissions half of the time; it notes what it was asked."""

    asked: ClassVar[list[str]] = []
    fails_after: ClassVar[int] = 10**9

    def __init__(self, model: Path, **settings: Any) -> None:
        pass

    def generate(self, chats: Sequence[Any], sampling: Any) -> list[list[list[Any]]]:
        """See `deepicd.evaluation.generate.Generator`."""
        if len(self.asked) >= self.fails_after:
            raise KeyboardInterrupt
        Generator.asked += [chat[-1]["content"] for chat in chats]
        right, wrong = Completion("x</think><diagnosis>I10</diagnosis>"), Completion("x</think><diagnosis>J189</diagnosis>")
        return [[[right, wrong] if int(chat[-1]["content"]) % 2 == 0 else [wrong, wrong] for chat in chats]]

    def close(self) -> None:
        """Nothing to close."""


@dataclass(frozen=True)
class Completion:
    """Of a generator."""

    text: str
    truncated: bool = False


def chat(number: int) -> dict[str, str]:
    """A turn that has the number for its text."""
    return {"role": "user", "content": str(number)}


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DifficultyPlan:
    """Seven prompts in batches of two, with a generator that is not vLLM's."""
    rows = [
        {"id": number, "subject_id": 1, "code": "I10", "prompt": [chat(number)], "extra_info": {"x": 1}} for number in range(7)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("1")
    module = ModuleType("deepicd.evaluation.generate")
    vars(module).update(Generator=Generator, Sampling=lambda *values: values)
    monkeypatch.setitem(sys.modules, "deepicd.evaluation.generate", module)
    monkeypatch.setattr(Generator, "asked", [])
    monkeypatch.setattr(Generator, "fails_after", 10**9)
    files = {name: str(tmp_path / name) for name in ("model", "parts", "solved", "progress", "total", "phases")}
    return DifficultyPlan(
        prompts=str(tmp_path / "train.parquet"), samples=2, temperature=1.0, top_k=-1, max_prompt_tokens=9,
        max_response_tokens=9, seed=1, opened_think=True, engine={}, engines=[{}], batch=2, **files,
    )  # fmt: skip


COUNTS = {str(number): (number + 1) % 2 for number in range(7)}


def test_counts_are_written_in_the_prompts_order_with_progress(plan: DifficultyPlan) -> None:
    sample(plan, "plan.json")
    assert list(read_solved(Path(plan.solved)).items()) == list(COUNTS.items())
    assert [json.loads(line)["step"] for line in Path(plan.progress).read_text().splitlines()] == [1, 2, 3, 4]
    assert Path(plan.total).read_text() == "4"


def test_an_interrupted_sampling_asks_only_about_the_batches_it_lost(
    plan: DifficultyPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Generator, "fails_after", 4)
    with pytest.raises(KeyboardInterrupt):
        sample(plan, "plan.json")
    assert not Path(plan.solved).exists()
    monkeypatch.setattr(Generator, "fails_after", 10**9)
    sample(plan, "plan.json")
    assert sorted(Generator.asked) == list("0123456")
    assert read_solved(Path(plan.solved)) == COUNTS


def sample_in_turn(plan: DifficultyPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sample with the plan's engines one after the other, the last one first."""

    def run(module: str, plan_file: str, engines: Sequence[Any]) -> None:
        assert (module, plan_file) == ("deepicd.evaluation.difficulty", "plan.json")
        for number in reversed(range(len(engines))):
            sample_share(plan, number, read_admissions(Path(plan.prompts), None))

    monkeypatch.setattr(difficulty, "run_engines", run)
    sample(plan, "plan.json")


def test_several_engines_sample_each_prompt_once(plan: DifficultyPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    sample_in_turn(replace(plan, engines=[{}, {}, {}]), monkeypatch)
    assert sorted(Generator.asked) == list("0123456")
    assert list(read_solved(Path(plan.solved)).items()) == list(COUNTS.items())


def test_an_interrupted_sampling_resumes_on_another_number_of_gpus(
    plan: DifficultyPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Generator, "fails_after", 2)
    with pytest.raises(KeyboardInterrupt):
        sample(plan, "plan.json")
    monkeypatch.setattr(Generator, "fails_after", 10**9)
    sample_in_turn(replace(plan, engines=[{}, {}]), monkeypatch)
    assert sorted(Generator.asked) == list("0123456")


@pytest.mark.parametrize("changed", ["weights", "samples", "temperature", "seed"])
def test_counts_of_another_model_or_sampling_do_not_count(plan: DifficultyPlan, changed: str) -> None:
    sample(plan, "plan.json")
    if changed == "weights":
        Path(plan.model, "weights").write_text("other")
    other: dict[str, Any] = {} if changed == "weights" else {changed: 3}
    sample(replace(plan, **other), "plan.json")
    assert len(Generator.asked) == 14
