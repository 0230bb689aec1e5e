"""`spec.stages.sft` and `spec.stages.grpo`, the two training stages. The defaults are the released model's settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from deepicd.spec.base import SpecModel
from deepicd.spec.changes import Later, MayChange
from deepicd.spec.rules import at_least, either, equals, multiple_of, requires, unless_given


class SftValidationSpec(SpecModel):
    """How SFT's loss is measured on held-out examples, and when it stops early by it."""

    held_out: float = Field(default=0.05, gt=0, le=0.5)
    """Share of the training patients whose examples SFT does not learn from. Whole batches of them are validated on."""
    every_steps: int = Field(default=50, ge=1)
    """Steps between validations; one after the last."""
    stop_below: float | None = Field(default=None, gt=0)
    """Stop once the loss, in nats per token, is below this. By default only measure."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after this many validations in a row without a new lowest loss. The model gets the weights of the lowest."""


class SftSpec(SpecModel):
    """Supervised fine-tuning on reasoning traces."""

    train_batch_size: int = Field(default=32, ge=1)
    """Examples per optimiser step, over all GPUs."""
    micro_batch_size_per_gpu: MayChange[int] = Field(default=4, ge=1)
    """Examples per forward pass on one GPU."""
    max_tokens_per_gpu: MayChange[int | None] = Field(default=None, ge=16)
    """Tokens per forward pass on one GPU. A pass takes as many examples as fit, instead of `microBatchSizePerGpu`."""
    learning_rate: float = Field(default=2e-5, gt=0)
    """Peak learning rate of AdamW."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Schedule of the learning rate after the warm-up."""
    warmup_steps: int = Field(default=100, ge=0)
    """Steps over which the learning rate rises from 0."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Weight decay of AdamW."""
    epochs: int = Field(default=1, ge=1)
    """Passes over the traces."""
    max_steps: int | None = Field(default=None, ge=1)
    """Stop after this many steps, regardless of `epochs`."""
    max_tokens: int = Field(default=3072, ge=16)
    """Maximum length of an example (prompt and answer), in tokens. If an example is longer, its note is shortened; if the
    answer alone is too long, the example is dropped."""
    gradient_checkpointing: MayChange[bool] = True
    """Recompute activations in the backward pass, to save memory."""
    torch_compile: MayChange[bool] = True
    """Compile the model's hot functions."""
    remove_padding: MayChange[bool] = True
    """Pack sequences without padding."""
    validation: Later[SftValidationSpec | None] = None
    """Validate on held-out examples, and stop early if `stopBelow` or `patience` is given; off by default."""
    save_every_steps: MayChange[int] = Field(default=50, ge=1)
    """Steps between checkpoints; the last step is always saved."""
    keep_checkpoints: MayChange[int] = Field(default=2, ge=1)
    """Checkpoints kept on the local disk."""
    overrides: tuple[str, ...] = ()
    """verl overrides in Hydra's syntax, applied last; checked against verl's configuration before anything starts."""

    rules = (
        unless_given("maxTokensPerGpu", multiple_of("trainBatchSize", of="microBatchSizePerGpu")),
        at_least("maxTokensPerGpu", "maxTokens", "maxTokensPerGpu: is less than one example, maxTokens: raise it"),
    )


class OverlongPenaltySpec(SpecModel):
    """DAPO's penalty for completions that come close to the token limit. It applies only to rollouts that GRPO learns from,
    not to validation or evaluation.
    """

    tokens: int = Field(ge=1)
    """Number of tokens before `maxResponseTokens` over which the penalty rises linearly from 0."""
    penalty: float = Field(default=0.5, gt=0)
    """Amount subtracted from the reward of a completion with `maxResponseTokens` tokens, in units of the reward."""


class DifficultySpec(SpecModel):
    """Which training prompts GRPO leaves out, by how often its start model solves them. A completion solves a prompt if its
    code is the gold code.
    """

    samples: int = Field(default=8, ge=1, le=1024)
    """Completions sampled per prompt, at GRPO's `temperature`."""
    drop_solved: float | None = Field(default=None, gt=0, le=1)
    """Leave out prompts if at least this share of their completions solves them, such as 1; by default none."""
    drop_unsolved: float | None = Field(default=None, ge=0, lt=1)
    """Leave out prompts if at most this share of their completions solves them, such as 0; by default none."""


