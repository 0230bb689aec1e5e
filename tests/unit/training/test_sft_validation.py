from __future__ import annotations

from math import nan
from pathlib import Path

import pytest

from deepicd.spec.training import SftValidationSpec
from deepicd.training.sft_validation import Losses, SftEnd, is_held_out

PATIENTS = [str(10_000_000 + number) for number in range(4000)]


def reason(losses: list[float], **rule: float) -> str | None:
    by_step = {10 * number: loss for number, loss in enumerate(losses, start=1)}
    return Losses(by_step).reason_to_stop(SftValidationSpec.model_validate(rule))


def test_the_share_of_held_out_patients_is_the_given_one() -> None:
    held_out = sum(is_held_out(patient, 0.1, 7) for patient in PATIENTS)
    assert 340 <= held_out <= 460  # three standard deviations


def test_the_same_patients_are_held_out_each_time_and_others_with_another_seed() -> None:
    first, again, other = ([is_held_out(patient, 0.5, seed) for patient in PATIENTS] for seed in (7, 7, 8))
    assert first == again != other


def test_without_a_rule_no_loss_is_a_reason_to_stop() -> None:
    assert reason([3.0, 0.01, 9.0, 9.0, 9.0]) is None


def test_a_loss_below_the_limit_stops_and_one_at_it_does_not() -> None:
    assert reason([1.2, 0.9], stopBelow=0.9) is None
    assert reason([1.2, 0.8812], stopBelow=0.9) == "validation loss 0.8812 < 0.9"


def test_patience_counts_validations_since_the_lowest_loss() -> None:
    assert reason([1.0, 0.5, 0.6, 0.4, 0.7], patience=2) is None
    assert reason([1.0, 0.5, 0.6, 0.7], patience=2) == "validation loss no lower than 0.5 (step 20) in 2 validations"


def test_an_equal_loss_is_no_new_lowest() -> None:
    assert reason([0.5, 0.5, 0.5], patience=2) is not None


def test_a_loss_that_is_no_number_is_never_the_lowest() -> None:
    assert Losses({10: nan, 20: 5.0, 30: nan}).lowest == 20
    assert reason([5.0, nan, nan], patience=2) == "validation loss no lower than 5 (step 10) in 2 validations"


def test_losses_are_read_as_they_were_written(tmp_path: Path) -> None:
    losses = Losses({10: 0.1 + 0.2, 20: 1e-9})
    losses.write(tmp_path / "losses.json")
    assert Losses.read(tmp_path / "losses.json") == losses


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (SftEnd(61, 90, "validation loss 0.88 < 0.9", 61, 0.88), "SFT stopped at step 61 of 90: validation loss 0.88 < 0.9"),
        (SftEnd(40, 90, "no better", 20, 0.5), "SFT stopped at step 40 of 90: no better, its model is that of step 20"),
        (SftEnd(90, 90, None, 90, 0.93125), "SFT made all 90 steps, validation loss 0.9313"),
        (SftEnd(90, 90, None, 80, 0.9), "SFT made all 90 steps, its model is that of step 80, validation loss 0.9"),
    ],
)
def test_an_end_says_the_step_the_reason_and_which_weights_are_kept(end: SftEnd, text: str, tmp_path: Path) -> None:
    assert str(end) == text
    end.write(tmp_path / "end.json")
    assert SftEnd.read(tmp_path / "end.json") == end


def test_without_a_validation_there_is_no_end_to_read(tmp_path: Path) -> None:
    assert SftEnd.read(tmp_path / "end.json") is None
