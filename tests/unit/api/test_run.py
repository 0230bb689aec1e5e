from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from deepicd import Run, Sample, UserError, load_run
from deepicd.evaluation.metrics import compute
from deepicd.evaluation.predictions import Prediction
from deepicd.rewards.cohort_words import FILE, CohortWords
from deepicd.run_layout import RunLayout
from tests.unit.api.conftest import CANARY, CODES

EARLIER = Path(__file__).parents[1] / "run" / "version_0_1_0" / "folder"


@pytest.fixture
def run(layout: RunLayout) -> Run:
    return load_run(str(layout.folder))


def test_a_run_has_its_name_and_its_spec_with_defaults(run: Run) -> None:
    assert (run.name, run.spec.seed) == ("quickstart", 42)
    assert len(repr(run)) < 200


def test_predictions_have_a_column_for_each_term(run: Run) -> None:
    table = run.predictions
    assert table.column_names == [
        "model", "id", "subject_id", "gold", "prediction", "faults", "reward", "fiscal_years", "local_gold", "samples",
        "terms.outcome",
    ]  # fmt: skip
    assert table["prediction"].to_pylist() == ["I10", None, None, *CODES]
    assert table["terms.outcome"].to_pylist() == [0.0] * 3 + [1.0] * 3


def test_metrics_are_by_model(run: Run) -> None:
    accuracy = {name: found["levels"]["code"]["accuracy"]["value"] for name, found in run.metrics.items()}
    assert accuracy == {"sft": pytest.approx(1 / 3), "grpo": 1}


def test_measures_are_the_metrics_as_rows(run: Run) -> None:
    rows = {(row["model"], row["metric"]): row for row in run.measures.to_pylist()}
    measure = run.metrics["sft"]["levels"]["chapter"]["macroF1"]
    row = rows["sft", "levels.chapter.macroF1"]
    assert [row["value"], row["low"], row["high"]] == [measure["value"], None, None]
    assert rows["grpo", "byChapter.13.f1"]["value"] == 1
    assert rows["sft", "levels.code.byFrequency.unseen.accuracy"]["value"] == 0


def test_a_measure_has_the_ends_of_its_interval(run: Run, layout: RunLayout) -> None:
    records = [Prediction(str(number), f"p{number}", "I10", "I10" if number % 2 else None) for number in range(12)]
    layout.evaluation.metrics.write_text(json.dumps({"sft": compute(records, bootstrap_samples=50)}))
    measure = run.metrics["sft"]["levels"]["chapter"]["accuracy"]
    assert measure["interval"] is not None
    [row] = [row for row in run.measures.to_pylist() if row["metric"] == "levels.chapter.accuracy"]
    assert [row["value"], row["low"], row["high"]] == [measure["value"], *measure["interval"]]


@pytest.mark.parametrize("damage", ["", "{"])
def test_a_damaged_record_of_the_run_is_named(damage: str, run: Run, layout: RunLayout) -> None:
    place = layout.stage("prepare")
    place.prompts.mkdir(parents=True, exist_ok=True)
    (place.prompts / "prompts.json").write_text(damage)
    place.completed.write_text(damage)
    for read in (lambda: run.prompts, lambda: run.seconds):
        with pytest.raises(UserError, match="is damaged: delete"):
            read()


def test_curves_have_a_row_for_each_step_so_far(run: Run, layout: RunLayout) -> None:
    table = run.curves
    assert table.select(["stage", "step", "loss", "reward", "terms.outcome"]).to_pylist() == [
        {"stage": "sft", "step": 1, "loss": 2.0, "reward": None, "terms.outcome": None},
        {"stage": "sft", "step": 2, "loss": 1.5, "reward": None, "terms.outcome": None},
        {"stage": "grpo", "step": 1, "loss": None, "reward": 0.25, "terms.outcome": 0.5},
    ]
    assert str(table.schema.field("kl").type) == "double"
    with (layout.stage("sft").metrics / "launch-0001.jsonl").open("a") as file:
        file.write('{"step": 3, "data": {"train/loss": 1.0}}\n')
    assert run.curves.num_rows == table.num_rows + 1


