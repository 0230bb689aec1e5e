from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from huggingface_hub import constants
from typer.testing import CliRunner

from deepicd.cli.main import cli
from deepicd.spec.load import load, parse
from deepicd.spec.model import ModelSpec
from deepicd.training.footprint import GB, footprint
from deepicd.training.known_shapes import known_shape
from deepicd.training.model_shape import shape_of

SAMPLES = Path(__file__).parents[3] / "manifests" / "samples"


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Qwen/Qwen2.5-0.5B", 0.494), ("Qwen/Qwen2.5-1.5B-Instruct", 1.544), ("Qwen/Qwen2.5-3B-Instruct", 3.086),
        ("Qwen/Qwen2.5-7B-Instruct", 7.616), ("meta-llama/Llama-3.2-1B-Instruct", 1.236),
        ("meta-llama/Llama-3.2-3B-Instruct", 3.213), ("meta-llama/Llama-3.1-8B-Instruct", 8.030),
    ],
)  # fmt: skip
def test_known_models_have_as_many_parameters_as_their_cards_say(name: str, billions: float) -> None:
    shape = known_shape(name)
    assert shape is not None
    assert shape.parameters / 1e9 == pytest.approx(billions, rel=1e-3)


@pytest.fixture
def without_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


@pytest.mark.usefixtures("without_downloads")
def test_a_models_shape_is_known_before_it_is_downloaded() -> None:
    assert shape_of(ModelSpec(path="Qwen/Qwen2.5-1.5B-Instruct")) == known_shape("Qwen/Qwen2.5-1.5B")
    assert shape_of(ModelSpec(path="nobody/nothing")) is None


@pytest.mark.usefixtures("without_downloads")
def test_the_sample_for_one_gpu_fits_24_gb_and_validate_says_so() -> None:
    path = SAMPLES / "one-gpu.yaml"
    spec = load(path).spec
    assert (spec.compute.gpus, spec.model.lora is not None) == (1, True)
    shape = shape_of(spec.model)
    assert shape is not None
    assert shape.tied
    # CUDA itself, in two processes, and vLLM's graphs take some GB.
    assert all(stage.smallest_gpu < 19 * GB for stage in footprint(spec, shape).stages.values())
    result = CliRunner().invoke(cli, ["validate", str(path), "--no-paths", "--no-verl"])
    assert "estimate for 1.54 billion parameters, of which adapters train 36.9 million" in result.output
    assert "smallest GPU" in result.output


@pytest.mark.usefixtures("without_downloads")
def test_without_adapters_it_would_not_fit() -> None:
    content = yaml.safe_load((SAMPLES / "one-gpu.yaml").read_text())
    del content["spec"]["model"]["lora"]
    spec = parse(content, "run.yaml").spec
    shape = known_shape("Qwen/Qwen2.5-1.5B")
    assert shape is not None
    assert footprint(spec, shape).stages["grpo"].smallest_gpu > 24 * GB