class GrpoSpec(SpecModel):
    """GRPO with vLLM rollouts and the reward of `spec.reward`. `grpo: {}` is the released model's training."""

    train_batch_size: int = Field(default=64, ge=1)
    """Prompts per step."""
    ppo_mini_batch_size: int = Field(default=64, ge=1)
    """Prompts per optimiser update."""
    micro_batch_size_per_gpu: MayChange[int] = Field(default=4, ge=1)
    """Completions per forward pass on one GPU."""
    max_tokens_per_gpu: MayChange[int | None] = Field(default=None, ge=16)
    """Tokens of prompts and completions per forward pass on one GPU. A pass takes as many completions as fit, instead of
    `microBatchSizePerGpu`."""
    rollouts: int = Field(default=8, ge=2)
    """Completions sampled per prompt; they form a group, and its mean reward is the baseline."""
    temperature: float = Field(default=0.9, gt=0)
    """Sampling temperature of the rollouts and of the held-out reward."""
    top_k: int = Field(default=-1, ge=-1)
    """Sample from this many of the likeliest tokens; -1 turns it off."""
    max_prompt_tokens: int = Field(default=2048, ge=16)
    """Maximum length of a prompt, in tokens; `prepare` shortens longer notes section by section, for every stage."""
    max_response_tokens: int = Field(default=1024, ge=4)
    """Maximum length of a completion, in tokens."""
    learning_rate: float = Field(default=1e-6, gt=0)
    """Learning rate of AdamW."""
    warmup_steps: int = Field(default=80, ge=0)
    """Steps over which the learning rate rises from 0."""
    epochs: int = Field(default=1, ge=1)
    """Passes over the training split."""
    max_steps: int | None = Field(default=None, ge=1)
    """Stop after this many steps, regardless of `epochs`."""
    loss: Later[Literal["grpo", "dr_grpo", "dapo", "gspo"]] = "grpo"
    """`grpo`: the model card's loss, with verl's mean over all tokens. `dr_grpo`: advantages are not divided by the group's
    standard deviation, and a completion's loss is divided by `maxResponseTokens` instead of its length. `dapo`: `grpo` with a
    higher `clipRatioHigh`. `gspo`: one probability ratio for a whole completion."""
    clip_ratio_high: Later[float | None] = Field(default=None, gt=0)
    """How far a probability ratio may rise above 1 before it is clipped; by default 0.2, 0.28 with `dapo` and 0.0004 with
    `gspo`."""
    drop_groups_without_variance: Later[bool] = False
    """Replace prompts whose completions all have the same reward, because nothing is learned from them. The run ends if a step
    has drawn ten times `trainBatchSize` prompts and still has too few."""
    overlong_penalty: Later[OverlongPenaltySpec | None] = None
    """Penalty for completions that come close to `maxResponseTokens`; none by default."""
    entropy_coefficient: float = Field(default=0.001, ge=0)
    """Weight of the entropy bonus."""
    kl_in_reward: bool = False
    """Subtract the KL to the reference policy from the reward, times `klCoefficient`."""
    kl_coefficient: float = Field(default=0.001, ge=0)
    """Coefficient of verl's KL controller; needs `klInReward: true`."""
    kl_loss: bool = False
    """Add the KL to the reference policy to the loss, times `klLossCoefficient`."""
    kl_loss_coefficient: float = Field(default=0.001, ge=0)
    """Weight of the KL loss; needs `klLoss: true`."""
    kl_schedule: Later[Literal["constant", "cosine"]] = "constant"
    """`cosine`: the KL coefficients fall from their value at the first step to 0 at the last, along half a cosine. Needs
    `klInReward` or `klLoss`."""
    reproducible: Later[Literal["auto", "always", "never"]] = "auto"
    """Draw each completion with its own seed, so that a resumed run draws the same completions as an uninterrupted one. On a
    GPU vLLM then starts one more kernel for each completion and token. `auto`: only on CPUs."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs over which vLLM splits the model."""
    difficulty: Later[DifficultySpec | None] = None
    """Before the first step, sample completions of the training prompts from the start model, and leave out prompts by
    difficulty; off by default."""
    gpu_memory_utilization: MayChange[float] = Field(default=0.4, gt=0, le=1)
    """Share of GPU memory that vLLM may take."""
    gradient_checkpointing: MayChange[bool] = True
    """Recompute activations in the backward pass, to save memory."""
    torch_compile: MayChange[bool] = True
    """Compile the model's hot functions."""
    remove_padding: MayChange[bool] = True
    """Pack sequences without padding."""
    offload_parameters: MayChange[bool] = False
    """Keep FSDP's parameters in host memory between uses."""
    offload_optimizer: MayChange[bool] = False
    """Keep the optimiser's state in host memory between uses."""
    save_every_steps: MayChange[int] = Field(default=50, ge=1)
    """Steps between checkpoints; the last step is always saved."""
    keep_checkpoints: MayChange[int] = Field(default=2, ge=1)
    """Checkpoints kept on the local disk."""
    validate_every_steps: MayChange[int] = Field(default=100, ge=1)
    """Steps between validations, which sample at `temperature`. There is also one before the first step and one after the
    last."""
    max_validation_admissions: MayChange[int | None] = Field(default=None, ge=1)
    """Validate on at most this many admissions."""
    keep_rollouts: MayChange[int | None] = Field(default=None, ge=1)
    """Keep this many completions of each step, whole groups first, with their prompts and rewards, in the run's folder. They
    contain notes. `deepicd samples` shows them. None are kept by default."""
    overrides: tuple[str, ...] = ()
    """verl overrides in Hydra's syntax, applied last; checked against verl's configuration before anything starts."""

    rules = (
        multiple_of("trainBatchSize", of="ppoMiniBatchSize"),
        unless_given("maxTokensPerGpu", multiple_of("ppoMiniBatchSize × rollouts", of="microBatchSizePerGpu")),
        at_least(
            "maxTokensPerGpu",
            "maxPromptTokens + maxResponseTokens",
            "maxTokensPerGpu: is less than one prompt with its completion, maxPromptTokens + maxResponseTokens: raise it",
        ),
        requires(
            "overlongPenalty",
            at_least(
                "maxResponseTokens",
                "overlongPenalty.tokens",
                "overlongPenalty.tokens: is more than maxResponseTokens: lower it",
            ),
        ),
        either(
            equals("klSchedule", "constant"),
            equals("klInReward", True),
            equals("klLoss", True),
            message="klSchedule: there is no KL to schedule: set klInReward or klLoss to true",
        ),
    )