def test_a_run_that_has_not_begun_has_no_curves(layout: RunLayout) -> None:
    shutil.rmtree(layout.stages)
    assert load_run(layout.folder).curves.num_rows == 0


def test_the_cohort_has_no_note_unless_it_is_asked_for(run: Run) -> None:
    table = run.cohort()
    assert (table.num_rows, "note" in table.column_names) == (9, False)
    assert CANARY not in str(table.to_pylist())
    assert {row["split"] for row in table.to_pylist()} == {"train", "validation", "test"}
    with_notes = run.cohort(notes=True).to_pylist()
    assert with_notes[0] == {**table.to_pylist()[0], "note": f"{CANARY} train 0"}


def test_prompts_seconds_and_models_are_those_of_the_finished_stages(run: Run, layout: RunLayout) -> None:
    assert run.prompts["splits"]["train"]["shortened"] == 1
    assert run.seconds == {"sft": 12.5, "grpo": 12.5}
    assert run.models == {"sft": layout.stage("sft").model, "grpo": layout.stage("grpo").model}


def test_a_run_scores_by_its_own_words(run: Run, layout: RunLayout) -> None:
    sample = Sample("Weak toe extension on the left.</think> <diagnosis>M5116</diagnosis>", "M5116", "Weak toe extension left.")
    usual = run.score([sample])
    CohortWords(200, 0, {}).write(layout.stage("prepare").folder / FILE)  # not in English: reasoning is not scored
    assert usual[0].terms["reasoning"] >= 0
    assert run.score([sample])[0].terms["reasoning"] != run.score([sample])[0].terms["reasoning"]  # NaN


def test_a_run_of_version_0_1_0_is_read() -> None:
    run = load_run(EARLIER)
    assert run.name == "old"
    assert run.predictions.num_rows > 0
    assert run.measures.num_rows > 100
    assert set(run.metrics) == {"base", "sft", "grpo"}
    assert set(run.curves["stage"].to_pylist()) == {"sft", "grpo"}


def test_a_folder_of_fetched_results_is_read(tmp_path: Path) -> None:
    shutil.copytree(EARLIER / "evaluate", tmp_path / "out")
    run, whole = load_run(tmp_path / "out"), load_run(EARLIER)
    assert (run.name, run.spec) == (whole.name, whole.spec)
    assert run.predictions == whole.predictions
    assert run.metrics == whole.metrics
    shared = [name for name in whole.curves.column_names if name in run.curves.column_names]
    assert run.curves.select(shared) == whole.curves.select(shared)
    with pytest.raises(UserError, match="whose stage prepare has finished"):
        run.cohort()


@pytest.mark.parametrize(
    ("remove", "read", "message"),
    [
        ("evaluate", "predictions", r"predictions\.parquet: does not exist: evaluate the run first"),
        ("evaluate", "measures", r"metrics\.json: does not exist: evaluate the run first"),
        ("stages", "prompts", r"prompts\.json: does not exist: give the folder of a run whose stage prepare"),
    ],
)
def test_what_is_not_there_yet_is_said(layout: RunLayout, remove: str, read: str, message: str) -> None:
    shutil.rmtree(layout.folder / remove)
    with pytest.raises(UserError, match=message):
        getattr(load_run(layout.folder), read)


def test_a_cohort_that_is_not_prepared_is_said(layout: RunLayout) -> None:
    shutil.rmtree(layout.stages)
    with pytest.raises(UserError, match=r"train\.parquet: does not exist: give the folder of a run whose stage prepare"):
        load_run(layout.folder).cohort()


def test_a_folder_without_a_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has neither run\.yaml nor about\.json: give the folder of a run"):
        load_run(tmp_path)
