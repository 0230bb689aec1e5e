"""The estimate is compared with what small models take: the bytes of their tensors, counted as they are made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from deepicd.spec.load import parse
from deepicd.spec.run import RunSpec
from deepicd.training import log_probs
from deepicd.training.footprint import CHECKPOINT_BYTES, GB, activation_bytes, disk, footprint, shown, to_json
from deepicd.training.log_probs import logprobs_from_logits
from deepicd.training.model_shape import ModelShape

SAMPLES = Path(__file__).parents[3] / "manifests" / "samples"
QWEN_7B = ModelShape(152064, 3584, 18944, 28, 28, 4, 128, tied=False)
SMALL = ModelShape(300, 128, 640, 2, 4, 2, 32, tied=False)
ROWS, TOKENS = 4, 256


def sample(**changes: Any) -> RunSpec:
    content = yaml.safe_load((SAMPLES / "deepicd-r1-7b.yaml").read_text())
    for name, change in changes.items():
        content["spec"][name] |= change
    return parse(content, "run.yaml").spec


def model(shape: ModelShape, dtype: Any, *, checkpointing: bool) -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden_size, intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.key_value_heads,
        tie_word_embeddings=shape.tied, attn_implementation="sdpa",
    )  # fmt: skip
    made = Qwen2ForCausalLM(config).to(dtype).train()
    if checkpointing:
        made.gradient_checkpointing_enable({"use_reentrant": False})
    return made


def adapted(network: Any, rank: int) -> Any:
    """The model with adapters, as verl builds it."""
    from peft import LoraConfig, TaskType, get_peft_model

    network.enable_input_require_grads()
    made = get_peft_model(network, LoraConfig(task_type=TaskType.CAUSAL_LM, r=rank, target_modules="all-linear"))
    return made.to(next(network.parameters()).dtype)


def measured_peak(shape: ModelShape, value: int, *, checkpointing: bool, entropy: bool) -> float:
    """Bytes per token at the peak of an update, but for parameters, gradients and optimizer, with the functions of training."""
    import torch
    from torch.distributed._tools.mem_tracker import MemTracker
    from verl.utils.torch_functional import entropy_from_logits

    dtype = {2: torch.bfloat16, 4: torch.float32}[value]
    network = model(shape, dtype, checkpointing=checkpointing)
    tracker = MemTracker()
    tracker.track_external(network)
    ids = torch.randint(0, shape.vocabulary, (ROWS, TOKENS // ROWS))
    with tracker:
        logits = network(input_ids=ids, use_cache=False).logits.reshape(-1, shape.vocabulary)
        bonus = 0.0
        if entropy:
            logits = logits / torch.tensor(0.9, dtype=dtype)
            bonus = entropy_from_logits(logits).mean()
        loss = -logprobs_from_logits(logits, ids.reshape(-1), inplace_backward=not entropy).mean() - 0.001 * bonus
        del logits
        loss.backward()
    found = {
        getattr(kind, "value", kind): size for kind, size in tracker.get_tracker_snapshot("peak")[torch.device("cpu")].items()
    }
    return float(found["Total"] - found["Parameter"] - found["Gradient"] - found["Buffer"]) / TOKENS


@pytest.mark.parametrize("value", [2, 4])
@pytest.mark.parametrize("checkpointing", [True, False])
def test_activations_are_those_of_a_small_model(value: int, checkpointing: bool) -> None:
    kept, work = activation_bytes(SMALL, value, checkpointing=checkpointing)
    measured = measured_peak(SMALL, value, checkpointing=checkpointing, entropy=False)
    assert measured == pytest.approx(kept + work, rel=0.15)


def test_with_adapters_layers_keep_little_more() -> None:
    import torch

    network = adapted(model(SMALL, torch.bfloat16, checkpointing=False), 4)
    weights = {part.untyped_storage().data_ptr() for part in network.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        network(input_ids=torch.randint(0, SMALL.vocabulary, (ROWS, TOKENS // ROWS)), use_cache=False)
    expected, _ = activation_bytes(SMALL, 2, checkpointing=False)
    assert sum(kept.values()) / TOKENS == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("value", [2, 4])
def test_the_logits_of_grpo_are_those_of_a_small_model_with_many_words(value: int) -> None:
    shape = ModelShape(2000, 64, 160, 2, 4, 2, 16, tied=False)
    kept, _ = activation_bytes(shape, value, checkpointing=True)
    measured = measured_peak(shape, value, checkpointing=True, entropy=True)
    assert measured == pytest.approx(kept + 7 * value * shape.vocabulary, rel=0.1)


@pytest.mark.parametrize("value", [2, 4])
def test_the_logits_of_sft_are_overwritten_by_their_gradients(value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_probs, "ROWS", 16)  # as few of this model's rows as 512 are of a large one's
    shape = ModelShape(2000, 64, 160, 2, 4, 2, 16, tied=False)
    kept, _ = activation_bytes(shape, value, checkpointing=True)
    array = value * shape.vocabulary
    assert kept + array < measured_peak(shape, value, checkpointing=True, entropy=False) < kept + 2 * array


def test_weights_gradients_optimizer_and_checkpoint_are_those_of_a_small_model(tmp_path: Path) -> None:
    import torch

    network = model(SMALL, torch.float32, checkpointing=False)
    optimizer = torch.optim.AdamW(network.parameters())
    network(input_ids=torch.zeros(1, 4, dtype=torch.long)).logits.sum().backward()
    optimizer.step()
    spec = sample(compute={"gpus": 1})
    found = footprint(spec, SMALL)
    stage = found.stages["grpo"]
    state = sum(tensor.nbytes for moments in optimizer.state.values() for tensor in moments.values() if tensor.dim())
    assert sum(part.nbytes for part in network.parameters()) == pytest.approx(stage.weights, rel=0.01)
    assert sum(part.grad.nbytes for part in network.parameters()) == pytest.approx(stage.gradients, rel=0.01)
    assert state == pytest.approx(stage.optimizer, rel=0.01)
    torch.save([network.state_dict(), optimizer.state_dict()], tmp_path / "checkpoint.pt")
    assert (tmp_path / "checkpoint.pt").stat().st_size == pytest.approx(found.checkpoint, rel=0.02)


@pytest.mark.parametrize("targets", [[], ["q_proj", "down_proj"]])
def test_adapters_leave_the_weights_without_gradients_and_moments(targets: list[str], tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, TaskType, get_peft_model

    lora = LoraConfig(task_type=TaskType.CAUSAL_LM, r=4, target_modules=targets or "all-linear")
    network: Any = get_peft_model(model(SMALL, torch.float32, checkpointing=False), lora)
    optimizer = torch.optim.AdamW(network.parameters())
    network(input_ids=torch.zeros(1, 4, dtype=torch.long)).logits.sum().backward()
    optimizer.step()
    spec = sample(compute={"gpus": 1}, model={"lora": {"rank": 4, "targetModules": targets}})
    found = footprint(spec, SMALL)
    stage = found.stages["grpo"]
    trained = [part for part in network.parameters() if part.requires_grad]
    assert found.trained == sum(part.numel() for part in trained)
    assert sum(part.nbytes for part in network.parameters()) == pytest.approx(stage.weights, rel=0.01)
    assert sum(part.grad.nbytes for part in trained) == stage.gradients
    assert stage.resident == stage.weights + stage.optimizer
    state = {name: part for name, part in network.state_dict().items() if "lora_" in name}
    torch.save([state, optimizer.state_dict()], tmp_path / "checkpoint.pt")
    assert (tmp_path / "checkpoint.pt").stat().st_size == pytest.approx(found.checkpoint, rel=0.4)  # names, in so small a file
    assert found.checkpoint == 12 * found.trained


def test_the_estimate_names_what_adapters_train() -> None:
    lines = shown(footprint(sample(model={"lora": {"rank": 16}}), QWEN_7B))
    assert lines[0].startswith("estimate for 7.62 billion parameters, of which adapters train 40.4 million, in GB on each GPU")


def test_the_released_models_training_fits_80_gb() -> None:
    found = footprint(sample(), QWEN_7B)
    assert {name: stage.tokens for name, stage in found.stages.items()} == {"sft": 4 * 3072, "grpo": 4 * 3072}
    # CUDA, NCCL and vLLM's graphs take the rest.
    assert all(stage.smallest_gpu < 72 * GB for stage in found.stages.values())


def test_the_cards_micro_batch_does_not() -> None:
    spec = sample(stages={"sft": {}, "grpo": {"microBatchSizePerGpu": 16}})
    assert footprint(spec, QWEN_7B).stages["grpo"].training > 100 * GB


def test_batches_by_tokens_limit_the_activations() -> None:
    several = sample(stages={"sft": {}, "grpo": {"microBatchSizePerGpu": 16, "maxTokensPerGpu": 6144}})
    found = footprint(several, QWEN_7B).stages["grpo"]
    assert found.tokens == 6144
    assert found.training < 60 * GB


def test_vllm_shares_the_gpu_with_what_the_trainer_keeps() -> None:
    kept = footprint(sample(), QWEN_7B).stages["grpo"]
    offloaded = footprint(
        sample(stages={"sft": {}, "grpo": {"offloadParameters": True, "offloadOptimizer": True}}), QWEN_7B
    ).stages["grpo"]
    assert kept.resident == pytest.approx(12 * QWEN_7B.parameters / 4, rel=1e-6)
    assert offloaded.resident == 0
    assert kept.engine_weights == 2 * QWEN_7B.parameters
    small = footprint(sample(stages={"sft": {}, "grpo": {"gpuMemoryUtilization": 0.1}}), QWEN_7B).stages["grpo"]
    assert small.smallest_gpu == pytest.approx(2 * QWEN_7B.parameters / 0.1, rel=1e-6)


def test_with_patience_a_checkpoint_of_sft_has_the_weights_of_the_lowest_loss_too() -> None:
    found = [
        footprint(sample(stages={"sft": {"validation": rule, "keepCheckpoints": 9}}), QWEN_7B)
        for rule in (None, {}, {"stopBelow": 0.9}, {"patience": 3})
    ]
    bytes_each = [one.checkpoint / one.trained for one in found]
    assert bytes_each == [CHECKPOINT_BYTES] * 3 + [CHECKPOINT_BYTES + 4]
    assert found[3].disk - found[0].disk == 10 * 4 * found[0].trained


def test_the_disk_holds_the_checkpoints_of_one_stage_at_a_time_and_the_models() -> None:
    parameters = QWEN_7B.parameters
    found = footprint(sample(), QWEN_7B)
    assert found.checkpoint == CHECKPOINT_BYTES * parameters == pytest.approx(91.4 * GB, rel=1e-3)
    assert found.disk == (2 + 3 * 12 + 2) * parameters < 600 * 2**30
    assert (
        disk(sample(stages={"grpo": {"keepCheckpoints": 1}, "sft": None}), parameters, parameters) == (2 * 12 + 2) * parameters
    )
    only_evaluation = sample(stages={"grpo": None, "sft": None, "evaluate": {}})
    assert disk(only_evaluation, parameters, parameters) == 0


def test_the_estimate_is_a_table_for_each_stage() -> None:
    lines = shown(footprint(sample(), QWEN_7B))
    assert lines[0] == "estimate for 7.62 billion parameters, in GB on each GPU (on CPUs: in each process):"
    assert lines[1].split() == ["sft", "grpo"]
    assert ["weights", "7.6", "7.6"] in [line.split() for line in lines]
    assert lines[-1].startswith("a checkpoint: 91.4 GB, disk needed: 304.6 GB")


def test_the_estimate_for_programs_has_the_tables_numbers_in_bytes() -> None:
    found = footprint(sample(), QWEN_7B)
    read = to_json(found)
    assert read["stages"]["grpo"]["smallestGpu"] == found.stages["grpo"].smallest_gpu
    assert read["stages"]["sft"]["tokens"] == found.stages["sft"].tokens
    assert (read["disk"], read["checkpoint"]) == (found.disk, found.checkpoint)


def test_a_run_without_training_takes_no_memory_for_it() -> None:
    assert footprint(sample(stages={"grpo": None, "sft": None, "evaluate": {}}), QWEN_7B).stages == {}


def test_a_colocated_judge_needs_its_weights_in_vllms_share_while_the_policy_sleeps() -> None:
    reward = {"judge": {"model": "judge", "placement": "colocated", "gpus": 2}, "weights": {"judge": 0.1}}
    spec = sample(reward=reward)
    large = ModelShape(152064, 8192, 29568, 80, 64, 8, 128, tied=False)
    alone, found = footprint(spec, QWEN_7B), footprint(spec, QWEN_7B, large)
    grpo = found.stages["grpo"]
    assert grpo.judge_weights == large.parameters  # two bytes each, over two GPUs
    assert grpo.smallest_gpu == int(large.parameters / grpo.engine_share) > alone.stages["grpo"].smallest_gpu
    assert found.stages["sft"] == alone.stages["sft"]
    assert any(line.strip().startswith("judge's weights") for line in shown(found))
    assert not any("judge" in line for line in shown(alone))


def test_a_judge_with_its_own_gpus_takes_nothing_from_the_policys() -> None:
    reward = {"judge": {"model": "judge"}, "weights": {"judge": 0.1}}
    assert footprint(sample(reward=reward), QWEN_7B, QWEN_7B).stages["grpo"].judge_weights == 0
