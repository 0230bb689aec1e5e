"""Entry point of GRPO: does what verl's does, and records when Ray starts."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig
from verl.trainer.main_ppo import TaskRunnerV1, run_ppo
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config
from verl.utils.device import auto_set_device

from deepicd.phases import Phase, PhaseFile
from deepicd.training.stage_files import StageFiles


@hydra.main(config_path="pkg://verl.trainer.config", config_name="ppo_trainer", version_base=None)  # type: ignore[untyped-decorator]
def main(config: DictConfig) -> None:
    """Train; the configuration comes from the command line, as verl's own entry point has it."""
    auto_set_device(config)
    validate_config(config, need_reference_policy(config), need_critic(config))
    PhaseFile(StageFiles.from_environment().phases).enter(Phase.RAY)
    run_ppo(config, task_runner_class=TaskRunnerV1)


if __name__ == "__main__":
    main()
