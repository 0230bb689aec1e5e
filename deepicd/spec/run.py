"""The whole of run.yaml: `kind: DeepICDRun`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from deepicd.spec.base import SpecModel
from deepicd.spec.changes import Later, MayChange, decisive
from deepicd.spec.compute import ComputeSpec
from deepicd.spec.data import DataSpec
from deepicd.spec.distill import DistillSpec
from deepicd.spec.evaluate import EvaluateSpec
from deepicd.spec.model import ModelSpec
from deepicd.spec.pod_shape import check_patch
from deepicd.spec.recovery import RecoverySpec
from deepicd.spec.reward import DEFAULT_WEIGHTS, RewardSpec
from deepicd.spec.rules import at_most, either, equals, given, matches, multiple_of, never, python_only, requires, unless_given
from deepicd.spec.storage import StorageSpec
from deepicd.spec.tracking import TrackingSpec
from deepicd.spec.training import GrpoSpec, SftSpec

MAX_JUDGED = 960
"""Completions of a step that can wait for their groups' verdicts, because Ray runs 1,000 calls of verl's reward worker
concurrently. A colocated judge gets them all in one call."""
RUN_NAME = r"^[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$"


class StagesSpec(SpecModel):
    """The stages after `prepare`. A stage that is left out does not run."""

    distill: Later[DistillSpec | None] = None
    """Reasoning traces from a teacher, which SFT then learns from."""
    sft: SftSpec | None = None
    """Supervised fine-tuning on reasoning traces."""
    grpo: GrpoSpec | None = None
    """Reinforcement learning from the SFT model, or from the base model if there is no SFT."""
    evaluate: EvaluateSpec | None = EvaluateSpec()
    """Metrics and report; `null` turns it off."""

    rules = (given("distill", "sft", "grpo", "evaluate", message="no stage is given: add distill, sft, grpo or evaluate"),)


class RunMetadata(SpecModel):
    """Names of the run."""

    name: str = Field(json_schema_extra={"pattern": RUN_NAME})
    """Name of the run and of its folder: lower-case letters, digits and dashes, at most 52."""
    namespace: str | None = None
    """On a cluster: the namespace of the run."""
    labels: dict[str, str] = Field(default_factory=dict)
    """On a cluster: labels of the run itself."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """On a cluster: annotations of the run itself."""


def _check_patch(spec: RunSpec) -> None:
    if (patch := spec.compute.pod_template_patch) is not None:
        check_patch(patch.content, uploader=spec.has_uploader)


class RunSpec(SpecModel):
    """Everything that defines a run."""

    seed: int = Field(default=42, ge=0)
    """Seed of data order, sampling and bootstrap."""
    model: ModelSpec
    """The base model."""
    data: DataSpec
    """The cohort."""
    reward: RewardSpec = RewardSpec()
    """How completions are scored."""
    stages: StagesSpec
    """The stages to run."""
    storage: StorageSpec | None = None
    """Where checkpoints, models and results are kept; by default only in the run's folder."""
    tracking: MayChange[TrackingSpec | None] = None
    """Trackers for the metrics of each step; none by default. The run's own files have them too."""
    compute: MayChange[ComputeSpec] = ComputeSpec()
    """Resources to run on."""
    recovery: MayChange[RecoverySpec] = RecoverySpec()
    """When an attempt ends, and what happens next."""
    suspend: MayChange[bool] = False
    """On a cluster: `true` stops the run once a checkpoint is durable; `false` resumes it from there."""

    @property
    def decisive(self) -> dict[str, Any]:
        """The fields that decide the result, as recorded in a run's folder and digested for its place in the store.

        Versions agree on it: a run that an earlier version could describe has the same content as there.
        """
        content = decisive(RunSpec, self.model_dump(by_alias=True, mode="json"))
        # The first version had the default weights beside any preset.
        content["reward"]["weights"] = DEFAULT_WEIGHTS | content["reward"]["weights"]
        return content

    @property
    def prepared_sft(self) -> SftSpec | None:
        """SFT, if the stage `prepare` makes its examples; None if they need traces that `distill` has yet to write."""
        return self.stages.sft if self.stages.distill is None else None

    @property
    def judge_gpus(self) -> int:
        """GPUs that the judges' own servers need in addition to `compute.gpus`."""
        judge = self.reward.judge
        return 0 if judge is None else sum(model.own_gpus for model in judge.models)

    @property
    def has_uploader(self) -> bool:
        """On a cluster: whether the pod has an uploader next to the trainer; on several nodes the trainer uploads."""
        return self.storage is not None and self.compute.nodes == 1

    rules = (
        requires(
            "stages.sft",
            given("data.synthetic", "data.traces", "stages.distill"),
            "stages.sft needs reasoning traces: give data.traces or stages.distill, or leave out stages.sft",
        ),
        requires(
            "stages.distill",
            never(given("data.traces")),
            "data.traces: stages.distill creates the traces itself: remove one of the two",
        ),
        requires("stages.distill", multiple_of("compute.gpus", of="stages.distill.teacher.tensorParallel")),
        requires(
            "stages.sft",
            requires("stages.sft.maxTokensPerGpu", multiple_of("stages.sft.trainBatchSize", of="compute.gpus")),
        ),
        requires(
            "stages.sft",
            unless_given(
                "stages.sft.maxTokensPerGpu",
                multiple_of("stages.sft.trainBatchSize", of="stages.sft.microBatchSizePerGpu × compute.gpus"),
            ),
        ),
        requires(
            "stages.grpo",
            requires(
                "stages.grpo.maxTokensPerGpu",
                multiple_of("stages.grpo.ppoMiniBatchSize × stages.grpo.rollouts", of="compute.gpus × compute.nodes"),
            ),
        ),
        requires(
            "stages.grpo",
            unless_given(
                "stages.grpo.maxTokensPerGpu",
                multiple_of(
                    "stages.grpo.ppoMiniBatchSize × stages.grpo.rollouts",
                    of="stages.grpo.microBatchSizePerGpu × compute.gpus × compute.nodes",
                ),
            ),
        ),
        requires("stages.grpo", multiple_of("compute.gpus", of="stages.grpo.tensorParallel")),
        either(
            never(given("reward.judge")),
            never(given("stages.grpo")),
            equals("reward.judge.placement", "colocated"),
            at_most("stages.grpo.trainBatchSize × stages.grpo.rollouts", MAX_JUDGED, ""),
            message=f"reward.judge: judges at most {MAX_JUDGED} completions per step: "
            "lower stages.grpo.trainBatchSize or stages.grpo.rollouts",
        ),
        either(
            never(given("reward.judge")),
            never(given("reward.judge.model")),
            equals("compute.nodes", 1),
            message="reward.judge.model: its server runs on one node: give reward.judge.endpoint with compute.nodes above 1",
        ),
        either(
            never(given("reward.judge")),
            never(given("reward.judge.second")),
            never(given("reward.judge.second.model")),
            equals("compute.nodes", 1),
            message="reward.judge.second.model: its server runs on one node: give reward.judge.second.endpoint with "
            "compute.nodes above 1",
        ),
        either(
            never(given("reward.judge")),
            equals("reward.judge.placement", "server"),
            multiple_of("compute.gpus", of="reward.judge.gpus"),
            message="reward.judge.gpus: a colocated judge has as many copies as fit into compute.gpus: give a divisor of it",
        ),
        either(
            never(given("reward.judge")),
            never(given("stages.grpo")),
            equals("reward.judge.placement", "server"),
            equals("stages.grpo.dropGroupsWithoutVariance", False),
            message="reward.judge.placement: a colocated judge is asked when all groups of a step are complete, too late for "
            "stages.grpo.dropGroupsWithoutVariance: use server, or set it to false",
        ),
        requires(
            "model.lora",
            given("stages.sft", "stages.grpo"),
            "model.lora: no stage trains: add stages.sft or stages.grpo, or leave model.lora out",
        ),
        python_only("compute.podTemplatePatch.", _check_patch),
    )


class DeepICDRun(SpecModel):
    """One training run. The same file works on one machine and on a cluster."""

    api_version: Literal["deepicd.io/v1alpha1"]
    """Version of this schema."""
    kind: Literal["DeepICDRun"]
    """Always `DeepICDRun`."""
    metadata: RunMetadata
    """Name, namespace, labels and annotations."""
    spec: RunSpec
    """Everything that defines the run."""

    rules = (
        matches(
            "metadata.name",
            RUN_NAME,
            "metadata.name: is not a valid name of a run: give lower-case letters, digits and dashes, no dots, at most 52",
        ),
        either(
            equals("spec.compute.nodes", 1),
            matches("metadata.name", "^.{1,42}$"),
            message="metadata.name: KubeRay takes at most 42 characters with compute.nodes > 1: shorten it",
        ),
    )
