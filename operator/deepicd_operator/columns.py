"""The short texts that `kubectl get deepicdruns` shows."""

from __future__ import annotations

from deepicd_operator.status import Columns, RunStatus


def columns(status: RunStatus) -> Columns:
    """Return the columns of a status."""
    checkpoint, metrics = status.last_verified_checkpoint, status.metrics
    eta = status.eta_seconds if status.state == "Running" else None
    return Columns(
        step=_steps(status.step, status.steps),
        reward=_number(status.reward, 2),
        kl=_number(status.kl, 3),
        f1_category=_number(metrics.category if metrics else None, 3),
        eta=_span(eta),
        gpu_hours=f"{status.gpu_hours:.1f}" if status.gpu_hours else "",
        checkpoint=f"{checkpoint.stage}/{checkpoint.step}" if checkpoint else "",
    )


def _steps(step: int | None, steps: int | None) -> str:
    if step is None:
        return ""
    return f"{step}/{steps}" if steps is not None else str(step)


def _number(value: float | None, digits: int) -> str:
    if value is None:
        return ""
    tiny = 0 < abs(value) < 0.5 * 10**-digits
    return f"{value:.1e}" if tiny or abs(value) >= 1e6 else f"{value:.{digits}f}"


def _span(seconds: int | None) -> str:
    """Format seconds in the largest unit, as `kubectl` shows ages: `9h`, `12m`, `40s`."""
    if seconds is None:
        return ""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
