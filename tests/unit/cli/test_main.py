from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from deepicd.cli.main import cli

COMMANDS = [
    ["run"], ["validate"], ["schema"], ["show-config"], ["distill"], ["sft"], ["grpo"], ["evaluate"], ["metrics"], ["compare"],
    ["predict"], ["reward"], ["judge"], ["icd10"], ["report"], ["samples"], ["sync"],
    ["submit"], ["status"], ["logs"], ["wait"], ["cancel"], ["resume"],
    ["data", "synthetic"], ["data", "mimic"], ["data", "notes"], ["data", "check"],
    ["artifacts", "ls"], ["artifacts", "get"], ["artifacts", "verify"], ["artifacts", "prune"], ["artifacts", "url"],
]  # fmt: skip
SAMPLES = Path(__file__).parents[3] / "manifests" / "samples"


def deepicd(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("deepicd")), *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def test_the_commands_are_those_documented() -> None:
    group = get_command(cli)
    assert {*group.commands} == {command[0] for command in COMMANDS}  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_help_shows_an_example(command: list[str]) -> None:
    result = CliRunner().invoke(cli, [*command, "--help"])
    assert result.exit_code == 0
    assert f"Example: deepicd {' '.join(command)}" in " ".join(result.output.split())


def test_help_shows_tags_of_the_prompt() -> None:
    assert "an opened <think>." in " ".join(CliRunner().invoke(cli, ["predict", "--help"]).output.split())


def test_an_error_is_one_line_on_stderr_with_its_exit_code(tmp_path: Path) -> None:
    result = deepicd("validate", str(tmp_path / "none.yaml"))
    assert result.returncode == 64
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_several_problems_of_a_run_are_a_line_each(tmp_path: Path) -> None:
    text = (SAMPLES / "quickstart.yaml").read_text().replace("sft:", "sftt:", 1).replace("seed: 0", "seed: x", 1)
    (tmp_path / "run.yaml").write_text(text)
    result = deepicd("validate", str(tmp_path / "run.yaml"))
    assert result.returncode == 64
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"error: {tmp_path}/run.yaml: spec.") for line in lines)


@pytest.mark.parametrize(("name", "options"), [("quickstart", []), ("deepicd-r1-7b", ["--no-paths"])])
def test_the_samples_are_valid(name: str, options: list[str]) -> None:
    result = deepicd("validate", *options, str(SAMPLES / f"{name}.yaml"))
    assert result.returncode == 0
    # The other model's configuration is not on every machine.
    assert "disk needed: " in result.stdout or name != "quickstart"


def test_show_config_prints_a_run_that_is_valid_again(tmp_path: Path) -> None:
    shown = deepicd("show-config", str(SAMPLES / "quickstart.yaml"))
    (tmp_path / "run.yaml").write_text(shown.stdout)
    assert deepicd("show-config", str(tmp_path / "run.yaml")).stdout == shown.stdout


def test_show_config_prints_what_verl_is_given() -> None:
    shown = deepicd("show-config", str(SAMPLES / "quickstart.yaml"), "--verl", "grpo").stdout.splitlines()
    assert "actor_rollout_ref.rollout.n=8" in shown


@pytest.mark.parametrize("text", ["", "not json\n", '{"id": 1}\n', '{"id": 1, "note": 5}\n'])
def test_predict_refuses_lines_that_are_no_notes(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    result = deepicd("predict", "--model", str(tmp_path), text=text)
    assert result.returncode == 64
    assert "standard input" in result.stderr


def test_predict_names_a_folder_that_is_no_model(tmp_path: Path) -> None:
    result = deepicd("predict", "--model", str(tmp_path), text='{"id": 1, "note": "x"}\n')
    assert result.returncode == 64
    assert "has no config.json" in result.stderr


def test_a_light_installation_says_what_to_install(tmp_path: Path) -> None:
    run = tmp_path / "run.yaml"
    text = (SAMPLES / "quickstart.yaml").read_text()
    run.write_text(text + "  storage: {s3: {bucket: models}}\n")
    notes = tmp_path / "notes.jsonl"
    notes.write_text('{"id": 1, "note": "x"}\n')
    (tmp_path / "config.json").write_text("{}")
    program = (
        "import importlib.util, sys\n"
        "left_out = {'boto3', 'botocore', 'vllm', 'verl', 'hydra', 'torch', 'ray', 'transformers', 'kubernetes', 'aiohttp'}\n"
        "class LeftOut:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in left_out: raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, LeftOut())\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, package=None: None if name in left_out else find(name, package)\n"
        "from deepicd.cli.main import app\n"
        "app()\n"
    )

    def light(*arguments: str) -> str:
        command = [sys.executable, "-c", program, *arguments]
        with notes.open() as given:
            done = subprocess.run(command, stdin=given, capture_output=True, text=True, check=False)
        assert done.returncode == 64, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    assert "pip install 'deepicd[train]', or 'deepicd[train-cpu]' without a GPU" in light("run", str(run))
    assert "pip install 'deepicd[train]'" in light("predict", "--model", str(tmp_path))
    assert "pip install 'deepicd[s3]'" in light("artifacts", "ls", "s3://models/x")
    assert "pip install 'deepicd[cluster]'" in light("status")
    run.write_text(text.replace("grpo:", "grpo:\n      overrides: [a=1]", 1))
    assert "pip install 'deepicd[train]'" in light("validate", str(run))


def test_validate_names_a_term_of_the_reward_that_cannot_be_imported(tmp_path: Path) -> None:
    run = tmp_path / "run.yaml"
    text = (SAMPLES / "quickstart.yaml").read_text()
    run.write_text(text.replace("spec:", "spec:\n  reward: {terms: {mine: {path: no_such_module:f}}}", 1))
    result = deepicd("validate", "--no-verl", str(run))
    assert result.returncode == 64
    assert "reward.terms.mine.path: no module no_such_module: install it where the run trains" in result.stderr
