"""Which models of a run are evaluated, and what is said of its judge."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from deepicd import prompt
from deepicd.api.run import load_run
from deepicd.data.prompts import PromptCounts
from deepicd.evaluation import predictions
from deepicd.evaluation.engine import read_admissions
from deepicd.evaluation.predictions import Prediction
from deepicd.evaluation.result_files import read_metrics
from deepicd.rewards import Score
from deepicd.rewards.judge import watch
from deepicd.rewards.judge.rollout import Scored
from deepicd.rewards.judge.second import Opinion
from deepicd.run import evaluate as module
from deepicd.run.context import Context
from deepicd.run.evaluate import about_judge, about_sft_end, models, reward_name
from deepicd.run_layout import RunLayout
from deepicd.spec.evaluate import EvaluateSpec
from deepicd.spec.load import parse
from deepicd.spec.run import DeepICDRun
from deepicd.training.sft_validation import SftEnd
from tests.training.runs import prepared_cohort
from tests.unit.spec.test_load import quickstart
from tests.unit.stops import NeverStop

JUDGED, PLAIN = ({"outcome": 1.0, "judge": 0.5}, {"outcome": 1.0})


def with_judge(**judges: object) -> DeepICDRun:
    content = quickstart()
    judge = {"endpoint": "http://127.0.0.1:1/v1", "name": "judge", **judges}
    content["spec"]["reward"] = {"weights": {"judge": 0.1}, "judge": judge}
    return parse(content, "run.yaml")


def prediction(terms: dict[str, float]) -> Prediction:
    return Prediction("1", "1", "M5116", None, reward=0.5, terms=terms)


def test_a_reward_that_lacks_the_runs_judge_has_another_name() -> None:
    assert reward_name(with_judge(), {"base": [prediction(JUDGED)], "grpo": [prediction(JUDGED)]}) == "reward"
    assert reward_name(with_judge(), {"base": [prediction(PLAIN)], "grpo": [prediction(PLAIN)]}) == "reward_without_judge"
    assert reward_name(parse(quickstart(), "run.yaml"), {"base": [prediction(PLAIN)]}) == "reward"


def test_the_report_has_the_rubric_and_the_agreement(tmp_path: Path) -> None:
    log = tmp_path / "judge.jsonl"
    sums = watch.StepSums()
    for value, right in ((1.0, True), (0.0, False)):
        sums.add(Scored(Score(0, {"format": 1.0, "judge": value, "judge_missing": 0.0}), right), [])
    log.write_text(watch.to_json("train", 1, sums) + "\n")
    found = about_judge(with_judge(), log)
    assert found is not None
    assert found["rubric"]["criteria"][0]["name"] == "cites_findings"
    assert (found["completions"], found["missing"], found["alarm"]) == (2, 0, None)
    assert found["agreement"] == {"format": None, "outcome": 1.0}


def test_the_report_has_what_a_second_judge_says_on_the_validation_split(tmp_path: Path) -> None:
    log = tmp_path / "judge.jsonl"
    for split, first, second in (("validation", (True, True), (True, False)), ("train", (True, False), None)):
        sums = watch.StepSums()
        opinion = None if second is None else Opinion(0.5, second)
        score = Score(0, {"judge": 1.0, "judge_missing": 0.0})
        sums.add(Scored(score, True, first, opinion), ["cites", "follows"])
        log.open("a").write(watch.to_json(split, 1, sums) + "\n")
    found = about_judge(with_judge(second={"model": "/models/another"}), log)
    assert found is not None
    second = found["second"]
    assert (second["model"], second["completions"], second["mean"], second["judge"]) == ("/models/another", 1, 0.5, 1.0)
    assert (second["agreed"], second["criteria"]["cites"]["agreed"]) == (0.5, 1.0)
    assert second["criteria"]["cites"]["kappa"] is None


def test_a_run_without_a_judge_reports_none(tmp_path: Path) -> None:
    assert about_judge(parse(quickstart(), "run.yaml"), tmp_path / "none") is None


def test_a_run_that_has_not_trained_reports_only_the_rubric(tmp_path: Path) -> None:
    found = about_judge(with_judge(), tmp_path / "none")
    assert found is not None
    assert (found["completions"], found["agreement"]) == (0, {})


def evaluated(stages: dict[str, object], settings: EvaluateSpec) -> list[str]:
    content = {
        "apiVersion": "deepicd.io/v1alpha1",
        "kind": "DeepICDRun",
        "metadata": {"name": "run"},
        "spec": {"model": {"tiny": {}}, "data": {"synthetic": {}}, "stages": stages},
    }
    context = Context(parse(content, "run.yaml"), RunLayout(Path("run")), NeverStop(), lambda *_: None)
    return list(models(context, settings))


@pytest.mark.parametrize(
    ("stages", "base", "found"),
    [
        ({"sft": {}, "grpo": {}}, True, ["base", "sft", "grpo"]),
        ({"sft": {}, "grpo": {}}, False, ["sft", "grpo"]),
        ({"grpo": {}}, False, ["grpo"]),
        ({"evaluate": {}}, True, ["base"]),
        ({"evaluate": {}}, False, ["base"]),
    ],
)
def test_the_base_model_is_evaluated_unless_left_out_beside_a_trained_one(
    stages: dict[str, object], base: bool, found: list[str]
) -> None:
    assert evaluated(stages, EvaluateSpec(base=base)) == found


@pytest.fixture(scope="module")
def evaluated_run(tmp_path_factory: pytest.TempPathFactory) -> RunLayout:
    """A run whose models' answers are made up, and the rest of its evaluation is not; with a baseline."""
    home = tmp_path_factory.mktemp("run")
    cohort = prepared_cohort(home)
    layout = RunLayout(home / "run")
    place = layout.stage("prepare")
    place.prompts.mkdir(parents=True)
    for split in ("train", "validation", "test"):
        shutil.copy(cohort / f"{split}.parquet", place.prompts)
    PromptCounts(prompt.DEEPICD, 448, {}, 0, 0.0).write(place.prompts)
    content = {
        "apiVersion": "deepicd.io/v1alpha1", "kind": "DeepICDRun", "metadata": {"name": "run"},
        "spec": {"model": {"tiny": {}}, "data": {"prepared": str(cohort)}, "stages": {"sft": {}, "evaluate": {}}},
    }  # fmt: skip
    content["spec"]["data"]["traces"] = "traces.jsonl"  # type: ignore[index]
    context = Context(parse(content, "run.yaml"), layout, NeverStop(), lambda *_: None)

    def answer(context: Context, settings: EvaluateSpec, out: Path) -> None:
        rows = read_admissions(context.prompts("test"), settings.max_admissions)
        models = {
            name: [
                Prediction(row["id"], row["subject_id"], row["code"], row["code"] if place % right else None,
                           () if place % right else ("no_diagnosis",), place % right, {"outcome": float(place % right > 0)},
                           samples=(row["code"], None))
                for place, row in enumerate(rows)
            ]
            for name, right in (("base", 2), ("sft", 5))
        }  # fmt: skip
        out.parent.mkdir(parents=True)
        predictions.write(out, models)
        seconds = context.layout.stage("evaluate").answer_seconds
        seconds.parent.mkdir(parents=True, exist_ok=True)
        seconds.write_text("{}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_answer", answer)
        settings = EvaluateSpec(baselines=["majority"], bootstrap_samples=50)
        module.evaluate(context, settings)
    return layout


