"""Which examples SFT holds out, and when the loss on them ends the stage. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from math import isnan
from pathlib import Path

from deepicd import atomic
from deepicd.spec.training import SftValidationSpec


def is_held_out(patient: str, share: float, seed: int) -> bool:
    """Whether a patient is among the share of patients whose examples are held out, by a hash."""
    digest = sha256(f"{seed}:{patient}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


@dataclass(frozen=True)
class Losses:
    """The validation loss by step, in nats per token."""

    by_step: Mapping[int, float]

    def added(self, step: int, loss: float) -> Losses:
        """With one more validation."""
        return Losses({**self.by_step, step: loss})

    @property
    def lowest(self) -> int | None:
        """The first step with the lowest loss; None before the first validation."""
        return min(self.by_step, key=lambda step: (_comparable(self.by_step[step]), step), default=None)

    def reason_to_stop(self, rule: SftValidationSpec) -> str | None:
        """Why the stage ends after the last validation, in words; None if it does not."""
        if (lowest := self.lowest) is None:
            return None
        last = self.by_step[max(self.by_step)]
        if rule.stop_below is not None and last < rule.stop_below:
            return f"validation loss {last:.4g} < {rule.stop_below:g}"
        since = sum(step > lowest for step in self.by_step)
        if rule.patience is not None and since >= rule.patience:
            return f"validation loss no lower than {self.by_step[lowest]:.4g} (step {lowest}) in {since} validations"
        return None

    def write(self, path: Path) -> None:
        """Write them as JSON."""
        atomic.write_json(path, self.by_step)

    @classmethod
    def read(cls, path: Path) -> Losses:
        """What `write` wrote."""
        return cls({int(step): loss for step, loss in json.loads(path.read_text(encoding="utf-8")).items()})


def _comparable(loss: float) -> float:
    return float("inf") if isnan(loss) else loss


@dataclass(frozen=True)
class SftEnd:
    """How an SFT with a validation ended."""

    step: int
    """Its last step."""
    steps: int
    """Steps that it would have made without a reason to stop."""
    reason: str | None
    """See `Losses.reason_to_stop`."""
    weights_of: int
    """Step whose weights the model has."""
    loss: float
    """Validation loss of the model."""

    def __str__(self) -> str:
        """In a sentence without a full stop."""
        stopped = self.reason is not None
        said = [f"stopped at step {self.step} of {self.steps}: {self.reason}" if stopped else f"made all {self.steps} steps"]
        if self.weights_of != self.step:
            said.append(f"its model is that of step {self.weights_of}")
        if not stopped:
            said.append(f"validation loss {self.loss:.4g}")
        return f"SFT {', '.join(said)}"

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        atomic.write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> SftEnd | None:
        """What `write` wrote; None without the file."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
