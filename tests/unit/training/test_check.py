"""Overrides are checked against verl's own configuration, dataclasses and registries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepicd.errors import UserError
from deepicd.spec.load import parse
from deepicd.spec.run import DeepICDRun
from deepicd.training.check import check_overrides, stage_overrides
from deepicd.training.override_rules import BadOverrideError, check_override
from deepicd.training.override_values import check
from deepicd.training.owned_settings import instead_of
from deepicd.training.verl_config import compose

SAMPLES = Path(__file__).parents[3] / "manifests" / "samples"
ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"


def with_overrides(stage: str, *overrides: str) -> DeepICDRun:
    content = yaml.safe_load((SAMPLES / "quickstart.yaml").read_text())
    content["spec"]["stages"][stage]["overrides"] = list(overrides)
    return parse(content, "run.yaml")


@cache
def ours(stage: str) -> list[str]:
    return stage_overrides(with_overrides(stage))[stage]


@cache
def composed(stage: str) -> Any:
    return compose(stage, ours(stage))


def refusal(stage: str, override: str) -> str:
    """What the rules without verl say to an override."""
    config = composed(stage)
    with pytest.raises(BadOverrideError) as error:
        check_override(stage, override, config)
    return str(error.value)


@pytest.mark.parametrize(
    ("stage", "key", "field"),
    [
        ("grpo", "trainer.v1.trainer_mode", ""),
        ("grpo", "trainer.nnodes", "compute.nodes"),
        ("sft", "trainer.n_gpus_per_node", "compute.gpus"),
        ("grpo", "trainer.default_local_dir", ""),
        ("sft", "trainer.resume_mode", ""),
        ("grpo", "data.train_files", "data"),
        ("grpo", "data.train_batch_size", "stages.grpo.trainBatchSize"),
        ("sft", "model.lora_rank", "model.lora.rank"),
        ("grpo", "actor_rollout_ref.model.target_modules", "model.lora.targetModules"),
        ("grpo", "actor_rollout_ref.model.lora.merge", "model.lora"),
        ("grpo", "actor_rollout_ref.model.lora_adapter_path", "model.lora"),
        ("sft", "data.micro_batch_size_per_gpu", "stages.sft.microBatchSizePerGpu"),
        ("grpo", f"{ACTOR}.ppo_micro_batch_size_per_gpu", "stages.grpo.microBatchSizePerGpu"),
        ("grpo", "actor_rollout_ref.model.path", "model.path"),
        ("sft", "model.path", "model.path"),
        ("grpo", "reward.reward_manager.name", "reward"),
        ("grpo", "reward.custom_reward_function.path", "reward.terms"),
        ("grpo", f"{ROLLOUT}.response_length", "stages.grpo.maxResponseTokens"),
        ("grpo", f"{ACTOR}.strategy", ""),
        ("sft", "engine.strategy", ""),
        ("grpo", "model_engine", ""),
        ("grpo", "hydra.run.dir", ""),
        ("sft", "hydra/job_logging", ""),
        ("grpo", "trainer.log_val_generations", "stages.grpo.keepRollouts"),
        ("grpo", "trainer.rollout_data_dir", "stages.grpo.keepRollouts"),
        ("grpo", f"{ROLLOUT}.trace.backend", ""),
    ],
)
def test_a_setting_that_deepicd_owns_is_refused_with_the_field_to_use(stage: str, key: str, field: str) -> None:
    found = refusal(stage, f"{key}=1")
    assert found == f"{key} is set by DeepICD itself: " + (f"set spec.{field} instead" if field else "remove it")


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_a_section_with_a_setting_that_deepicd_owns_is_refused(stage: str) -> None:
    assert refusal(stage, "trainer={resume_mode: disable}").endswith(
        "set only the parts that you need, each with its own override"
    )


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_every_owned_setting_with_a_dot_is_one_of_verls(stage: str) -> None:
    from deepicd.training import owned_settings
    from deepicd.training.override_rules import _keys

    known = dict(_keys(compose(stage, [*ours(stage), "+ray_kwargs.ray_init._temp_dir=x"])))
    names = [name for name in owned_settings._BY_STAGE[stage] if name != "hydra"]
    assert [name for name in names if name not in known] == []


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_what_verl_derives_from_an_owned_setting_is_owned(stage: str) -> None:
    from omegaconf import OmegaConf

    unused = ("critic.", "distillation.", f"{ROLLOUT}.prometheus.")
    derived = [
        key
        for key, value in _texts(OmegaConf.to_container(composed(stage)))
        if any(instead_of(stage, name) for name in re.findall(r"\$\{(?:oc\.select:)?([\w.]+)", value))
    ]
    assert [key for key in derived if instead_of(stage, key) is None and not key.startswith(unused)] == []


def _texts(content: Any, place: str = "") -> Iterator[tuple[str, str]]:
    for name, value in content.items():
        key = f"{place}.{name}" if place else str(name)
        if isinstance(value, dict):
            yield from _texts(value, key)
        elif isinstance(value, str):
            yield key, value


def test_other_settings_are_the_users() -> None:
    for key in ("algorithm.adv_estimator", f"{ACTOR}.optim.lr", f"{ROLLOUT}.n", "trainer.logger", "trainer.project_name"):
        assert instead_of("grpo", key) is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("no equals sign", "is not KEY=VALUE: put a value with spaces, commas or brackets into quotes"),
        ("data.shuffle=[1", "is not KEY=VALUE"),
        ("trainer.experiment_name=a(b", "is not KEY=VALUE"),
        ("=1", "is not KEY=VALUE"),
        ("~data.shuffle", "removes a setting"),
        ("data.shuffle=True,False", "gives several values: give one, or a list in brackets"),
        (f"{ACTOR}.optim.learning_rate=1", f"verl has no setting {ACTOR}.optim.learning_rate: did you mean"),
        (f"{ACTOR}.entropy_coef=1", f"did you mean {ACTOR}.entropy_coeff?"),
        ("adv_estimator=grpo", "did you mean algorithm.adv_estimator?"),
        ("+data.shuffle=True", "verl has data.shuffle already: leave the + out"),
        ("global_profiler=x", "global_profiler is a section: set only the parts"),
        ("data.shuffle=maybe", "data.shuffle takes true or false, as True"),
        ("data.dataloader_num_workers=many", "data.dataloader_num_workers takes a whole number, as "),
        ("trainer.balance_batch=3", "trainer.balance_batch takes true or false"),
    ],
)
def test_an_override_that_cannot_be_used_is_explained_in_our_words(override: str, message: str) -> None:
    found = refusal("grpo", override)
    assert message in found
    assert "Exception" not in found


@pytest.mark.parametrize(
    ("stage", "override", "message"),
    [
        ("grpo", "algorithm.adv_estimator=grpoo", r"algorithm\.adv_estimator takes .*gae.*: did you mean grpo\?"),
        ("grpo", f"{ACTOR}.policy_loss.loss_mode=gspoo", "did you mean gspo?"),
        ("grpo", f"{ACTOR}.kl_loss_type=k9", r"takes .*low_var_kl"),
        ("grpo", f"{ROLLOUT}.n=abc", rf'{ROLLOUT}\.n: must be a whole number \(got "abc"\)'),
        ("grpo", f"{ROLLOUT}.n=${{nope}}", rf"{ROLLOUT}\.n: Interpolation key 'nope' not found: refer to a setting"),
        ("sft", "optim.lr=${oc.env:NO_SUCH_VARIABLE}", r"optim\.lr: .*NO_SUCH_VARIABLE"),
        ("grpo", f"{ROLLOUT}.val_kwargs.top_p=high", r'must be a number \(got "high"\)'),
        ("grpo", f"{ACTOR}.loss_agg_mode=mean", "verl refuses it: Invalid loss_agg_mode: mean"),
        ("grpo", f"+{ACTOR}.clip_ratio_hi=0.3", r"verl has no setting clip_ratio_hi there: did you mean clip_ratio_high\?"),
        ("grpo", "trainer.logger=[file,wand]", r"did you mean wandb\?"),
        ("sft", "optim.lr_scheduler_type=linear", "verl refuses it: its check fails with AssertionError"),
        ("sft", "optim.weight_decay=some", r'must be a number \(got "some"\)'),
        ("grpo", "algorithm.kl_ctrl.type=adaptiv", r"algorithm\.kl_ctrl\.type takes fixed or adaptive"),
        ("grpo", f"{ROLLOUT}.mode=foo", rf"{ROLLOUT}\.mode takes async"),
        ("grpo", f"{ROLLOUT}.n=0", rf"{ROLLOUT}\.n is less than 1: raise it"),
        ("grpo", f"{ROLLOUT}.max_num_seqs=0", r"max_num_seqs: must be at least 1 \(got 0\)"),
        ("sft", "optim.clip_grad=0", "optim.clip_grad is not more than 0"),
    ],
)
def test_a_value_that_verl_would_refuse_hours_later_is_refused(stage: str, override: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"^spec\.stages\.{stage}\.overrides\[0\]: '.*': .*{message}") as error:
        check(stage, ours(stage), [override])
    assert "\n" not in str(error.value)


GOOD = {
    "sft": ["optim.lr=1e-4", "engine.entropy_checkpointing=True", "trainer.logger=[console]", "optim.betas=[0.9,0.95]"],
    "grpo": [
        "algorithm.adv_estimator=rloo", f"{ROLLOUT}.n=4", f"{ROLLOUT}.val_kwargs.top_p=0.9", f"{ACTOR}.clip_ratio_high=0.3",
        f"{ACTOR}.policy_loss.loss_mode=gspo", f"{ACTOR}.loss_agg_mode=token-mean", "data.shuffle=False",
        f"{ROLLOUT}.agent.default_agent_loop=single_turn_agent", "++ray_kwargs.ray_init.runtime_env.py_executable=python",
        f"{ACTOR}.kl_loss_type=low_var_kl+", "algorithm.kl_ctrl.type=adaptive", f"{ROLLOUT}.load_format=auto",
        "algorithm.rollout_correction.rollout_is=token", f"+{ROLLOUT}.engine_kwargs.vllm.block_size=32",
        f"+{ROLLOUT}.engine_kwargs.vllm.enforce_eager=True", "algorithm.gamma=1",
    ],
}  # fmt: skip


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_good_overrides_pass_the_whole_check_whatever_the_working_folder_has(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "omegaconf.py").write_text("raise SystemExit('imported instead of the library')")
    monkeypatch.chdir(tmp_path)
    check_overrides(with_overrides(stage, *GOOD[stage]))


def test_a_bad_value_reaches_the_caller_of_the_process_with_its_place() -> None:
    with pytest.raises(UserError, match=r"^spec\.stages\.grpo\.overrides\[1\]: 'algorithm\.adv_estimator=grpoo': ") as error:
        check_overrides(with_overrides("grpo", f"{ROLLOUT}.n=4", "algorithm.adv_estimator=grpoo"))
    assert "\n" not in str(error.value)


def test_a_bad_key_is_named_with_its_place() -> None:
    with pytest.raises(
        UserError, match=r"^spec\.stages\.sft\.overrides\[0\]: 'optim\.lrr=1': verl has no setting optim\.lrr: "
    ):
        check_overrides(with_overrides("sft", "optim.lrr=1"))
