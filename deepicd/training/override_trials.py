"""Try verl's settings as verl and vLLM will use them, on a few numbers instead of a model: no GPU, no Ray, two seconds.

verl's dataclasses declare types; which values work is decided where they are used, after the model is loaded or in the first
step. Each trial here calls the function that decides, and lets its exception through.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from difflib import get_close_matches
from functools import cache
from typing import Any

from deepicd.training.override_rules import BadOverrideError

_ACTOR, _ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"


def trials(stage: str) -> list[Callable[[Any], None]]:
    """Functions that take verl's whole configuration of a stage, and raise what verl or vLLM would."""
    if stage == "sft":
        return [_Optimizer("optim", "engine"), _NumberFormats("engine")]
    return [
        _start_check, _Optimizer(f"{_ACTOR}.optim", f"{_ACTOR}.fsdp_config"), _NumberFormats(f"{_ACTOR}.fsdp_config"),
        _NumberFormats("actor_rollout_ref.ref.fsdp_config"), _kl_controller, _policy_loss, _rollout_correction, _replay_buffer,
        _Sampling(_ROLLOUT), _Sampling(f"{_ROLLOUT}.val_kwargs"), _engine_arguments, _scheduler,
    ]  # fmt: skip


def _start_check(config: Any) -> None:
    """verl's own check, the first thing that its entry point does."""
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    checked = config.copy()
    # For adapters it imports vLLM's side of verl, to see a limit that `model.lora.rank` has already.
    checked.actor_rollout_ref.model.lora_rank = 0
    with redirect_stdout(io.StringIO()):
        validate_config(checked, need_reference_policy(checked), need_critic(checked))


class _Optimizer:
    """Builds the optimizer for one number."""

    def __init__(self, optimizer: str, engine: str) -> None:
        self._optimizer, self._engine = optimizer, engine

    def __call__(self, config: Any) -> None:
        import torch
        from verl.workers.config.optimizer import build_optimizer

        build_optimizer([torch.nn.Parameter(torch.zeros(1))], _built(config, self._optimizer))


class _NumberFormats:
    """Reads the formats in which an engine keeps numbers."""

    def __init__(self, engine: str) -> None:
        self._engine = engine

    def __call__(self, config: Any) -> None:
        from verl.utils.torch_dtypes import PrecisionType

        engine = _node(config, self._engine)
        for value in (engine.model_dtype, engine.dtype, *dict(engine.get("mixed_precision") or {}).values()):
            if value is not None:
                PrecisionType.to_dtype(value)


def _kl_controller(config: Any) -> None:
    from verl.trainer.ppo.core_algos import get_kl_controller

    known = ("fixed", "adaptive")
    if config.algorithm.kl_ctrl.type not in known:  # verl's exception has no text
        raise BadOverrideError(f"algorithm.kl_ctrl.type takes {' or '.join(known)}")
    get_kl_controller(config.algorithm.kl_ctrl)


def _policy_loss(config: Any) -> None:
    """The loss of two completions of four tokens."""
    import torch
    from verl.trainer.ppo.core_algos import get_policy_loss_fn

    actor = _built(config, _ACTOR)
    actor.global_batch_info.update(
        dp_size=1, batch_num_tokens=8, global_batch_size=2, loss_scale_factor=actor.loss_scale_factor
    )
    get_policy_loss_fn(actor.policy_loss.loss_mode)(
        **dict(zip(("old_log_prob", "log_prob", "advantages"), _log_probs(torch), strict=True)),
        response_mask=torch.ones(2, 4, dtype=torch.bool),
        loss_agg_mode=actor.loss_agg_mode,
        config=actor,
        rollout_is_weights=None,
    )


def _log_probs(torch: Any) -> Iterator[Any]:
    """Three tables of two completions with four tokens, each with other negative numbers."""
    for scale in (0.1, 0.11, 0.12):
        yield -scale * torch.arange(1.0, 9.0).reshape(2, 4)


