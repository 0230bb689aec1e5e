"""Estimates a run's memory on each GPU and its disk space. Pure; calibrated by measuring small models (tests/unit/training)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from deepicd.spec.run import RunSpec
from deepicd.spec.training import GrpoSpec, SftSpec
from deepicd.training.model_shape import ModelShape
from deepicd.training.weights import adapter_parameters

GB = 10**9
MB = 10**6
CHECKPOINT_BYTES = 12
"""Bytes of a checkpoint per trained parameter: weights and AdamW's two moments, in float32."""
_LOWEST_BYTES = 4
"""The same of the weights that SFT keeps with `patience`."""
_VALUE_BYTES = {"bfloat16": 2, "float32": 4}
_LOGITS = {"sft": 2, "grpo": 7}
"""Arrays as large as the logits at the peak: with their gradients, and GRPO's temperature and entropy. SFT's gradients
overwrite them."""
_PADDED_LOGITS = {"sft": 4, "grpo": 7}
"""The same if batches are padded, and logits are copied without the padding."""


@dataclass(frozen=True, slots=True)
class StageMemory:
    """Bytes on each GPU during a training stage."""

    tokens: int
    """Maximum number of tokens in a forward pass."""
    weights: int
    """A GPU's share of the float32 weights, with adapters."""
    gradients: int
    optimizer: int
    gathered: int
    """Weights that FSDP gathers at a time: the embeddings and two layers, with their gradients."""
    activations: int
    engine_weights: int = 0
    """vLLM's copy of the weights."""
    engine_share: float = 0.0
    """vLLM's share of the GPU, with its weights; it sleeps while weights are updated."""
    judge_weights: int = 0
    """Of a colocated judge, which has the same share while the policy's engine sleeps."""
    resident: int = 0
    """Memory that the trainer keeps while vLLM generates."""

    @property
    def training(self) -> int:
        """The peak of an update."""
        return self.weights + self.gradients + self.optimizer + self.gathered + self.activations

    @property
    def smallest_gpu(self) -> int:
        """Bytes of the smallest GPU that fits, without CUDA's own overhead."""
        if not self.engine_share:
            return self.training
        shared = self.resident / (1 - self.engine_share) if self.engine_share < 1 else float("inf")
        return int(max(self.training, shared, max(self.engine_weights, self.judge_weights) / self.engine_share))


@dataclass(frozen=True, slots=True)
class Footprint:
    """Memory and disk space that a run takes."""

    parameters: int
    trained: int
    """Parameters that are trained: all, or those of the adapters."""
    gpus: int
    stages: dict[str, StageMemory]
    checkpoint: int
    """Bytes of the largest checkpoint, over all GPUs."""
    disk: int
    """Bytes of the run's folder at its largest."""


def footprint(run: RunSpec, shape: ModelShape, judge: ModelShape | None = None) -> Footprint:
    """Estimate what a run takes.

    Args:
        run: the run.
        shape: of its base model.
        judge: of a colocated judge; None without one, or if it is unknown.
    """
    stages: dict[str, StageMemory] = {}
    if (sft := run.stages.sft) is not None:
        stages["sft"] = stage_memory("sft", sft, run, shape, run.compute.gpus)
    if (grpo := run.stages.grpo) is not None:
        memory = stage_memory("grpo", grpo, run, shape, run.compute.gpus * run.compute.nodes)
        stages["grpo"] = replace(memory, judge_weights=_judge_weights(run, judge))
    trained = _trained(run, shape)
    largest = max((checkpoint_bytes(stage) for stage in (sft, grpo) if stage is not None), default=CHECKPOINT_BYTES)
    return Footprint(
        shape.parameters, trained, run.compute.gpus, stages, largest * trained, disk(run, shape.parameters, trained)
    )


def checkpoint_bytes(stage: SftSpec | GrpoSpec) -> int:
    """Most bytes of a stage's checkpoint per trained parameter; see `CHECKPOINT_BYTES`."""
    keeps_lowest = isinstance(stage, SftSpec) and stage.validation is not None and stage.validation.patience is not None
    return CHECKPOINT_BYTES + (_LOWEST_BYTES if keeps_lowest else 0)


def trained_parameters(run: RunSpec, parameters: int, layers: Iterable[tuple[str, tuple[int, ...]]]) -> int:
    """How many of a model's `parameters` are trained; `layers`: name and shape of each linear one."""
    lora = run.model.lora
    return parameters if lora is None else adapter_parameters(layers, lora.rank, lora.target_modules)


def _judge_weights(run: RunSpec, judge: ModelShape | None) -> int:
    chosen = run.reward.judge
    if judge is None or chosen is None or not chosen.colocated:
        return 0
    return _VALUE_BYTES["bfloat16"] * judge.parameters // chosen.gpus  # float16 takes the same


def _trained(run: RunSpec, shape: ModelShape) -> int:
    return trained_parameters(run, shape.parameters, shape.linear_layers)


