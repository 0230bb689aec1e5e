import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from deepicd.evaluation.classification import (
    FloatArray,
    Labels,
    accuracy,
    accuracy_by,
    count,
    count_nested,
    encode,
    f1,
    macro_f1,
    macro_f1_by,
    macro_f1_union,
    micro_f1,
)

CLASSES = st.sampled_from("ABCDE")
PAIRS = st.lists(st.tuples(CLASSES, st.none() | CLASSES), min_size=1, max_size=60)


def once(labels: Labels) -> FloatArray:
    return np.ones((len(labels.gold), 1))


def test_hand_checked_case() -> None:
    # A: TP 1, FN 1 (missing), FP 1 -> 2/4. B: TP 1, FN 1, FP 0 -> 2/3. C: FP 0, FN 1 -> 0. D is predicted only.
    labels = encode(["A", "A", "B", "B", "C"], ["A", None, "B", "A", "D"])
    counts = count(labels, once(labels))
    assert f1(counts)[:, 0].tolist() == pytest.approx([1 / 2, 2 / 3, 0, 0])
    assert macro_f1(counts)[0] == pytest.approx((1 / 2 + 2 / 3 + 0) / 3)
    assert macro_f1_union(counts)[0] == pytest.approx((1 / 2 + 2 / 3 + 0 + 0) / 4)
    assert micro_f1(counts)[0] == pytest.approx(2 * 2 / (2 * 2 + 2 + 3))
    assert accuracy(counts)[0] == pytest.approx(2 / 5)


def test_a_missing_prediction_costs_no_class_but_its_gold() -> None:
    missing, wrong = encode(["A", "B"], [None, "B"]), encode(["A", "B"], ["B", "B"])
    assert f1(count(missing, once(missing)))[1, 0] == 1
    assert f1(count(wrong, once(wrong)))[1, 0] == pytest.approx(2 / 3)


def test_no_valid_prediction_at_all_scores_zero() -> None:
    labels = encode(["A", "B"], [None, None])
    counts = count(labels, once(labels))
    assert [macro_f1(counts)[0], macro_f1_union(counts)[0], micro_f1(counts)[0], accuracy(counts)[0]] == [0, 0, 0, 0]


def test_group_means_keep_false_positives_from_outside_the_group() -> None:
    labels = encode(["A", "B", "B"], ["A", "A", "B"])
    counts = count(labels, once(labels))
    groups = np.array([[True, False], [False, True], [True, True]])
    assert macro_f1_by(counts, groups)[:, 0].tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3])
    assert accuracy_by(counts, groups)[:, 0].tolist() == pytest.approx([1, 1 / 2, 2 / 3])


def test_a_group_without_gold_is_undefined() -> None:
    labels = encode(["A"], ["B"])
    assert np.isnan(macro_f1_by(count(labels, once(labels)), np.array([[False, True]]))[0, 0])


@given(PAIRS)
def test_agrees_with_scikit_learn(pairs: list[tuple[str, str | None]]) -> None:
    gold, predicted = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    labels = encode(gold, predicted)
    counts = count(labels, once(labels))
    shown = [name or "no prediction" for name in predicted]
    union = list(labels.classes)
    occurring = sorted(set(gold))
    expected = {
        name: f1_score(gold, shown, labels=classes, average=average, zero_division=0)
        for name, classes, average in (
            ("macro", occurring, "macro"),
            ("union", union, "macro"),
            ("micro", union, "micro"),
        )
    }
    assert macro_f1(counts)[0] == pytest.approx(expected["macro"])
    assert macro_f1_union(counts)[0] == pytest.approx(expected["union"])
    assert micro_f1(counts)[0] == pytest.approx(expected["micro"])


@given(PAIRS, st.data())
def test_a_weight_counts_as_that_many_copies(pairs: list[tuple[str, str | None]], data: st.DataObject) -> None:
    times = data.draw(st.lists(st.integers(0, 3), min_size=len(pairs), max_size=len(pairs)))
    copies = [pair for pair, number in zip(pairs, times, strict=True) for _ in range(number)]
    labels = encode(*map(list, zip(*pairs, strict=True)))
    weighted = count(labels, np.array(times, dtype=np.float64)[:, None])
    if not copies:
        assert np.isnan(macro_f1(weighted)[0])
        return
    copied = encode(*map(list, zip(*copies, strict=True)))
    plain = count(copied, once(copied))
    for statistic in (macro_f1, macro_f1_union, micro_f1, accuracy):
        assert statistic(weighted)[0] == pytest.approx(statistic(plain)[0])


@given(PAIRS)
def test_order_does_not_matter_and_scores_stay_between_0_and_1(pairs: list[tuple[str, str | None]]) -> None:
    scores = []
    for order in (pairs, pairs[::-1]):
        labels = encode(*map(list, zip(*order, strict=True)))
        scores.append(macro_f1(count(labels, once(labels)))[0])
    assert scores[0] == pytest.approx(scores[1])
    assert 0 <= scores[0] <= 1


@given(PAIRS)
def test_micro_f1_is_at_least_accuracy_and_equal_without_missing_predictions(
    pairs: list[tuple[str, str | None]],
) -> None:
    labels = encode(*map(list, zip(*pairs, strict=True)))
    counts = count(labels, once(labels))
    assert micro_f1(counts)[0] >= accuracy(counts)[0] - 1e-12
    if all(predicted for _, predicted in pairs):
        assert micro_f1(counts)[0] == pytest.approx(accuracy(counts)[0])


NESTED = st.sampled_from(["A1", "A2", "B1", "B2", "C1"])


@given(st.lists(st.tuples(NESTED, st.none() | NESTED), min_size=1, max_size=40), st.integers(0, 9))
def test_nested_levels_have_exactly_the_counts_of_each_level_alone(pairs: list[tuple[str, str | None]], seed: int) -> None:
    fine = encode([gold for gold, _ in pairs], [answer for _, answer in pairs])
    coarse = encode([gold[0] for gold, _ in pairs], [None if answer is None else answer[0] for _, answer in pairs])
    weights = np.random.default_rng(seed).integers(0, 4, size=(len(pairs), 3)).astype(np.float64)
    for labels, found in zip((coarse, fine), count_nested([coarse, fine], np.ascontiguousarray(weights.T)), strict=True):
        alone = count(labels, weights)
        assert (found.true_positives == alone.true_positives).all()
        assert (found.gold == alone.gold).all()
        assert (found.predicted == alone.predicted).all()
