import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from deepicd.cli.reward import reward
from deepicd.errors import UserError
from deepicd.rewards.cohort_words import CohortWords
from deepicd.spec.reward import PRESETS

LINE = '{"id": 1, "completion": "<think>x</think>\\n<diagnosis>M5116</diagnosis>", "gold": "M5116"}\n'
APP = typer.Typer()
APP.command()(reward)


def run(*arguments: str) -> str:
    return CliRunner().invoke(APP, list(arguments), input=LINE, catch_exceptions=False).stdout


@pytest.mark.parametrize(
    "completion", ["<think>x</think>\n<diagnosis>M5116</diagnosis>", "x</think>\n<diagnosis>M5116</diagnosis>"]
)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_takes_completions_with_and_without_their_opening_tag(preset: str, completion: str) -> None:
    line = json.dumps({"id": 1, "completion": completion, "gold": "M5116"})
    done = CliRunner().invoke(APP, ["--preset", preset], input=line, catch_exceptions=False)
    assert json.loads(done.stdout)["score"] == {"deepicd-r1": 76, "deepicd": 0.9, "strict": 2}[preset]


def test_the_example_of_the_readme_is_paid_with_its_trace() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    example = "\n".join(line.strip() for line in readme[readme.index("    <think>") :].splitlines()[:2])
    line = json.dumps({"id": 1, "completion": example, "gold": "M5116"})
    done = CliRunner().invoke(APP, ["--preset", "deepicd-r1"], input=line, catch_exceptions=False)
    assert json.loads(done.stdout)["terms"] == {"code": 75, "trace": 1, "several": 0, "empty": 0}


def test_a_spec_says_whether_the_prompt_opens_the_think(tmp_path: Path) -> None:
    run_yaml = tmp_path / "run.yaml"
    text = (
        "apiVersion: deepicd.io/v1alpha1\nkind: DeepICDRun\nmetadata: {name: scores}\n"
        "spec:\n  model: {path: some/model, openedThink: OPENED}\n  data: {prepared: data}\n  stages: {grpo: {}}\n"
        "  reward: {preset: deepicd-r1}\n"
    )
    run_yaml.write_text(text.replace("OPENED", "true"))
    assert json.loads(run("--spec", str(run_yaml)))["score"] == 75
    run_yaml.write_text(text.replace("OPENED", "false"))
    assert json.loads(run("--spec", str(run_yaml)))["score"] == 76


@pytest.mark.parametrize("given", ["", "\n \n"])
def test_an_empty_input_is_an_error_that_says_what_is_expected(given: str) -> None:
    with pytest.raises(UserError, match="standard input: has no line to score: give an object with id, completion, gold"):
        CliRunner().invoke(APP, ["--preset", "deepicd"], input=given, catch_exceptions=False)


def test_a_misnamed_field_is_not_scored_in_silence() -> None:
    line = json.dumps({"id": 1, "completion": "x", "gold": "M5116", "Note": "secret"})
    with pytest.raises(UserError, match="line 1: unknown field 'Note': did you mean 'note'"):
        CliRunner().invoke(APP, ["--preset", "deepicd"], input=line, catch_exceptions=False)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_be_asked_for(preset: str) -> None:
    assert json.loads(run("--preset", preset))["score"] >= 0


def test_a_spec_gives_the_reward(tmp_path: Path) -> None:
    run_yaml = tmp_path / "run.yaml"
    run_yaml.write_text(
        "apiVersion: deepicd.io/v1alpha1\nkind: DeepICDRun\nmetadata: {name: scores}\n"
        "spec:\n  model: {path: some/model}\n  data: {prepared: data}\n  stages: {}\n"
        "  reward: {weights: {outcome: 7}}\n"
    )
    assert json.loads(run("--spec", str(run_yaml)))["score"] == pytest.approx(7 + 0.1 + 0.3)


@pytest.mark.parametrize("arguments", [[], ["--preset", "deepicd", "--spec", "run.yaml"]])
def test_preset_and_spec_are_alternatives(arguments: list[str]) -> None:
    with pytest.raises(UserError, match="exactly one of --preset and --spec"):
        run(*arguments)


def test_help_shows_an_example() -> None:
    assert "deepicd reward --preset deepicd-r1 < in.jsonl > out.jsonl" in " ".join(run("--help").split())


BAD = '{"id": 2, "completion": "secret", "gold": "M51169"}\nno json, secret\n'


def test_a_line_at_fault_stops_by_default() -> None:
    with pytest.raises(UserError, match="line 2: gold"):
        CliRunner().invoke(APP, ["--preset", "deepicd"], input=LINE + BAD + LINE, catch_exceptions=False)


def test_lines_at_fault_are_skipped_and_named_on_request() -> None:
    done = CliRunner().invoke(APP, ["--preset", "deepicd", "--on-error", "skip"], input=LINE + BAD + LINE)
    assert done.exit_code == 0
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [1, 1]
    first, second, total = done.stderr.splitlines()
    assert first.startswith("skipped: line 2: gold: is not a code")
    assert second.startswith("skipped: line 3: is not JSON")
    assert total == "2 lines skipped"
    assert "secret" not in done.stderr


def test_nothing_is_reported_if_nothing_is_skipped() -> None:
    assert CliRunner().invoke(APP, ["--preset", "deepicd", "--on-error", "skip"], input=LINE).stderr == ""


def test_words_may_weigh_as_in_a_run(tmp_path: Path) -> None:
    note = "He has rusty sputum with crackles and pleuritic pain on the right."
    trace = "Rusty sputum with crackles and pleuritic pain fits pneumonia."
    line = {"id": 1, "completion": f"{trace}</think><diagnosis>J189</diagnosis>", "gold": "J189", "note": note}
    common = tmp_path / "words.json"
    CohortWords(100, 100, dict.fromkeys(("rusty", "sputum", "crackl", "pleuri", "pain", "fits"), 90)).write(common)
    foreign = tmp_path / "foreign.json"
    CohortWords(100, 0, {}).write(foreign)

    def reasoning(*options: str) -> float | None:
        done = CliRunner().invoke(APP, ["--preset", "deepicd", *options], input=json.dumps(line), catch_exceptions=False)
        found: float | None = json.loads(done.stdout)["terms"]["reasoning"]
        return found

    shipped, own = reasoning(), reasoning("--words", str(common))
    assert shipped is not None
    assert own is not None
    assert own < shipped
    assert reasoning("--words", str(foreign)) is None
