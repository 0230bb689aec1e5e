"""Checks the values of overrides with verl's own dataclasses and registries.

Run as a separate process (`python -m deepicd.training.override_values`), since verl and vLLM take seconds and a gigabyte: it
reads `{"stage": …, "ours": [override], "own": [override]}`, and exits with 64 and one line on stderr if verl would refuse one
of `own`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial
from textwrap import shorten
from typing import Any, get_args, get_type_hints

from deepicd.errors import CrashError, ExitCode, UserError
from deepicd.spec.wording import expected
from deepicd.training.launch import exit_code_of
from deepicd.training.override_rules import LOGGER, BadOverrideError, parsed
from deepicd.training.override_trials import trials
from deepicd.training.verl_config import compose

Use = Callable[[Any], None]
"""Uses verl's configuration of a stage, and raises if its values do not work."""

_PLAIN = {bool, int, float, str, list, dict, type(None)}


def check_values(stage: str, ours: Sequence[str], own: Sequence[str]) -> None:
    """Check a stage's overrides in a separate process. `ours`: those before the user's `own`.

    Raises:
        UserError: verl would refuse one of `own`; the message names it.
        CrashError: the process failed otherwise.
    """
    command = [sys.executable, "-P", "-m", "deepicd.training.override_values"]
    content = json.dumps({"stage": stage, "ours": list(ours), "own": list(own)})
    done = subprocess.run(command, input=content, capture_output=True, text=True, check=False)
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    if done.returncode == ExitCode.USER_ERROR:
        raise UserError(last)
    if done.returncode:
        raise CrashError(f"the overrides of stages.{stage} could not be checked against verl: {last}")


def check(stage: str, ours: Sequence[str], own: Sequence[str]) -> None:
    """The input of the process that `check_values` starts."""
    config = compose(stage, [*ours, *own])
    for count, text in enumerate(own):
        try:
            _check_references(parsed(text).key_or_group, config)
            _check_type(parsed(text), config)
            _check_choice(parsed(text).key_or_group, config)
            _check_least(parsed(text).key_or_group, config)
        except BadOverrideError as error:
            raise _refused(stage, count, text, str(error)) from None
    sections = {place for text in own if (place := _section(parsed(text).key_or_group, config)) is not None}
    uses: list[Use] = [*(partial(_build, place) for place in sorted(sections)), *trials(stage)]
    for use in uses:
        if (reason := _refusal(use, config)) and (cause := _cause(use, stage, ours, own)) is not None:
            raise _refused(stage, cause, own[cause], reason)


def _cause(use: Use, stage: str, ours: Sequence[str], own: Sequence[str]) -> int | None:
    """The place of the override with which a use of the settings began to fail; None if it fails without them too."""
    works, cause = not _refusal(use, compose(stage, ours)), None
    for count in range(len(own)):
        before, works = works, not _refusal(use, compose(stage, [*ours, *own[: count + 1]]))
        if before and not works:
            cause = count
    return cause


def _refused(stage: str, count: int, text: str, reason: str) -> UserError:
    return UserError(f"spec.stages.{stage}.overrides[{count}]: '{text}': {reason}")


def _check_references(key: str, config: Any) -> None:
    """Check that whatever a value refers to, such as `${data.seed}`, exists."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        found = OmegaConf.select(config, key, throw_on_missing=False)
        if OmegaConf.is_config(found):
            OmegaConf.to_container(found, resolve=True)
    except OmegaConfBaseException as error:
        raise BadOverrideError(f"{key}: {str(error).splitlines()[0]}: refer to a setting that verl has") from None


def _check_type(found: Any, config: Any) -> None:
    """Check that the value has the type that its section's dataclass declares."""
    from hydra.utils import get_class
    from pydantic import TypeAdapter, ValidationError

    parents = [place for place in _parents(found.key_or_group) if _select(config, f"{place}._target_")]
    if not parents or parents[-1] != found.key_or_group.rpartition(".")[0] or found.value() is None:
        return
    name = found.key_or_group.rpartition(".")[2]
    declared = get_type_hints(get_class(_select(config, f"{parents[-1]}._target_")))
    if name not in declared:
        near = get_close_matches(name, declared, n=1)
        raise BadOverrideError(f"verl has no setting {name} there" + (f": did you mean {near[0]}?" if near else ": remove it"))
    hint, value = declared[name], _select(config, found.key_or_group)
    if not _is_plain(hint):
        return
    try:
        # As JSON, in which a list may be a tuple.
        TypeAdapter(hint).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise BadOverrideError(f"{found.key_or_group}: {expected(error.errors()[0])}") from None


def _is_plain(hint: Any) -> bool:
    """Whether a type consists of numbers, texts, lists and tables only."""
    return hint in (*_PLAIN, tuple) or (bool(get_args(hint)) and all(part is ... or _is_plain(part) for part in get_args(hint)))


def _check_choice(key: str, config: Any) -> None:
    """Check that the value is one that verl has registered."""
    if key not in _CHOICES:
        return
    value, known = _select(config, key), _CHOICES[key]()
    for one in value if isinstance(value, list) else [value]:
        if one not in known:
            near = get_close_matches(str(one), known, n=1)
            raise BadOverrideError(
                f"{key} takes {', '.join(sorted(known))}" + (f": did you mean {near[0]}?" if near else ": choose one of them")
            )