def stage_memory(name: str, stage: SftSpec | GrpoSpec, run: RunSpec, shape: ModelShape, gpus: int) -> StageMemory:
    """The memory of one stage on each of `gpus`, over which the weights are spread."""
    value, trained = _VALUE_BYTES[run.model.dtype], _trained(run, shape) // gpus
    # Frozen weights are in memory too, in addition to the adapters, and have no gradients.
    weights = trained if run.model.lora is None else shape.parameters // gpus + trained
    gathered = value * (shape.embeddings + 2 * shape.layer) * (2 if run.model.lora is None else 1)
    longest = stage.max_tokens if isinstance(stage, SftSpec) else stage.max_prompt_tokens + stage.max_response_tokens
    tokens = stage.max_tokens_per_gpu or stage.micro_batch_size_per_gpu * longest
    kept, work = activation_bytes(shape, value, checkpointing=stage.gradient_checkpointing)
    arrays = (_LOGITS if stage.remove_padding else _PADDED_LOGITS)[name]
    peak = kept + max(work, arrays * value * shape.vocabulary)
    found = StageMemory(
        tokens=tokens,
        weights=4 * weights,
        gradients=4 * trained,
        optimizer=8 * trained,
        gathered=0 if gpus == 1 and value == 4 else gathered,
        activations=tokens * peak,
    )
    if isinstance(stage, SftSpec):
        return found
    return replace(
        found,
        engine_weights=value * shape.parameters // stage.tensor_parallel,
        engine_share=stage.gpu_memory_utilization,
        resident=(0 if stage.offload_parameters else found.weights) + (0 if stage.offload_optimizer else found.optimizer),
    )


def activation_bytes(shape: ModelShape, value: int, *, checkpointing: bool) -> tuple[int, int]:
    """Bytes per token that the layers keep for the backward pass, and those that it takes in one layer besides.

    `value`: bytes of a number. Memory that attention needs beyond its inputs and output is left out, because its kernels do
    not keep it.
    """
    # The norms compute in float32.
    layer = 4 * value * shape.intermediate_size + (7 * value + 8) * shape.hidden_size
    backward = 2 * value * shape.intermediate_size + 4 * value * shape.hidden_size
    if checkpointing:
        return shape.layers * value * shape.hidden_size, layer + backward
    return shape.layers * layer, backward


def disk(run: RunSpec, parameters: int, trained: int) -> int:
    """Bytes of a run's folder at its largest; `trained`: how many of the `parameters` are.

    While a checkpoint is written, the previous ones still exist. SFT's are deleted when it is done; its model is kept.
    """
    sizes = [0]
    model = 0
    for stage in (run.stages.sft, run.stages.grpo):
        if stage is not None:
            checkpoints = (stage.keep_checkpoints + 1) * checkpoint_bytes(stage) * trained
            sizes.append(model + checkpoints + model_bytes(run, parameters))
            model += model_bytes(run, parameters)
    return max(sizes)


def model_bytes(run: RunSpec, parameters: int) -> int:
    """Bytes of a trained model's folder."""
    return _VALUE_BYTES[run.model.dtype] * parameters


_ROWS = {
    "weights": "weights", "gradients": "gradients", "optimizer": "optimizer", "gathered": "weights being used",
    "activations": "activations", "training": "sum of these", "engine_weights": "vLLM's weights",
    "judge_weights": "judge's weights", "smallest_gpu": "GPU needs at least",
}  # fmt: skip
"""Attributes of `StageMemory` in bytes, with their titles."""


def to_json(found: Footprint) -> dict[str, Any]:
    """The estimate for programs; sizes in bytes, those of a stage on each GPU."""
    return {
        "parameters": found.parameters,
        "trained": found.trained,
        "gpus": found.gpus,
        "stages": {
            name: {"tokens": stage.tokens} | {_camel(size): getattr(stage, size) for size in _ROWS}
            for name, stage in found.stages.items()
        },
        "checkpoint": found.checkpoint,
        "disk": found.disk,
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def shown(found: Footprint) -> list[str]:
    """Lines for a person: gigabytes for each stage on each GPU, and the disk."""
    trains = "" if found.trained == found.parameters else f", of which adapters train {_counted(found.trained)}"
    largest = max((stage.smallest_gpu for stage in found.stages.values()), default=found.disk)
    unit, scale = ("GB", GB) if largest >= GB else ("MB", MB)
    lines = [f"estimate for {_counted(found.parameters)} parameters{trains}, in {unit} on each GPU (on CPUs: in each process):"]
    rows: list[tuple[str, list[str]]] = [("", list(found.stages))]
    judged = any(stage.judge_weights for stage in found.stages.values())
    for name, title in _ROWS.items():
        if name == "judge_weights" and not judged:
            continue
        rows.append((title, [f"{getattr(stage, name) / scale:.1f}" for stage in found.stages.values()]))
    rows.insert(1, ("tokens in a pass", [f"{stage.tokens}" for stage in found.stages.values()]))
    lines += ["  " + f"{title:<20}" + "".join(f"{cell:>10}" for cell in cells) for title, cells in rows]
    lines.append(f"a checkpoint: {found.checkpoint / scale:.1f} {unit}, disk needed: {found.disk / scale:.1f} {unit}")
    return lines


def _counted(size: int) -> str:
    return f"{size / 1e9:.2f} billion" if size >= 5e7 else f"{size / 1e6:.1f} million"
