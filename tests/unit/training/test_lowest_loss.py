from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deepicd.run_layout import CheckpointFolders
from deepicd.spec.training import SftValidationSpec
from deepicd.training.lowest_loss import LowestLoss


class Model(torch.nn.Module):  # type: ignore[misc]
    """One trained weight and one frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.trained = torch.nn.Parameter(torch.zeros(3))
        self.frozen = torch.nn.Parameter(torch.zeros(3), requires_grad=False)

    def at(self, value: float) -> None:
        """As after another step."""
        for weight in self.parameters():
            weight.detach().fill_(value)


@pytest.fixture
def model() -> Model:
    return Model()


def lowest(model: Model, folder: Path, **rule: float) -> LowestLoss:
    spec = SftValidationSpec.model_validate({"everySteps": 10, **rule})
    return LowestLoss(spec, model, CheckpointFolders(folder), rank=0)


def test_a_validation_is_due_at_its_interval_and_after_the_last_step(model: Model, tmp_path: Path) -> None:
    found = lowest(model, tmp_path)
    assert [step for step in range(1, 36) if found.is_due(step, 35)] == [10, 20, 30, 35]


def test_with_patience_the_model_ends_with_the_trained_weights_of_the_lowest_loss(model: Model, tmp_path: Path) -> None:
    found = lowest(model, tmp_path, patience=2)
    reasons = []
    for step, loss in ((10, 2.0), (20, 1.0), (30, 1.5), (40, 1.2)):
        model.at(step)
        reasons.append(found.add(step, loss))
    assert reasons[:3] == [None] * 3
    end = found.end(40, 90, reasons[-1])
    assert (end.step, end.steps, end.weights_of, end.loss) == (40, 90, 20, 1.0)
    assert (model.trained.tolist(), model.frozen.tolist()) == ([20.0] * 3, [40.0] * 3)


def test_without_patience_the_model_stays_as_it_is(model: Model, tmp_path: Path) -> None:
    found = lowest(model, tmp_path)
    for step, loss in ((10, 1.0), (20, 2.0)):
        model.at(step)
        assert found.add(step, loss) is None
    assert found.end(20, 20, None).weights_of == 20
    assert model.trained.tolist() == [20.0] * 3


@pytest.mark.parametrize("saved_at", [20, 25, 30])
def test_a_resumed_validation_ends_like_an_undisturbed_one(model: Model, tmp_path: Path, saved_at: int) -> None:
    first = lowest(model, tmp_path, patience=2)
    losses = {10: 2.0, 20: 1.0, 30: 1.5, 40: 1.2}
    for step in (step for step in losses if step <= saved_at):
        model.at(step)
        first.add(step, losses[step])
    first.save(saved_at)
    resumed = lowest(model, tmp_path, patience=2)
    resumed.load(saved_at)
    assert resumed.of(20) == 1.0
    for step in (step for step in losses if step > saved_at):
        model.at(step)
        reason = resumed.add(step, losses[step])
    end = resumed.end(40, 90, reason)
    assert (end.reason, end.weights_of) == ("validation loss no lower than 1 (step 20) in 2 validations", 20)
    assert model.trained.tolist() == [20.0] * 3


def test_only_with_patience_weights_are_written_beside_a_checkpoint(model: Model, tmp_path: Path) -> None:
    for name, rule in (("without", {}), ("with", {"patience": 1})):
        found = lowest(model, tmp_path / name, **rule)
        found.add(10, 1.0)
        found.save(10)
    names = {name: sorted(path.name for path in (tmp_path / name / "global_step_10").iterdir()) for name in ("without", "with")}
    assert names == {"without": ["validation.json"], "with": ["lowest_loss_rank_0.pt", "validation.json"]}


def test_weights_that_fsdp2_has_spread_over_ranks_are_kept_and_put_back(model: Model, tmp_path: Path) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor

    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
        assert isinstance(model.trained, DTensor)
        found = lowest(model, tmp_path, patience=2)
        for step, loss in ((10, 1.0), (20, 2.0)):
            model.at(step)
            found.add(step, loss)
        found.save(20)
        resumed = lowest(model, tmp_path, patience=2)
        resumed.load(20)
        resumed.end(20, 20, None)
        assert model.trained.full_tensor().tolist() == [10.0] * 3
    finally:
        torch.distributed.destroy_process_group()
