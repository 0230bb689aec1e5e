from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import constants
from typer.testing import CliRunner

from deepicd.cli.main import cli
from deepicd.spec.load import load, parse
from deepicd.spec.model import ModelSpec, TinyModel
from deepicd.training.footprint import GB, footprint
from deepicd.training.model_shape import ModelShape, shape_of
from deepicd.training.weights import parameters_in

SAMPLES = Path(__file__).parents[3] / "manifests" / "samples"

# config.json of models that people train, and their numbers of parameters in billions.
QWEN_7B = {
    "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
    "num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False,
}  # fmt: skip
LLAMA_8B = {
    "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "vocab_size": 128256,
}  # fmt: skip
QWEN_1B = QWEN_7B | {
    "hidden_size": 1536, "intermediate_size": 8960, "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151936,
    "tie_word_embeddings": True,
}  # fmt: skip
QWEN3_4B = {
    "hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32,
    "num_key_value_heads": 8, "vocab_size": 151936, "head_dim": 128, "tie_word_embeddings": True,
}  # fmt: skip


@pytest.mark.parametrize(("config", "billions"), [(QWEN_7B, 7.616), (LLAMA_8B, 8.030), (QWEN_1B, 1.544), (QWEN3_4B, 4.022)])
def test_parameters_are_counted_from_the_configuration(config: dict[str, Any], billions: float) -> None:
    assert ModelShape.of_config(config).parameters / 1e9 == pytest.approx(billions, rel=1e-3)


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_those_of_a_real_model(tied: bool, tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=500, tie_word_embeddings=tied,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.save_pretrained(tmp_path)
    exact = sum(part.numel() for part in model.parameters())
    shape = shape_of(ModelSpec(path=str(tmp_path)))
    assert shape is not None
    assert shape.parameters == exact == parameters_in(tmp_path)


def test_the_tiny_models_shape_is_known_before_it_exists() -> None:
    shape = shape_of(ModelSpec(tiny=TinyModel()))
    assert shape is not None
    assert (shape.vocabulary, shape.hidden_size, shape.layers, shape.head_size) == (1000, 256, 2, 64)


# As published, shortened: by this form's count Mixtral would have 7 and Qwen3's 30B model 8 billion parameters.
MIXTRAL = LLAMA_8B | {"model_type": "mixtral", "vocab_size": 32000, "num_local_experts": 8}
QWEN3_30B = QWEN3_4B | {
    "model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 48, "num_experts": 128,
    "moe_intermediate_size": 768, "tie_word_embeddings": False,
}  # fmt: skip


@pytest.mark.parametrize("config", [MIXTRAL, QWEN3_30B])
def test_a_model_with_experts_is_not_counted_as_one_without(config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert shape_of(ModelSpec(path=str(tmp_path))) is None


@pytest.mark.usefixtures("without_downloads")
def test_validate_says_that_it_has_no_estimate(tmp_path: Path) -> None:
    content = yaml.safe_load((SAMPLES / "one-gpu.yaml").read_text())
    content["spec"]["model"] = {"path": "nobody/nothing"}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(content))
    result = CliRunner().invoke(cli, ["validate", str(tmp_path / "run.yaml"), "--no-paths", "--no-verl"])
    assert "no estimate of memory and disk: the model's config.json is not on this machine" in result.output


@pytest.mark.parametrize("content", [None, "no json", "{}", json.dumps(QWEN_7B | {"hidden_size": "wide"})])
def test_a_model_of_unknown_form_has_no_shape(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    assert shape_of(ModelSpec(path=str(tmp_path))) is None


def test_a_model_that_is_not_on_this_machine_has_no_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert shape_of(ModelSpec(path="nobody/has-this-model")) is None


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Qwen/Qwen2.5-0.5B", 0.494), ("Qwen/Qwen2.5-1.5B-Instruct", 1.544), ("Qwen/Qwen2.5-3B-Instruct", 3.086),
        ("Qwen/Qwen2.5-7B-Instruct", 7.616), ("meta-llama/Llama-3.2-1B-Instruct", 1.236),
        ("meta-llama/Llama-3.2-3B-Instruct", 3.213), ("meta-llama/Llama-3.1-8B-Instruct", 8.030),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("without_downloads")
def test_known_models_have_as_many_parameters_as_their_cards_say(name: str, billions: float) -> None:
    shape = shape_of(ModelSpec(path=name))
    assert shape is not None
    assert shape.parameters / 1e9 == pytest.approx(billions, rel=1e-3)


@pytest.fixture
def without_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


@pytest.mark.usefixtures("without_downloads")
def test_a_models_shape_is_known_before_it_is_downloaded() -> None:
    assert shape_of(ModelSpec(path="Qwen/Qwen2.5-1.5B-Instruct")) == ModelShape.of_config(QWEN_1B)
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
    assert "GPU needs at least" in result.output


@pytest.mark.usefixtures("without_downloads")
def test_without_adapters_it_would_not_fit() -> None:
    content = yaml.safe_load((SAMPLES / "one-gpu.yaml").read_text())
    del content["spec"]["model"]["lora"]
    spec = parse(content, "run.yaml").spec
    assert footprint(spec, ModelShape.of_config(QWEN_1B)).stages["grpo"].smallest_gpu > 24 * GB
