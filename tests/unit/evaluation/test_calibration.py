"""Calibration and abstention."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from deepicd.evaluation import calibration
from deepicd.evaluation.calibration import area_under_risk_coverage, calibrate, expected_error
from deepicd.evaluation.metrics_schema import Calibration
from deepicd.evaluation.predictions import Prediction

CONFIDENCE = np.random.default_rng(0).uniform(0, 1, 500)
RIGHT = np.random.default_rng(1).uniform(0, 1, 500) < CONFIDENCE**2


def stated(confidence: float, right: bool, number: int) -> Prediction:
    levels = dict.fromkeys(("chapter", "category", "code"), confidence)
    return Prediction(str(number), str(number // 2), "I10", "I10" if right else "M5116", confidence=levels)


RECORDS = [stated(float(one), bool(right), number) for number, (one, right) in enumerate(zip(CONFIDENCE, RIGHT, strict=True))]


def found(records: list[Prediction], samples: int = 0) -> Calibration:
    result, reason = calibrate(records, bootstrap_samples=samples, seed=1)
    assert result is not None, reason
    return result


def test_bins_and_brier_score_are_those_of_scikit_learn() -> None:
    code = found(RECORDS)["levels"]["code"]
    shares, means = calibration_curve(RIGHT, CONFIDENCE, n_bins=calibration.BINS)
    assert [one["accuracy"]["value"] for one in code["bins"]] == pytest.approx(shares)
    assert [one["confidence"] for one in code["bins"]] == pytest.approx(means)
    assert code["brier"]["value"] == pytest.approx(brier_score_loss(RIGHT, CONFIDENCE))
    numbers = [one["admissions"] for one in code["bins"]]
    assert code["ece"] == pytest.approx(np.average(np.abs(shares - means), weights=numbers))
    assert code["overconfidence"]["value"] == pytest.approx(CONFIDENCE.mean() - RIGHT.mean())


def test_the_expected_error_by_hand() -> None:
    # (0.9, 1.0]: confidence 1, accuracy 0.5; [0, 0.1]: confidence 0, accuracy 0.
    assert expected_error(np.array([1.0, 1.0, 0.0, 0.0]), np.array([True, False, False, False])) == pytest.approx(0.25)


def test_a_confidence_on_the_edge_belongs_to_the_bin_below() -> None:
    assert calibration.bins(np.array([0.0, 0.1, 0.30000000000000004, 0.5, 0.55, 1.0])).tolist() == [0, 0, 2, 4, 5, 9]


def test_the_area_is_the_mean_risk_over_the_coverages() -> None:
    order = np.argsort(-CONFIDENCE)
    fine = 400  # each answer as many parts, so that sums approach the integral
    wrong = np.repeat(~RIGHT[order], fine)
    risks = np.cumsum(wrong) / np.arange(1, len(wrong) + 1)
    area = area_under_risk_coverage(CONFIDENCE, RIGHT, np.ones((500, 1)))
    assert area[0] == pytest.approx(risks.mean(), abs=1e-3)


def test_answers_of_one_confidence_have_their_error_rate_as_area() -> None:
    area = area_under_risk_coverage(np.full(4, 0.5), np.array([True, False, True, True]), np.ones((4, 1)))
    assert area[0] == pytest.approx(0.25)


def test_a_weight_counts_like_copies_of_an_answer() -> None:
    weights = np.array([[2.0], [0.0], [3.0]])
    once = area_under_risk_coverage(np.array([0.9, 0.8, 0.1]), np.array([True, True, False]), weights)
    copies = area_under_risk_coverage(
        np.array([0.9, 0.9, 0.1, 0.1, 0.1]), np.array([True, True, False, False, False]), np.ones((5, 1))
    )
    assert once[0] == pytest.approx(copies[0])


def test_the_curve_ends_at_full_coverage_with_the_error_rate() -> None:
    points = found(RECORDS)["levels"]["code"]["riskCoverage"]
    assert len(points) == 100
    assert points[-1]["coverage"] == 1
    assert points[-1]["risk"] == pytest.approx(1 - RIGHT.mean())
    assert [point["coverage"] for point in points] == sorted(point["coverage"] for point in points)


def test_intervals_enclose_their_values() -> None:
    code = found(RECORDS, samples=200)["levels"]["code"]
    for measure in (code["overconfidence"], code["brier"], code["aurc"], code["bins"][-1]["accuracy"]):
        assert measure["interval"] is not None
        assert measure["value"] is not None
        assert measure["interval"][0] < measure["value"] < measure["interval"][1]


def test_agreement_of_the_samples_is_the_confidence_of_a_language_model() -> None:
    records = [
        Prediction("1", "1", "M5116", "M5116", samples=("M5116", "M5117")),
        Prediction("2", "2", "M5116", None, samples=("M5116", "M5116")),
    ]
    result = found(records)
    assert (result["confidence"], result["answered"]) == ("agreement of 2 samples with the greedy answer", 1)
    assert [level["bins"][0]["confidence"] for level in result["levels"].values()] == [1.0, 1.0, 0.5]


def test_without_any_confidence_the_reason_is_returned() -> None:
    result, reason = calibrate([Prediction("1", "1", "I10", "I10")])
    assert result is None
    assert reason is not None
    assert "no confidence" in reason
    assert calibrate([Prediction("1", "1", "I10", None, samples=(None,))])[1] == "no admission has a valid answer"