def _rollout_correction(config: Any) -> None:
    import torch
    from verl.trainer.ppo.rollout_corr_helper import compute_rollout_correction_and_rejection_mask

    settings = config.algorithm.get("rollout_correction")
    if not settings:
        return
    known = ("ppo_clip", "reinforce")
    if settings.loss_type not in known:
        raise BadOverrideError(f"algorithm.rollout_correction.loss_type takes {' or '.join(known)}")
    old, new, _ = _log_probs(torch)
    names = ("rollout_is", "rollout_is_threshold", "rollout_is_batch_normalize", "rollout_rs", "rollout_rs_threshold")
    compute_rollout_correction_and_rejection_mask(
        old, new, torch.ones(2, 4), **{name: settings[name] for name in names if name in settings}
    )


def _replay_buffer(config: Any) -> None:
    from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

    sampler = config.trainer.v1.sampler
    ReplayBuffer(
        trainer_mode="sync", trainer_config={}, max_off_policy_threshold=sampler.max_off_policy_threshold,
        max_off_policy_strategy=sampler.max_off_policy_strategy, sampler_kwargs=sampler.sampler_kwargs,
    )  # fmt: skip


class _Sampling:
    """vLLM's parameters of one request."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __call__(self, config: Any) -> None:
        from vllm.sampling_params import SamplingParams

        found = _node(config, self._place)
        names = ("temperature", "top_k", "top_p", "repetition_penalty")
        SamplingParams(**{name: found[name] for name in names if name in found})


def _engine_arguments(config: Any) -> None:
    """The settings that verl writes on the command line of vLLM's server."""
    parser = _command_line()
    known = {
        name for action in parser._actions for name in (action.dest, *(text.lstrip("-") for text in action.option_strings))
    }
    rollout = _node(config, _ROLLOUT)
    verls = {name: rollout.get(name) for name in ("dtype", "logprobs_mode", "scheduling_policy")}
    for name, value in {**verls, **_plain(rollout.engine_kwargs.get("vllm") or {})}.items():
        if name.replace("-", "_") not in known and name not in known:
            near = get_close_matches(name, known, n=1)
            raise BadOverrideError(f"vLLM has no setting {name}" + (f": did you mean {near[0]}?" if near else ": remove it"))
        try:
            parser.parse_args(list(_arguments(name, value)))
        except (ValueError, TypeError, argparse.ArgumentError) as error:
            raise BadOverrideError(f"vLLM refuses {name}: {str(error).splitlines()[0]}") from None


@cache
def _command_line() -> Any:
    """vLLM's own parser, which raises ValueError instead of ending the process."""
    from vllm.entrypoints.openai.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    class Parser(FlexibleArgumentParser):  # type: ignore[misc]
        def error(self, message: str) -> None:
            raise ValueError(message)

    return make_arg_parser(Parser())


def _arguments(name: str, value: Any) -> Iterator[str]:
    """verl's form of a setting on vLLM's command line."""
    if value is None or value is False or value == []:
        return
    yield f"--{name}"
    if isinstance(value, list):
        yield from map(str, value)
    elif value is not True:
        yield json.dumps(value) if isinstance(value, Mapping) else str(value)


def _scheduler(config: Any) -> None:
    """vLLM's limits of a batch and of its memory."""
    from vllm.config import CacheConfig, SchedulerConfig

    rollout = _node(config, _ROLLOUT)
    SchedulerConfig(
        max_num_seqs=rollout.max_num_seqs, max_num_batched_tokens=rollout.max_num_batched_tokens,
        max_model_len=rollout.max_model_len, enable_chunked_prefill=rollout.enable_chunked_prefill, is_encoder_decoder=False,
    )  # fmt: skip
    CacheConfig(gpu_memory_utilization=rollout.gpu_memory_utilization)


def _built(config: Any, place: str) -> Any:
    """The dataclass of a section."""
    from hydra.utils import instantiate

    return instantiate(_node(config, place), _convert_="partial")


def _node(config: Any, place: str) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.select(config, place)


def _plain(found: Any) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found
