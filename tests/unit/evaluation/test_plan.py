"""Which engine asks which model about which batch."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from deepicd.evaluation.plan import EvaluationPlan, Model, chunks, share
from deepicd.run_layout import CARDS


@pytest.mark.parametrize("engines", [1, 2, 3, 8])
def test_each_batch_belongs_to_exactly_one_engine(engines: int) -> None:
    shares = [share(7, engine, engines) for engine in range(engines)]
    assert sorted(batch for own in shares for batch in own) == list(range(7))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_batches_hold_all_admissions_once() -> None:
    found = [number for own in chunks(9, 4) for number in range(9)[own]]
    assert found == list(range(9))


def plan(folder: Path, **changed: object) -> EvaluationPlan:
    for name in ("test.parquet", "cohort.parquet"):
        if not (folder / name).exists():
            (folder / name).touch()
    (folder / "sft").mkdir(exist_ok=True)
    models = [asdict(Model("other", "some/model", own=False, prompt=None)), *_own(folder)]
    known = EvaluationPlan(
        models=models, test=str(folder / "test.parquet"), cohort=str(folder / "cohort.parquet"), prompt={"user": "{note}"},
        max_admissions=None, samples=2, temperature=1.0, top_k=-1, max_prompt_tokens=8, max_response_tokens=4, seed=0,
        opened_think=True, reward={}, constrained=False, premature_closure=False, stages="", engine={}, engines=[{}],
        batch=4,
        parts=str(folder / "parts"), out="", seconds="", progress="", total="", phases="", failure="",
    )  # fmt: skip
    return replace(known, **changed)  # type: ignore[arg-type]


def _own(folder: Path) -> list[dict[str, object]]:
    return [asdict(Model(name, str(folder / "sft"), own=True, prompt=None)) for name in ("sft", "grpo")]


def test_the_runs_models_share_an_engine_and_others_have_their_own(tmp_path: Path) -> None:
    assert [[model.name for model in group] for group in plan(tmp_path).groups()] == [["other"], ["sft", "grpo"]]


@pytest.mark.parametrize(
    ("changed", "same"),
    [({"samples": 3}, False), ({"batch": 5}, False), ({"seed": 1}, False), ({"constrained": True}, False),
     ({"reward": {"preset": "strict"}}, False), ({"engines": [{}, {}]}, True),
     ({"progress": "x"}, True), ({"models": []}, True)],
)  # fmt: skip
def test_answers_count_while_what_decides_them_is_the_same(tmp_path: Path, changed: dict[str, object], same: bool) -> None:
    model = Model("sft", str(tmp_path / "sft"), own=True, prompt=None)
    assert (plan(tmp_path).key(model) == plan(tmp_path, **changed).key(model)) == same


def test_answers_of_other_weights_do_not_count(tmp_path: Path) -> None:
    model = Model("sft", str(tmp_path / "sft"), own=True, prompt=None)
    before = plan(tmp_path).key(model)
    (tmp_path / "sft" / "model.safetensors").write_bytes(b"weights")
    assert plan(tmp_path).key(model) != before


def test_answers_outlast_the_cards_that_an_evaluation_writes_beside_the_weights(tmp_path: Path) -> None:
    model = Model("sft", str(tmp_path / "sft"), own=True, prompt=None)
    before = plan(tmp_path).key(model)
    for name in CARDS:
        (tmp_path / "sft" / name).write_text("card")
    assert plan(tmp_path).key(model) == before