def _estimators() -> list[str]:
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY, AdvantageEstimator

    return list({*ADV_ESTIMATOR_REGISTRY, *(one.value for one in AdvantageEstimator)})


def _losses() -> list[str]:
    from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY

    return list(POLICY_LOSS_REGISTRY)


def _penalties() -> list[str]:
    """Those that verl's function takes."""
    import torch
    from verl.trainer.ppo.core_algos import kl_penalty

    def known(name: str) -> bool:
        try:
            kl_penalty(torch.zeros(1), torch.zeros(1), name)
        except NotImplementedError:
            return False
        return True

    names = ("kl", "k1", "abs", "mse", "k2", "low_var_kl", "k3")
    return [each for name in names for each in (name, f"{name}+") if known(each)]


def _trackers() -> list[str]:
    from verl.utils.tracking import Tracking

    return list(Tracking.supported_backend)


def _modes() -> list[str]:
    from verl.workers.rollout.base import _ROLLOUT_REGISTRY

    return [mode for name, mode in _ROLLOUT_REGISTRY if name == "vllm"]


_CHOICES: dict[str, Callable[[], list[str]]] = {
    "algorithm.adv_estimator": _estimators,
    "algorithm.kl_penalty": _penalties,
    "actor_rollout_ref.actor.kl_loss_type": _penalties,
    "actor_rollout_ref.actor.policy_loss.loss_mode": _losses,
    "actor_rollout_ref.rollout.mode": _modes,
    LOGGER: _trackers,
}


_AT_LEAST = {
    "rollout.n": 1, "val_kwargs.n": 1, "actor.rollout_n": 1, "agent.num_workers": 1, "rollout.data_parallel_size": 1,
    "checkpoint_engine.update_weights_bucket_megabytes": 1, "actor.ppo_epochs": 1, "actor.loss_scale_factor": 1,
    "actor_rollout_ref.nccl_timeout": 1, "data.gen_batch_size": 1, "data.dataloader_num_workers": 0, "data.num_workers": 0,
    "ray_init.num_cpus": 1, "ulysses_sequence_parallel_size": 1, "entropy_from_logits_chunk_size": 1,
    "pad_to_length_bucket": 1, "num_shards": 1, "seed": 0, "data_loader_seed": 0,
}  # fmt: skip
"""Minimum values of settings, by the end of their keys. Below them a run hangs or fails, and verl does not check."""


def _check_least(key: str, config: Any) -> None:
    value = _select(config, key)
    least = next((least for end, least in _AT_LEAST.items() if f".{key}".endswith(f".{end}")), None)
    if least is not None and isinstance(value, int | float) and value < least:
        raise BadOverrideError(f"{key} is less than {least}: raise it")
    if key.endswith(".fsdp_size") and value == 0:
        raise BadOverrideError(f"{key} is 0: give the number of GPUs that share a model, or -1 for all")
    if key.endswith(("optim.clip_grad", "actor.grad_clip")) and isinstance(value, int | float) and value <= 0:
        raise BadOverrideError(f"{key} is not more than 0: raise it")


def _section(key: str, config: Any) -> str | None:
    """The outermost section with a key that a dataclass of verl's checks; None for the model's, which loads the model."""
    place = next((place for place in _parents(key) if _select(config, f"{place}._target_")), None)
    if place is None or _select(config, f"{place}._target_") == "verl.workers.config.HFModelConfig":
        return None
    return place


def _build(place: str, config: Any) -> None:
    """Build the dataclass of a section, which checks its content."""
    from hydra.utils import instantiate

    instantiate(_node(config, place), _convert_="partial")


def _refusal(use: Use, config: Any) -> str | None:
    """Why verl or vLLM cannot use the settings; None if they can."""
    from pydantic import ValidationError

    try:
        use(config)
    except BadOverrideError as error:
        return str(error)
    except ValidationError as error:
        first = error.errors()[0]
        return ".".join(map(str, first["loc"])) + f": {expected(first)}"
    except Exception as error:  # verl raises various errors; hydra wraps them
        reason = error.__cause__ or error
        text = (str(reason).strip().splitlines() or [f"its check fails with {type(reason).__name__}"])[0]
        return f"verl refuses it: {shorten(text, 300)}"
    return None


def _parents(key: str) -> list[str]:
    """The sections that contain a key, the outermost first."""
    parts = key.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _node(config: Any, place: str) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.select(config, place)


def _select(config: Any, place: str) -> Any:
    """A value, lists and tables as Python's own; None if it is missing."""
    from omegaconf import OmegaConf

    found = _node(config, place)
    return OmegaConf.to_container(found) if OmegaConf.is_config(found) else found


def main() -> int:
    """Read the overrides to check from standard input."""
    content = json.load(sys.stdin)
    return exit_code_of(lambda: check(content["stage"], content["ours"], content["own"]))


if __name__ == "__main__":
    sys.exit(main())