def test_one_table_has_the_baselines_before_the_runs_models(evaluated_run: RunLayout) -> None:
    measured = read_metrics(evaluated_run.evaluation.metrics)
    assert list(measured) == list(predictions.read(evaluated_run.evaluation.predictions)) == ["majority", "base", "sft"]
    assert measured["majority"]["rates"]["format"]["value"] is None
    assert "sampling" in measured["majority"]["absent"]
    assert measured["sft"]["absent"]["constrained"] == "stages.evaluate.constrained is false"
    assert measured["majority"]["calibration"]["confidence"] == "the model's own probability"
    assert measured["sft"]["sampling"]["levels"]["code"]["passAt"]["2"]["value"] == 1


def test_differences_classes_and_report_are_written_with_it(evaluated_run: RunLayout) -> None:
    place = evaluated_run.evaluation
    pairs = json.loads(place.comparisons.read_text())["pairs"]
    assert [(pair["first"], pair["second"]) for pair in pairs] == [("majority", "base"), ("majority", "sft"), ("base", "sft")]
    rows = pq.read_table(place.classes).to_pylist()
    assert {row["model"] for row in rows} == {"majority", "base", "sft"}
    assert max(row["training"] for row in rows) > 0
    assert "majority" in place.report.read_text()


def test_groups_of_patients_are_compared_or_absent_with_a_reason(evaluated_run: RunLayout) -> None:
    own = read_metrics(evaluated_run.evaluation.metrics)["sft"]
    absent = {name.removeprefix("fairness.") for name in own["absent"] if name.startswith("fairness.")}
    assert absent | set(own.get("fairness", {})) == {"sex", "age", "race", "insurance", "language"}


def test_measures_of_all_parts_can_be_read_as_rows(evaluated_run: RunLayout) -> None:
    (evaluated_run.folder / "run.yaml").write_text(json.loads(evaluated_run.evaluation.about.read_text())["settings"])
    rows = {(row["model"], row["metric"]) for row in load_run(evaluated_run.folder).measures.to_pylist()}
    assert ("sft", "calibration.levels.code.brier") in rows
    assert ("sft", "sampling.levels.code.majority.gain") in rows


def test_how_sft_ended_is_recorded_in_numbers_and_in_words(tmp_path: Path) -> None:
    assert about_sft_end(tmp_path / "end.json") is None
    SftEnd(61, 90, "validation loss 0.88 < 0.9", 61, 0.88).write(tmp_path / "end.json")
    assert about_sft_end(tmp_path / "end.json") == {
        "step": 61, "steps": 90, "reason": "validation loss 0.88 < 0.9", "weights_of": 61, "loss": 0.88,
        "text": "SFT stopped at step 61 of 90: validation loss 0.88 < 0.9",
    }  # fmt: skip


@pytest.mark.parametrize("damaged", ["predictions", "metrics", "comparisons", "about", "report"])
@pytest.mark.parametrize("how", ["missing", "torn"])
def test_an_evaluation_with_damaged_results_is_not_finished(
    evaluated_run: RunLayout, tmp_path: Path, damaged: str, how: str
) -> None:
    copy = RunLayout(tmp_path / "copy")
    shutil.copytree(evaluated_run.evaluation.folder, copy.evaluation.folder)
    assert module.are_whole(copy)
    path: Path = getattr(copy.evaluation, damaged)
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert module.are_whole(copy) is ((damaged, how) in {("comparisons", "missing"), ("report", "torn")})
