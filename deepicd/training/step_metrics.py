"""verl's metrics, followed as they are written.

verl's `file` logger writes a JSON line per step, and empties its file when training resumes: each launch gets its own
file, and if a step was run twice the later launch counts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepicd.new_lines import NewLines
from deepicd.spec.progress import JudgeTrend

KL_TO_REFERENCE = "KL to the reference policy"
KL_OF_UPDATE = "actor/ppo_kl"

OF_COMPLETIONS = ("well_formed", "truncated")
"""Values that our reward manager reports about each completion in addition to its reward, each 0 or 1."""
OF_TRAINING = "deepicd/"
"""Prefix of their means over the completions that a step trains on, and of further metrics of ours."""
WITHOUT_VARIANCE = f"{OF_TRAINING}groups_without_variance"
GPU_MEMORY = f"{OF_TRAINING}gpu_memory_gib"
SECOND_JUDGE, JUDGES_AGREED, JUDGES_KAPPA = (
    f"{OF_TRAINING}{name}" for name in ("second_judge", "judges_agreed", "judges_kappa")
)
SECONDS = "timing_s/step"
VALIDATION_LOSS = "val/loss"
"""Of SFT."""

OF_DISTILLATION = "distill/"
"""Prefix of the values that `distill` reports about its answers so far."""

_REWARD = "critic/score/mean"
_VALIDATION = "val-"
_GRADIENT = ("actor/grad_norm", "train/grad_norm")
_WATCHED = (_REWARD, "actor/pg_loss", "actor/loss", "train/loss")


@dataclass(frozen=True)
class StepMetrics:
    """One optimiser step of a training stage, or the validation before the first (step 0)."""

    step: int
    reward: float | None = None
    """Mean reward of the step's rollouts (GRPO)."""
    kl: float | None = None
    """KL to the reference policy if it is on, otherwise verl's `actor/ppo_kl`."""
    loss: float | None = None
    """Loss of SFT, or policy-gradient loss of GRPO."""
    seconds: float | None = None
    """Duration of the step, as verl measures it."""
    response_tokens: float | None = None
    """Mean length of the step's rollouts."""
    format_rate: float | None = None
    """Share of the step's rollouts without a format fault."""
    truncated: float | None = None
    """Share of the step's rollouts that reached the token limit."""
    groups_without_variance: float | None = None
    """Share of the step's groups whose completions all have the same reward: nothing is learned from them."""
    gradient_norm: float | None = None
    """Norm of the gradient before it is clipped."""
    entropy: float | None = None
    """Mean entropy of the policy per token of the rollouts, in nats."""
    clipped: float | None = None
    """Share of the rollouts' tokens whose probability ratio was clipped."""
    rollout_difference: float | None = None
    """Mean absolute difference between the trainer's and vLLM's probability of a rollout's token."""
    tokens_per_second: float | None = None
    """Tokens of the step, prompts included, divided by its duration, over all GPUs."""
    mfu: float | None = None
    """Share of the GPUs' peak speed that the update used, in [0, 1]; None where verl does not know the peak, as on CPUs."""
    gpu_memory: float | None = None
    """Peak memory that PyTorch held on one GPU in training, excluding vLLM's, in GiB; None on CPUs."""
    gpu_hours: float | None = None
    """GPU-hours of the run so far, known only while it runs."""
    gpu_hours_left: float | None = None
    """GPU-hours to the end of the stage, known only while it runs."""
    judge_trend: JudgeTrend | None = None
    """How the judge and the outcome have moved so far, known only while the run trains."""
    terms: Mapping[str, float] = field(default_factory=dict)
    """Mean of each reward term over the validation, where the step had one."""
    validation_reward: float | None = None
    """Mean sampled reward on the validation split, where the step had one."""
    validation_loss: float | None = None
    """SFT's loss on the held-out examples, where the step had a validation."""
    second_judge: float | None = None
    """Mean of the second judge on the validation split, where the step had one."""
    judges_agreed: float | None = None
    """Share of equal answers of the two judges on the validation split."""
    judges_kappa: float | None = None
    """Cohen's kappa of the two judges on the validation split."""
    kept: float | None = None
    """Share of the admissions asked about so far that have a trace (`distill`)."""
    rate: float | None = None
    """Answers of the teacher per second (`distill`)."""
    cost: float | None = None
    """Cost of the teacher's answers so far, if prices are set (`distill`)."""
    waiting: int | None = None
    """Requests that wait for the teacher to answer again, if there are any (`distill`)."""
    not_finite: str | None = None
    """Name of a watched metric that was NaN or infinite."""
    update_skipped: bool | None = None
    """Whether the gradient was NaN or infinite: verl skips such an update, and continues. None if the row has no gradient."""

    def to_json(self) -> dict[str, Any]:
        """The row of `curves.jsonl`."""
        return {
            "step": self.step, "reward": self.reward, "kl": self.kl, "loss": self.loss, "seconds": self.seconds,
            "responseTokens": self.response_tokens, "formatRate": self.format_rate, "truncated": self.truncated,
            "groupsWithoutVariance": self.groups_without_variance, "gradientNorm": self.gradient_norm, "entropy": self.entropy,
            "clipped": self.clipped, "rolloutDifference": self.rollout_difference,
            "tokensPerSecond": self.tokens_per_second, "mfu": self.mfu, "gpuMemory": self.gpu_memory,
            "terms": dict(self.terms),
            "validationReward": self.validation_reward, "validationLoss": self.validation_loss,
            "secondJudge": self.second_judge, "judgesAgreed": self.judges_agreed, "judgesKappa": self.judges_kappa,
        }  # fmt: skip


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def read_step(line: str) -> StepMetrics:
    """Parse one line of verl's metrics file."""
    content = json.loads(line)
    data: dict[str, Any] = content["data"]

    def first(*names: str) -> float | None:
        return next((_finite(data[name]) for name in names if name in data), None)

    validation = {key: value for key, value in data.items() if key.startswith(_VALIDATION)}
    tokens, seconds = first("perf/total_num_tokens", "train/global_tokens"), first(SECONDS)
    mean = {key.split("/")[-2]: _finite(value) for key, value in validation.items() if "/mean@" in key}
    return StepMetrics(
        step=int(content["step"]),
        reward=first(_REWARD),
        kl=first("actor/reward_kl_penalty", "actor/kl_loss", KL_OF_UPDATE),
        loss=first("train/loss", "actor/pg_loss"),
        seconds=seconds,
        response_tokens=first("response_length/mean"),
        format_rate=first(f"{OF_TRAINING}well_formed"),
        truncated=first(f"{OF_TRAINING}truncated"),
        groups_without_variance=first(WITHOUT_VARIANCE),
        gradient_norm=first(*_GRADIENT),
        entropy=first("actor/entropy"),
        clipped=first("actor/pg_clipfrac"),
        rollout_difference=first("training/rollout_probs_diff_mean"),
        tokens_per_second=tokens / seconds if tokens and seconds else None,
        # Where verl does not know a device's peak, it counts it as infinite.
        mfu=first("perf/mfu/actor", "train/mfu") or None,
        gpu_memory=first(GPU_MEMORY),
        terms={name.removeprefix("reward_"): value for name, value in mean.items()
               if name.startswith("reward_") and value is not None},
        validation_reward=mean.get("score", mean.get("reward")),
        validation_loss=first(VALIDATION_LOSS),
        second_judge=first(SECOND_JUDGE),
        judges_agreed=first(JUDGES_AGREED),
        judges_kappa=first(JUDGES_KAPPA),
        kept=first(f"{OF_DISTILLATION}kept"),
        rate=first(f"{OF_DISTILLATION}rate"),
        cost=first(f"{OF_DISTILLATION}cost"),
        waiting=_whole(first(f"{OF_DISTILLATION}waiting")),
        # orjson writes NaN and infinity as null.
        not_finite=next((name for name in _WATCHED if name in data and _finite(data[name]) is None), None),
        update_skipped=next((_finite(data[name]) is None for name in _GRADIENT if name in data), None),
    )  # fmt: skip


