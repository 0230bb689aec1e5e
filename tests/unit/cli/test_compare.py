"""`deepicd compare`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from deepicd.artifacts.store.folder import FolderStore
from deepicd.cli.compare import compare
from deepicd.errors import UserError
from deepicd.evaluation import predictions
from deepicd.evaluation.predictions import Prediction
from deepicd.run_layout import RunLayout
from tests.unit.evaluation.report.reports import made_report
from tests.unit.evaluation.report.test_inputs import save
from tests.unit.evaluation.test_comparisons import answers
from tests.unit.spec.test_load import quickstart


def run(*arguments: object) -> str:
    app = typer.Typer()
    app.command()(compare)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, Exception):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def evaluated(folder: Path, models: Mapping[str, Sequence[Prediction]]) -> Path:
    place = RunLayout(folder).evaluation
    place.folder.mkdir(parents=True)
    predictions.write(place.predictions, models)
    return folder


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    first = evaluated(tmp_path / "seed-0", {"sft": answers(0.2, seed=1), "grpo": answers(0.9, seed=2)})
    return first, evaluated(tmp_path / "seed-1", {"grpo": answers(0.9, seed=3)})


def test_models_of_several_runs_have_the_name_of_their_run(two: tuple[Path, Path]) -> None:
    printed = run(*two, "--bootstrap", 100)
    assert "120 admissions of 60 patients" in printed
    for name in ("seed-0/sft", "seed-0/grpo", "seed-1/grpo"):
        assert name in printed
    [line] = [line for line in printed.splitlines() if line.startswith("seed-1/grpo - seed-0/sft")]
    assert line.endswith(", significant")


def test_long_names_of_runs_cost_no_digit_of_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = [f"deepicd-r1-7b-mimic-seed-{number}" for number in (1, 2)]
    runs = [evaluated(tmp_path / name, {"grpo": answers(0.5, seed=1, reward=0.5)}) for name in names]
    header, *rows = run(*runs, "--bootstrap", 0).partition("\nDifferences")[0].splitlines()[1:]
    assert header.split() == ["MODEL", "CHAPTER", "CATEGORY", "CODE", "ACCURACY", "FORMAT", "VALID", "REWARD"]
    joined = "".join(row[: header.index(" CHAPTER")].strip() for row in rows)
    assert all(f"{name}/grpo" in joined for name in names)
    assert sum(row.endswith("0.500  ") for row in rows) == 2


def test_one_run_compares_its_own_models(two: tuple[Path, Path]) -> None:
    assert "\ngrpo - sft: +" in run(two[0], "--bootstrap", 100, "--measure", "code.accuracy")


def test_json_has_metrics_and_all_differences(two: tuple[Path, Path]) -> None:
    found = json.loads(run(*two, "--bootstrap", 100, "--json", "--model", "grpo"))
    assert list(found["models"]) == ["seed-0/grpo", "seed-1/grpo"]
    [pair] = found["comparisons"]["pairs"]
    assert {"code.macroF1", "category.accuracy", "validCode"} <= set(pair["differences"])


def test_admissions_that_a_model_did_not_answer_are_left_out_and_counted(tmp_path: Path, two: tuple[Path, Path]) -> None:
    fewer = evaluated(tmp_path / "small", {"sft": answers(1, seed=1, number=100)})
    printed = run(two[1], fewer, "--bootstrap", 0)
    assert "100 admissions of 50 patients" in printed
    assert "seed-1/grpo: 20 admissions left out" in printed
    assert "small/sft:" not in printed.split("Differences")[0]


def test_a_run_is_read_from_its_store(tmp_path: Path, two: tuple[Path, Path]) -> None:
    store = FolderStore(tmp_path / "store" / "stored" / "0123456789ab")
    content = RunLayout(two[1]).evaluation.predictions.read_bytes()
    store.write("attempts/1/evaluation/predictions.parquet", content)
    store.write("attempts/1/evaluation/metrics.json", b"{}")
    printed = run(two[0], tmp_path / "store" / "stored", "--bootstrap", 0)
    assert "stored/grpo" in printed


def test_a_folder_of_fetched_results_is_read_too(two: tuple[Path, Path]) -> None:
    assert "evaluate/sft" in run(two[0] / "evaluate", two[1], "--bootstrap", 0)


def test_what_cannot_be_compared_is_refused(tmp_path: Path, two: tuple[Path, Path]) -> None:
    with pytest.raises(UserError, match="--model: no run has base: the models are grpo, sft"):
        run(*two, "--model", "base")
    other = evaluated(tmp_path / "other", {"sft": [Prediction("x", "x", "I10", None)]})
    with pytest.raises(UserError, match="no admission in common"):
        run(two[0], other)
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "run.yaml").touch()
    with pytest.raises(UserError, match="is not evaluated yet"):
        run(begun)


def test_a_page_is_written_beside_what_is_printed(two: tuple[Path, Path], tmp_path: Path) -> None:
    result = run(*two, "--bootstrap", 100, "--json", "--html", tmp_path / "pages" / "compare.html")
    assert list(json.loads(result)["models"]) == ["seed-0/sft", "seed-0/grpo", "seed-1/grpo"]
    page = (tmp_path / "pages" / "compare.html").read_text(encoding="utf-8")
    assert "Settings of seed-0, seed-1 are not known" in page


def test_the_page_has_what_runs_recorded_in_folders_and_stores(tmp_path: Path) -> None:
    for name in ("here", "there"):
        save(made_report(), tmp_path / name)
    store = FolderStore(tmp_path / "store" / "stored" / "0123456789ab")
    for path in (tmp_path / "there" / "evaluate").iterdir():
        store.write(f"attempts/1/evaluation/{path.name}", path.read_bytes())
    run(tmp_path / "here", tmp_path / "store" / "stored", "--bootstrap", 0, "--html", tmp_path / "compare.html")
    page = (tmp_path / "compare.html").read_text(encoding="utf-8")
    assert page.count("4 × NVIDIA H200") == 2
    assert "The runs have the same settings." in page


def test_a_page_that_cannot_be_written_is_named(two: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"--html: {tmp_path} cannot be written"):
        run(*two, "--bootstrap", 0, "--html", tmp_path)


def rewarded(run: Path, reward: str) -> None:
    place = RunLayout(run).evaluation
    content = quickstart()
    content["spec"]["reward"] = yaml.safe_load(reward)
    place.about.write_text(json.dumps({"settings": yaml.safe_dump(content)}))


@pytest.mark.parametrize(
    ("other", "compared"),
    [("{preset: strict}", False), ("{preset: deepicd}", True), ("{}", True), ("{weights: {outcome: 0.9}}", False)],
    ids=["another preset", "the same", "the same by default", "other weights"],
)
def test_rewards_of_different_scales_are_not_subtracted(other: str, compared: bool, tmp_path: Path) -> None:
    runs = [evaluated(tmp_path / name, {"grpo": answers(0.5, seed=1, reward=0.5)}) for name in ("a", "b")]
    rewarded(runs[0], "{preset: deepicd}")
    rewarded(runs[1], other)
    [pair] = json.loads(run(*runs, "--bootstrap", 0, "--json"))["comparisons"]["pairs"]
    assert ("reward" in pair["differences"]) is compared
    assert compared or "different rewards" in pair["absent"]["reward"]
    assert compared or "none (a and b have different rewards" in run(*runs, "--bootstrap", 0, "--measure", "reward")


def test_only_models_of_different_runs_have_no_difference_of_their_rewards(tmp_path: Path) -> None:
    both = {name: answers(0.5, seed=seed, reward=0.5) for seed, name in enumerate(("sft", "grpo"))}
    runs = [evaluated(tmp_path / name, both) for name in ("a", "b")]
    rewarded(runs[0], "{preset: deepicd}")
    rewarded(runs[1], "{preset: strict}")
    pairs = json.loads(run(*runs, "--bootstrap", 0, "--json"))["comparisons"]["pairs"]
    shown = [(pair["first"], pair["second"]) for pair in pairs if "reward" in pair["differences"]]
    assert shown == [("a/sft", "a/grpo"), ("b/sft", "b/grpo")]
    assert "\nreward: not comparable: a and b have different rewards (spec.reward.preset" in run(*runs, "--bootstrap", 0)


def test_a_reward_without_its_judge_is_called_so_and_has_no_difference(tmp_path: Path) -> None:
    terms = ({"outcome": 1.0, "judge": 1.0}, {"outcome": 1.0})
    runs = [
        evaluated(tmp_path / name, {"grpo": answers(0.5, seed=1, reward=0.5, terms=own)})
        for name, own in zip("ab", terms, strict=True)
    ]
    for folder in runs:
        rewarded(folder, "{judge: {endpoint: 'http://127.0.0.1:1/v1', name: judge}, weights: {judge: 0.2}}")
    found = json.loads(run(*runs, "--bootstrap", 0, "--json"))
    assert [own["reward"]["name"] for own in found["models"].values()] == ["reward", "reward_without_judge"]
    [pair] = found["comparisons"]["pairs"]
    assert pair["absent"]["reward"] == "the reward of b is without its judge, which was not available"


def test_the_heading_says_why_there_are_no_intervals(tmp_path: Path, two: tuple[Path, Path]) -> None:
    assert "paired by patient; no intervals and no p-values: --bootstrap is 0\n" in run(*two, "--bootstrap", 0)
    few = [evaluated(tmp_path / name, {"grpo": answers(0.5, seed=1, number=8)}) for name in ("a", "b")]
    assert "no intervals and no p-values: fewer than 6 patients" in run(*few)


def test_a_folder_that_is_no_run_is_refused_before_all_of_it_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FolderStore, "list", lambda *_: pytest.fail("the folder was listed"))
    (tmp_path / "data" / "deep").mkdir(parents=True)
    with pytest.raises(UserError, match=f"^{tmp_path}/data: is no run: give the folder of a run"):
        run(tmp_path / "data")
    with pytest.raises(UserError, match=f"^{tmp_path}/data: is no run"):
        run("data", "--store", tmp_path)


def test_the_current_folder_has_a_name_too(two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(two[0])
    assert "seed-0/grpo" in run(".", two[1], "--bootstrap", 0)


def test_a_name_that_is_neither_a_folder_nor_a_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"^seed-9: is neither a folder nor a run on the cluster"):
        run("seed-9")
