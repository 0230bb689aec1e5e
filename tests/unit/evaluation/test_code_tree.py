"""Linear models along the hierarchy of codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import SGDClassifier

from deepicd.evaluation import code_tree
from deepicd.evaluation.code_tree import CodeTree
from deepicd.evaluation.levels import Level, class_of
from tests.unit.evaluation.test_baselines import WORDS, notes

TRAIN = notes(200, seed=1)


def rows_of(texts: list[str]) -> Any:
    return TfidfVectorizer(dtype=np.float32).fit(TRAIN.texts).transform(texts)


def fitted(codes: list[str] = TRAIN.codes) -> CodeTree:
    return CodeTree(rows_of(TRAIN.texts), codes, alpha=1e-4, class_weight=None)


def test_the_probabilities_of_all_codes_add_up_to_one_and_the_right_one_is_the_largest() -> None:
    tree, test = fitted(), notes(30, seed=2)
    shares = tree.shares(rows_of(test.texts))
    assert tree.codes == sorted(WORDS, key=lambda code: [class_of(code, level) for level in Level])
    assert shares.sum(axis=1) == pytest.approx(np.ones(30))
    assert [tree.codes[place] for place in shares.argmax(axis=1)] == test.codes


def test_a_code_has_the_probability_of_its_path() -> None:
    # Two codes of one category, beside a chapter of its own: the classifier of each step can be fitted by hand.
    codes = ["M5116" if code == "M5116" else "M5117" if code == "M4806" else "I10" for code in TRAIN.codes]
    tree, rows = fitted(codes), rows_of(TRAIN.texts)
    settings: dict[str, Any] = {"loss": "log_loss", "alpha": 1e-4, "random_state": 0}
    chapter = SGDClassifier(**settings).fit(rows, [code[0] for code in codes]).predict_proba(rows)[:, 1]
    within = np.array([code != "I10" for code in codes])
    code = SGDClassifier(**settings).fit(rows[within], np.array(codes)[within]).predict_proba(rows)[:, 0]
    assert tree.codes == ["I10", "M5116", "M5117"]
    assert tree.shares(rows)[:, 1] == pytest.approx(chapter * code, abs=0.02)


def test_small_weights_are_left_out_and_the_answers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    test = rows_of(notes(60, seed=4).texts)
    few = fitted().shares(test)
    monkeypatch.setattr(code_tree, "_SMALLEST", 0.0)
    assert (fitted().shares(test).argmax(axis=1) == few.argmax(axis=1)).all()


def test_local_codes_of_no_chapter_are_codes_too() -> None:
    codes = ["LOCAL1" if code == "I10" else code for code in TRAIN.codes]
    tree = fitted(codes)
    shares = tree.shares(rows_of(TRAIN.texts))
    assert np.mean([tree.codes[place] == code for place, code in zip(shares.argmax(axis=1), codes, strict=True)]) > 0.95
