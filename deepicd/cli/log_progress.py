"""Progress of a run where there is no terminal: a log line per event."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from deepicd.cli.stage_view import Trend
from deepicd.phases import Phase, PhaseStart
from deepicd.training.step_metrics import StepMetrics


class LogProgress:
    """A structured log line per event. Numbers are exact here; the renderer rounds them for people."""

    def __init__(self, run: str, kl_name: str) -> None:
        self._log = structlog.get_logger().bind(run=run)
        self._kl_name = kl_name
        self._trend = Trend()

    def stage_started(self, stage: str) -> None:
        """See `deepicd.run.reporter.Reporter`."""
        self._trend = Trend()
        self._log.info("stage started", stage=stage, **({"kl_is": self._kl_name} if stage == "grpo" else {}))

    def phase(self, stage: str, start: PhaseStart) -> None:
        """See `deepicd.run.reporter.Reporter`. Steps have lines of their own."""
        if start.phase != Phase.STEPS:
            named = {"of": start.of, "log": None if start.log is None else str(start.log)}
            self._log.info("phase", stage=stage, phase=str(start.phase), **_known(named))

    def step(self, stage: str, row: StepMetrics, total: int | None, eta: float | None) -> None:
        """See `deepicd.run.reporter.Reporter`."""
        followed = row.reward if row.reward is not None else row.loss
        values = {
            "steps": total, "loss": row.loss, "reward": row.reward,
            "trend": None if followed is None else self._trend.add(followed),
            "validation_reward": row.validation_reward, "validation_loss": row.validation_loss,
            "second_judge": row.second_judge, "judges_agreed": row.judges_agreed, "judges_kappa": row.judges_kappa,
            "response_tokens": row.response_tokens, "format_rate": row.format_rate, "truncated": row.truncated,
            "groups_without_variance": row.groups_without_variance, "gradient_norm": row.gradient_norm, "entropy": row.entropy,
            "clipped": row.clipped, "rollout_difference": row.rollout_difference,
            "tokens_per_second": row.tokens_per_second, "mfu": row.mfu, "gpu_memory": row.gpu_memory,
            "gpu_hours": row.gpu_hours, "gpu_hours_left": row.gpu_hours_left,
            "kl": row.kl, "kept": row.kept, "answers_per_second": row.rate, "cost": row.cost, "waiting": row.waiting,
            "step_seconds": row.seconds, "eta_seconds": round(eta) if eta is not None else None,
        }  # fmt: skip
        self._log.info("step", stage=stage, step=row.step, **_known(values))

    def stage_finished(self, stage: str, seconds: float, *, already: bool) -> None:
        """See `deepicd.run.reporter.Reporter`."""
        self._log.info("stage finished", stage=stage, seconds=round(seconds, 1), **({"already": True} if already else {}))

    def stopping(self, signals: int, text: str) -> None:
        """Log what the signals that have arrived lead to."""
        self._log.warning(text, signals=signals)


def _known(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}
