import numpy as np
import pytest

from deepicd.evaluation import bootstrap
from deepicd.evaluation.bootstrap import interval, patient_weights


def test_all_admissions_of_a_patient_are_drawn_together() -> None:
    weights = np.concatenate(list(patient_weights(["a", "b", "a", "c", "b"], 200, seed=1)), axis=1)
    assert weights.shape == (5, 200)
    assert (weights[0] == weights[2]).all()
    assert (weights[1] == weights[4]).all()


def test_a_sample_draws_as_many_patients_as_there_are() -> None:
    weights = np.concatenate(list(patient_weights(["a", "b", "b", "c"], 200, seed=1)), axis=1)
    assert (weights[[0, 1, 3]].sum(axis=0) == 3).all()
    assert weights[[0, 1, 3]].mean(axis=1).tolist() == pytest.approx([1, 1, 1], abs=0.2)


def test_the_seed_decides_the_samples() -> None:
    first, again, other = (np.concatenate(list(patient_weights(list("abcdef"), 50, seed=seed)), axis=1) for seed in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).any()


def test_chunks_do_not_change_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    subjects = list("abcdefg")
    whole = np.concatenate(list(patient_weights(subjects, 20, seed=5)), axis=1)
    monkeypatch.setattr(bootstrap, "_CHUNK", 21)
    chunks = list(patient_weights(subjects, 20, seed=5))
    assert len(chunks) == 7
    assert (np.concatenate(chunks, axis=1) == whole).all()


def test_interval_leaves_out_samples_without_a_value() -> None:
    values = np.concatenate([np.linspace(0, 1, 1001), np.full(500, np.nan)])
    assert interval(values) == pytest.approx((0.025, 0.975))
    assert interval(np.full(3, np.nan)) is None


def test_interval_of_a_mean_is_about_that_of_the_normal_approximation() -> None:
    values = np.random.default_rng(0).normal(size=400)
    weights = np.concatenate(list(patient_weights([str(n) for n in range(400)], 2000, seed=2)), axis=1)
    ends = interval(values @ weights / 400)
    assert ends is not None
    half = 1.96 * values.std() / 20
    assert ends == pytest.approx((values.mean() - half, values.mean() + half), abs=0.015)


@pytest.mark.parametrize(("patients", "drawn"), [(1, 0), (2, 0), (5, 0), (6, 50)])
def test_of_too_few_patients_no_sample_is_drawn(patients: int, drawn: int) -> None:
    subjects = [str(number % patients) for number in range(30)]
    _, values = bootstrap.resample(subjects, 50, 0, lambda weights: {"n": weights.sum(axis=0)})
    assert len(values.get("n", ())) == drawn
