"""The whole of run.yaml: `kind: DeepICDRun`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from deepicd.spec.base import SpecModel
from deepicd.spec.compute import ComputeSpec
from deepicd.spec.data import DataSpec
from deepicd.spec.model import ModelSpec
from deepicd.spec.pod_shape import check_patch
from deepicd.spec.recovery import RecoverySpec
from deepicd.spec.reward import RewardSpec
from deepicd.spec.storage import StorageSpec
from deepicd.spec.training import GrpoSpec, SftSpec


class EvaluateSpec(SpecModel):
    """Evaluation of the base, SFT and GRPO models on the test split."""

    max_admissions: int | None = Field(default=None, ge=1)
    """Evaluate on at most this many admissions of the test split."""
    samples: int = Field(default=4, ge=1)
    """Completions sampled per admission for the held-out reward; the headline metrics are greedy."""
    bootstrap_samples: int = Field(default=1000, ge=0)
    """Patient-level bootstrap samples for the 95 % intervals; 0 leaves the intervals out."""


class StagesSpec(SpecModel):
    """The stages that follow `prepare`; one that is left out is not run."""

    sft: SftSpec | None = None
    """Supervised fine-tuning on reasoning traces."""
    grpo: GrpoSpec | None = None
    """Reinforcement learning from the SFT model, or from the base model where there is no SFT."""
    evaluate: EvaluateSpec | None = EvaluateSpec()
    """Metrics and report; `null` leaves it out."""

    @model_validator(mode="after")
    def _something_to_do(self) -> Self:
        if self.sft is None and self.grpo is None and self.evaluate is None:
            raise ValueError("no stage is given: add sft, grpo or evaluate")
        return self


class RunMetadata(SpecModel):
    """Names of the run."""

    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$")
    """Name of the run and of its folder: lower-case letters, digits and dashes, at most 52."""
    namespace: str | None = None
    """On a cluster: the namespace of the run."""
    labels: dict[str, str] = Field(default_factory=dict)
    """On a cluster: labels of the run itself."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """On a cluster: annotations of the run itself."""


class RunSpec(SpecModel):
    """Everything that decides what a run does."""

    seed: int = Field(default=42, ge=0)
    """Seed of data order, sampling and bootstrap."""
    model: ModelSpec
    """The base model."""
    data: DataSpec
    """The cohort."""
    reward: RewardSpec = RewardSpec()
    """How completions are scored."""
    stages: StagesSpec
    """What is done."""
    storage: StorageSpec | None = None
    """Where checkpoints, models and results are kept; without it they stay in the run's folder alone."""
    compute: ComputeSpec = ComputeSpec()
    """What it is done on."""
    recovery: RecoverySpec = RecoverySpec()
    """When an attempt is given up, and what follows."""
    suspend: bool = False
    """On a cluster: `true` stops the run once a checkpoint is durable, `false` lets it go on from there."""

    @model_validator(mode="after")
    def _sft_has_traces(self) -> Self:
        if self.stages.sft is not None and self.data.synthetic is None and self.data.traces is None:
            raise ValueError("stages.sft learns from reasoning traces: give data.traces, or leave stages.sft out")
        return self

    @property
    def has_uploader(self) -> bool:
        """On a cluster: whether the pod has an uploader beside the trainer; on several nodes the trainer uploads by itself."""
        return self.storage is not None and self.compute.nodes == 1

    @model_validator(mode="after")
    def _patch_leaves_the_pod_whole(self) -> Self:
        if (patch := self.compute.pod_template_patch) is not None:
            try:
                check_patch(patch.content, uploader=self.has_uploader)
            except ValueError as error:
                raise ValueError(f"compute.podTemplatePatch.{error}") from None
        return self

    @model_validator(mode="after")
    def _batches_split_over_gpus(self) -> Self:
        sft, grpo, node = self.stages.sft, self.stages.grpo, self.compute.gpus
        gpus = node * self.compute.nodes
        named = "compute.gpus" if self.compute.nodes == 1 else "compute.gpus × nodes ="
        if sft is not None and sft.train_batch_size % (sft.micro_batch_size_per_gpu * node):
            raise ValueError(
                f"stages.sft.trainBatchSize {sft.train_batch_size} is not a multiple of "
                f"microBatchSizePerGpu {sft.micro_batch_size_per_gpu} × compute.gpus {node}"
            )
        if grpo is not None:
            completions = grpo.ppo_mini_batch_size * grpo.rollouts
            if completions % (grpo.micro_batch_size_per_gpu * gpus):
                raise ValueError(
                    f"stages.grpo.ppoMiniBatchSize × rollouts = {completions} is not a multiple of "
                    f"microBatchSizePerGpu {grpo.micro_batch_size_per_gpu} × {named} {gpus}"
                )
            if node % grpo.tensor_parallel:
                raise ValueError(f"compute.gpus {node} is not a multiple of stages.grpo.tensorParallel {grpo.tensor_parallel}")
        return self


class DeepICDRun(SpecModel):
    """One training run, on one machine or on a cluster: the same file."""

    api_version: Literal["deepicd.io/v1alpha1"]
    """Version of this schema."""
    kind: Literal["DeepICDRun"]
    """Always `DeepICDRun`."""
    metadata: RunMetadata
    """What the run is called."""
    spec: RunSpec
    """Everything that decides what the run does."""

    @model_validator(mode="after")
    def _name_fits_a_ray_cluster(self) -> Self:
        if self.spec.compute.nodes > 1 and len(self.metadata.name) > 42:
            raise ValueError("metadata.name: KubeRay takes at most 42 characters with compute.nodes > 1: shorten it")
        return self
