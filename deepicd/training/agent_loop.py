"""verl's single-turn rollout, with a separate random seed for each completion.

vLLM's sampler restarts with each launch, so without seeds a resumed run would draw different completions from an uninterrupted
one. A request with a seed has its own generator, whatever runs beside it or ran before it.
"""

from __future__ import annotations

from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput, register
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop

from deepicd.training.rollouts import rollout_seed


@register("deepicd")
class SeededAgentLoop(SingleTurnAgentLoop):  # type: ignore[misc]
    """Asks vLLM for each completion with its own seed."""

    async def run(self, sampling_params: dict[str, Any], **fields: Any) -> AgentLoopOutput:
        """One completion. `fields`: the prompt's row, and its step and rollout number."""
        row = fields["extra_info"]
        seed = rollout_seed(
            self.rollout_config.seed,
            step=fields["global_steps"],
            split=row["split"],
            index=row["index"],
            rollout=fields["session_id"],
        )
        # All rollouts share one dictionary: it must not change.
        return await super().run({**sampling_params, "seed": seed}, **fields)
