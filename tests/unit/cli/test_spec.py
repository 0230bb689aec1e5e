"""`deepicd validate`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deepicd.cli.main import cli
from deepicd.errors import UserError

RUN = """\
apiVersion: deepicd.io/v1alpha1
kind: DeepICDRun
metadata: {name: x}
spec:
  model: {path: nobody/nothing}
  data: {prepared: /none}
  stages: {evaluate: {}}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    path = tmp_path / "run.yaml"
    path.write_text(RUN)
    return path


def validate(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["validate", *map(str, arguments)])


def test_a_missing_file_is_a_problem_and_no_paths_leaves_it_out(file: Path) -> None:
    assert isinstance(error := validate(file).exception, UserError)
    assert str(error).startswith(f"{file}: spec.data.prepared: /none/train.parquet: missing")
    assert validate(file).stderr.splitlines()[-1] == "note: if the paths are on a cluster, --no-paths skips this check"
    assert validate(file, "--no-paths").stdout == f"{file}: is a valid DeepICDRun 'x'\n"


def test_json_has_problems_and_warnings(file: Path) -> None:
    found = json.loads(validate(file, "--json").stdout)
    assert found["name"] == "x"
    assert "/none/train.parquet" in found["problems"][0]
    assert "will download it" in found["warnings"][0]
    assert json.loads(validate(file, "--json", "--no-paths").stdout) == {
        "name": "x", "problems": [], "warnings": [], "estimate": None,
    }  # fmt: skip
    file.write_text(RUN + "  sedd: 1\n")
    found = json.loads(validate(file, "--json").stdout)
    assert "did you mean 'seed'" in found["problems"][0]
