from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from deepicd.artifacts.identity import run_path, run_uid
from deepicd.errors import UserError
from deepicd.spec.load import parse
from deepicd.spec.run import DeepICDRun

SAMPLES = Path(__file__).parents[3] / "manifests" / "samples"
EARLIER = Path(__file__).parents[2] / "cluster" / "version_0_1_0"
"""Runs as version 0.1.0 stored them."""


def run(**spec: Any) -> DeepICDRun:
    content = {"model": {"path": "some/model"}, "data": {"prepared": "data"}, "stages": {"grpo": {}}, **spec}
    return parse({"apiVersion": "deepicd.io/v1alpha1", "kind": "DeepICDRun", "metadata": {"name": "r"}, "spec": content}, "x")


def test_the_same_file_is_the_same_run() -> None:
    assert run_uid(run(), {}) == run_uid(run(), {})
    assert len(run_uid(run(), {})) == 12


@pytest.mark.parametrize(
    "how",
    [
        {"storage": {"folder": "/x"}},
        {"recovery": {"stallAfter": "1h"}},
        {"stages": {"grpo": {"saveEverySteps": 7}}},
        {"model": {"path": "some/model", "prompt": {"preset": "deepicd"}}},
    ],
)
def test_fields_that_may_change_and_defaults_written_out_make_no_other_run(how: dict[str, Any]) -> None:
    assert run_uid(run(**how), {}) == run_uid(run(), {})


@pytest.mark.parametrize(
    "what",
    [{"seed": 1}, {"model": {"path": "another"}}, {"stages": {"grpo": {"learningRate": 1e-3}}}, {"compute": {"gpus": 2}}],
)
def test_fields_that_decide_the_result_make_another_run(what: dict[str, Any]) -> None:
    assert run_uid(run(**what), {}) != run_uid(run(), {})


@pytest.mark.parametrize(
    ("file", "uid"),
    [
        (EARLIER / "quickstart.json", "4536c2cae6e4"),
        (SAMPLES / "deepicd-r1-7b.yaml", "baed2470d195"),
        (SAMPLES / "deepicd-r1-7b-two-nodes.yaml", "8ff29ce2139a"),
    ],
)
def test_a_run_keeps_the_folder_in_the_store_that_version_0_1_0_gave_it(file: Path, uid: str) -> None:
    content = yaml.safe_load(file.read_text()) | {"metadata": {"name": file.stem}}
    assert run_uid(parse(content, file.name), {}) == uid


def test_the_environment_names_the_run() -> None:
    assert run_path(run(), {"DEEPICD_RUN_UID": "7c1f-22"}) == "r/7c1f-22"
    with pytest.raises(UserError, match="DEEPICD_RUN_UID"):
        run_uid(run(), {"DEEPICD_RUN_UID": "../other"})