class MetricsFile:
    """Reads the complete lines that were added to a metrics file since the last look."""

    def __init__(self, path: Path) -> None:
        self._lines = NewLines(path)

    def new_steps(self) -> Iterator[StepMetrics]:
        """The steps that were written since the last call."""
        for line in self._lines.read():
            yield read_step(line.decode())


def step_seconds(folder: Path) -> float:
    """Duration of all steps of a stage so far, over all launches; a step that was run twice counts twice."""
    return sum(row.seconds or 0.0 for path in launches(folder) for row in MetricsFile(path).new_steps())


def launches(folder: Path) -> list[Path]:
    """Metrics files of a stage, oldest launch first."""
    return sorted(folder.glob("launch-*.jsonl"))


def next_launch(folder: Path) -> Path:
    """Path of the metrics file for a new launch."""
    return folder / f"launch-{len(launches(folder)) + 1:04d}.jsonl"


def all_steps(folder: Path) -> list[StepMetrics]:
    """Every step of a stage over all its launches, by step; a later launch replaces the steps that it repeated."""
    steps: dict[int, StepMetrics] = {}
    for path in launches(folder):
        rows = list(MetricsFile(path).new_steps())
        if rows:
            steps = {step: row for step, row in steps.items() if step < rows[0].step}
        for row in rows:
            before = steps.get(row.step)
            steps[row.step] = _merge(before, row) if before else row
    return [steps[step] for step in sorted(steps)]


def _merge(before: StepMetrics, after: StepMetrics) -> StepMetrics:
    """SFT writes a step's training and validation metrics as two lines."""
    later = {name: value for name, value in vars(after).items() if value not in (None, {})}
    return StepMetrics(**{**vars(before), **later})
