"""GRPO's losses, as verl's own, composed configuration and its own functions have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from deepicd.errors import UserError
from deepicd.spec.load import parse
from deepicd.spec.training import GrpoSpec, OverlongPenaltySpec
from deepicd.training.check import stage_overrides
from deepicd.training.losses import check_drawn, kl_share, loss_settings, overlong_penalty
from deepicd.training.owned_settings import instead_of
from deepicd.training.verl_config import compose

SAMPLES = Path(__file__).parents[3] / "manifests" / "samples"
_ACTOR = "actor_rollout_ref.actor"
_KEYS = {
    "mode": f"{_ACTOR}.policy_loss.loss_mode",
    "mean": f"{_ACTOR}.loss_agg_mode",
    "scale": f"{_ACTOR}.loss_scale_factor",
    "low": f"{_ACTOR}.clip_ratio_low",
    "high": f"{_ACTOR}.clip_ratio_high",
    "deviation": "algorithm.norm_adv_by_std_in_grpo",
    "drop": "algorithm.filter_groups.enable",
}
GRPO = {"mode": "vanilla", "mean": "token-mean", "scale": None, "low": 0.2, "high": 0.2, "deviation": True, "drop": False}


def composed(**grpo: Any) -> Any:
    """verl's configuration of the quickstart's GRPO with these fields."""
    content = yaml.safe_load((SAMPLES / "quickstart.yaml").read_text())
    content["spec"]["stages"]["grpo"] |= grpo
    return compose("grpo", stage_overrides(parse(content, "run.yaml"))["grpo"])


def settings(config: Any) -> dict[str, Any]:
    return {name: OmegaConf.select(config, key) for name, key in _KEYS.items()}


@pytest.mark.parametrize(
    ("grpo", "changed"),
    [
        ({}, {}),
        ({"loss": "grpo", "clipRatioHigh": 0.3}, {"high": 0.3}),
        (
            {"loss": "dr_grpo", "maxResponseTokens": 99},
            {"mean": "seq-mean-token-sum-norm", "scale": 99, "deviation": False},
        ),
        ({"loss": "dapo"}, {"high": 0.28}),
        ({"loss": "dapo", "clipRatioHigh": 0.25, "dropGroupsWithoutVariance": True}, {"high": 0.25, "drop": True}),
        ({"loss": "gspo"}, {"mode": "gspo", "mean": "seq-mean-token-mean", "low": 0.0003, "high": 0.0004}),
    ],
)
def test_each_loss_is_verls(grpo: dict[str, Any], changed: dict[str, Any]) -> None:
    assert settings(composed(**grpo)) == GRPO | changed


def test_without_a_loss_every_setting_is_verls_default() -> None:
    verl = compose("grpo", [])
    assert {key: OmegaConf.select(verl, key) for key in _KEYS.values()} == loss_settings(GrpoSpec())


def test_groups_are_compared_by_the_reward_that_is_trained_on() -> None:
    assert composed(dropGroupsWithoutVariance=True).algorithm.filter_groups.metric == "reward"


@pytest.mark.parametrize(("reproducible", "loop"), [("auto", "deepicd"), ("always", "deepicd"), ("never", "single_turn_agent")])
def test_completions_have_seeds_on_a_cpu_or_if_always(reproducible: str, loop: str) -> None:
    assert composed(reproducible=reproducible).actor_rollout_ref.rollout.agent.default_agent_loop == loop


def test_the_kl_falls_along_half_a_cosine() -> None:
    grpo = GrpoSpec(kl_loss=True, kl_schedule="cosine")
    shares = [kl_share(grpo, step, 5) for step in (1, 2, 3, 4, 5)]
    assert shares == pytest.approx([1, 0.853553, 0.5, 0.146447, 0], abs=1e-6)


def test_the_kl_stays_by_default_and_in_a_single_step() -> None:
    assert [kl_share(GrpoSpec(), step, 5) for step in (1, 5)] == [1, 1]
    assert kl_share(GrpoSpec(kl_loss=True, kl_schedule="cosine"), 1, 1) == 1


def test_a_schedule_without_a_kl_is_refused() -> None:
    with pytest.raises(UserError, match="klSchedule: there is no KL to schedule"):
        composed(klSchedule="cosine")


def test_a_step_that_draws_more_than_ten_batches_is_for_the_user_to_fix() -> None:
    check_drawn(40, 4, 7)
    with pytest.raises(UserError, match=r"^stages\.grpo\.dropGroupsWithoutVariance: 40 prompts of step 7 have too few groups"):
        check_drawn(41, 4, 7)


@pytest.mark.parametrize(("tokens", "penalty"), [(0, 0), (80, 0), (90, 0.25), (100, 0.5)])
def test_the_penalty_rises_over_the_last_tokens(tokens: int, penalty: float) -> None:
    assert overlong_penalty(OverlongPenaltySpec(tokens=20, penalty=0.5), tokens, 100) == penalty
    assert overlong_penalty(None, tokens, 100) == 0


def test_a_penalty_over_more_tokens_than_a_completion_has_is_refused() -> None:
    with pytest.raises(UserError, match=r"overlongPenalty\.tokens: is more than maxResponseTokens"):
        composed(maxResponseTokens=20, overlongPenalty={"tokens": 21})


def test_the_filter_of_groups_is_set_by_its_field_only() -> None:
    remedy = "set spec.stages.grpo.dropGroupsWithoutVariance instead"
    assert instead_of("grpo", "algorithm.filter_groups.enable") == remedy
