"""Follows SFT's validations: when they end the stage, and the weights of the lowest loss."""

from __future__ import annotations

from pathlib import Path

import torch

from deepicd.run_layout import CheckpointFolders
from deepicd.spec.training import SftValidationSpec
from deepicd.training.sft_validation import Losses, SftEnd

_LOSSES = "validation.json"


class LowestLoss:
    """The validation losses so far. With `patience` also the weights of the lowest one: in the host's memory, and beside each
    checkpoint, so that a resumed run ends as an undisturbed one would.

    Every rank has one, which keeps its own share of the weights.
    """

    def __init__(self, rule: SftValidationSpec, model: torch.nn.Module, checkpoints: CheckpointFolders, rank: int) -> None:
        """`model`: as FSDP2 has it; its frozen weights are not kept."""
        self._rule, self._model, self._checkpoints, self._rank = rule, model, checkpoints, rank
        self._losses = Losses({})
        self._kept: dict[str, torch.Tensor] = {}

    def is_due(self, step: int, steps: int) -> bool:
        """Whether to validate after a step; `steps`: number of them."""
        return step % self._rule.every_steps == 0 or step >= steps

    def of(self, step: int) -> float | None:
        """The loss of a step's validation; None if it had none."""
        return self._losses.by_step.get(step)

    def add(self, step: int, loss: float) -> str | None:
        """Note a validation; returns why the stage stops after it, or None."""
        self._losses = self._losses.added(step, loss)
        if self._rule.patience is not None and self._losses.lowest == step:
            self._kept = {name: weight.to("cpu", copy=True) for name, weight in self._shares().items()}
        return self._losses.reason_to_stop(self._rule)

    def save(self, step: int) -> None:
        """Write what `load` reads into the folder of a checkpoint, before it is complete."""
        folder = self._checkpoints.of(step)
        folder.mkdir(parents=True, exist_ok=True)
        if self._rank == 0:
            self._losses.write(folder / _LOSSES)
        if self._kept:
            torch.save(self._kept, self._file(folder))

    def load(self, step: int) -> None:
        """Read what `save` wrote."""
        folder = self._checkpoints.of(step)
        self._losses = Losses.read(folder / _LOSSES)
        if self._file(folder).exists():
            self._kept = torch.load(self._file(folder), map_location="cpu", weights_only=True)

    def end(self, step: int, steps: int, reason: str | None) -> SftEnd:
        """After the last step, which had a validation: give the model its final weights.

        `steps`: that the stage would have made; `reason`: what `add` returned.
        """
        weights_of = step
        if self._kept and self._losses.lowest is not None:
            weights_of = self._losses.lowest
            for name, weight in self._shares().items():  # detached: no gradient sees the copy
                weight.copy_(self._kept[name])
        return SftEnd(step, steps, reason, weights_of, self._losses.by_step[weights_of])

    def _file(self, folder: Path) -> Path:
        return folder / f"lowest_loss_rank_{self._rank}.pt"

    def _shares(self) -> dict[str, torch.Tensor]:
        trained = ((name, weight.detach()) for name, weight in self._model.named_parameters() if weight.requires_grad)
        return {name: weight.to_local() if hasattr(weight, "to_local") else weight for name, weight in trained}
