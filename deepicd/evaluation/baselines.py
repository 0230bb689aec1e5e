"""Baselines: trained on the train split, tuned on the validation split only, asked about the test split.

They see whole notes, without the models' token budget. Needs scikit-learn, which lives in an environment of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepicd.errors import UserError
from deepicd.evaluation import classification
from deepicd.evaluation.classification import FloatArray
from deepicd.evaluation.levels import Level, class_of

_FEATURES = 50_000
"""Most words and pairs of words of TF-IDF: the linear model has one weight for each of them and each code."""
_DIMENSIONS = 256
_ALPHAS = (1e-6, 1e-5, 1e-4)
_NEIGHBOURS = (1, 5, 15, 50)
_TUNED_ON = 2000
"""Most validation admissions for tuning."""
_WITHOUT_SPACES = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Characters of scripts that put no spaces between words (Thai, Lao, Burmese, Khmer, Japanese, Chinese)."""
_WORD = rf"[^\W{_WITHOUT_SPACES}]{{2,}}|[{_WITHOUT_SPACES}]"
"""A word of at least two letters or digits, or one character of such a script, whose pairs then stand for its words."""
_ROWS = 512
"""Notes whose probabilities are in memory."""


@dataclass(frozen=True)
class Notes:
    """One split: [N] notes and [N] their codes."""

    texts: list[str]
    codes: list[str]


@dataclass(frozen=True)
class Splits:
    """What a baseline gets; it must not look at the test codes, which it does not have."""

    train: Notes
    validation: Notes
    test: list[str]


@dataclass(frozen=True)
class Answered:
    """[N] a baseline's code and its probability by level for each test admission, and the settings that tuning chose."""

    codes: list[str]
    confidence: list[dict[str, float]]
    settings: dict[str, Any]


def majority(splits: Splits) -> Answered:
    """The most frequent code of the train split for every admission; of equally frequent ones the first by name."""
    counts = Counter(splits.train.codes)
    code = min(counts, key=lambda name: (-counts[name], name))
    names, shares = list(counts), np.array([list(counts.values())]) / len(splits.train.codes)
    [confidence] = by_level(names, shares, [code])
    return Answered([code] * len(splits.test), [confidence] * len(splits.test), {})


def tfidf(splits: Splits) -> Answered:
    """TF-IDF of words and pairs of words, and a linear model for each code (logistic loss, L2).

    Chinese, Japanese and other scripts without spaces count by characters and pairs of characters.

    Tuned: strength of the penalty and class weights, by category macro F1 on the validation split.
    """
    from sklearn.linear_model import SGDClassifier

    vectors = _vectors(splits)
    candidates = [{"alpha": alpha, "classWeight": weight} for alpha in _ALPHAS for weight in (None, "balanced")]

    def fitted(candidate: Mapping[str, Any]) -> Callable[[Any], tuple[list[str], FloatArray]]:
        if len(set(splits.train.codes)) == 1:
            return lambda rows: ([splits.train.codes[0]], np.ones((rows.shape[0], 1)))
        model = SGDClassifier(
            loss="log_loss", alpha=candidate["alpha"], class_weight=candidate["classWeight"], random_state=0, n_jobs=-1
        )
        model.fit(vectors.train, splits.train.codes)
        return lambda rows: (list(model.classes_), model.predict_proba(rows))

    return _tuned(splits, vectors, candidates, fitted)


def neighbours(splits: Splits) -> Answered:
    """Vote of the nearest train admissions, weighted by similarity: the cosine in 256 dimensions of TF-IDF (a truncated SVD).

    Tuned: the number of neighbours, by category macro F1 on the validation split.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import normalize

    vectors = _vectors(splits)
    size = min(_DIMENSIONS, vectors.train.shape[1] - 1, vectors.train.shape[0] - 1)
    if size >= 1:
        reduced = TruncatedSVD(size, random_state=0).fit(vectors.train)
        vectors = _Vectors(*(normalize(reduced.transform(part)) for part in (vectors.train, vectors.validation, vectors.test)))
    names = sorted(set(splits.train.codes))
    place = {name: number for number, name in enumerate(names)}
    owner = np.array([place[code] for code in splits.train.codes])
    candidates = [{"neighbours": k} for k in _NEIGHBOURS if k <= len(owner)]

    def fitted(candidate: Mapping[str, Any]) -> Callable[[Any], tuple[list[str], FloatArray]]:
        nearest = NearestNeighbors(n_neighbors=candidate["neighbours"], metric="cosine").fit(vectors.train)

        def votes(rows: Any) -> tuple[list[str], FloatArray]:
            distances, found = nearest.kneighbors(rows)
            weights = np.clip(1 - distances, 1e-9, None)
            counted = np.zeros((rows.shape[0], len(names)))
            np.add.at(counted, (np.arange(rows.shape[0])[:, None], owner[found]), weights)
            return names, counted / counted.sum(axis=1, keepdims=True)

        return votes

    return _tuned(splits, vectors, candidates, fitted)


BASELINES: Mapping[str, Callable[[Splits], Answered]] = {"majority": majority, "tfidf": tfidf, "neighbours": neighbours}


@dataclass(frozen=True)
class _Vectors:
    train: Any
    validation: Any
    test: Any


def _vectors(splits: Splits) -> _Vectors:
    from sklearn.feature_extraction.text import TfidfVectorizer

    smallest = 2 if len(splits.train.texts) >= 100 else 1
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), min_df=smallest, max_features=_FEATURES, sublinear_tf=True, dtype=np.float32, token_pattern=_WORD
    )
    try:
        train = vectorizer.fit_transform(splits.train.texts)
    except ValueError:  # it has no class of its own for an empty vocabulary
        raise UserError(
            "spec.stages.evaluate.baselines: the training notes share no words, as tfidf and neighbours need: leave both out"
        ) from None
    return _Vectors(train, vectorizer.transform(splits.validation.texts[:_TUNED_ON]), vectorizer.transform(splits.test))


def _tuned(
    splits: Splits,
    vectors: _Vectors,
    candidates: Sequence[Mapping[str, Any]],
    fitted: Callable[[Mapping[str, Any]], Callable[[Any], tuple[list[str], FloatArray]]],
) -> Answered:
    """The test answers of the candidate with the best category macro F1 on validation; of equal ones the first."""
    best: tuple[float, Mapping[str, Any], Callable[[Any], tuple[list[str], FloatArray]]] | None = None
    for candidate in candidates:
        model = fitted(candidate)
        score = macro_f1(splits.validation.codes[:_TUNED_ON], _answer(model, vectors.validation)[0])
        if best is None or score > best[0]:
            best = score, candidate, model
    assert best is not None  # noqa: S101 - there is a candidate
    codes, confidence = _answer(best[2], vectors.test)
    return Answered(codes, confidence, {**best[1], "validationMacroF1": best[0]})


def _answer(model: Callable[[Any], tuple[list[str], FloatArray]], rows: Any) -> tuple[list[str], list[dict[str, float]]]:
    codes: list[str] = []
    confidence: list[dict[str, float]] = []
    for start in range(0, rows.shape[0], _ROWS):
        names, shares = model(rows[start : start + _ROWS])
        chosen = [names[place] for place in shares.argmax(axis=1)]
        codes += chosen
        confidence += by_level(names, shares, chosen)
    return codes, confidence


def by_level(names: Sequence[str], shares: FloatArray, chosen: Sequence[str]) -> list[dict[str, float]]:
    """The probability of each answer's class at each level: the sum over the codes of that class.

    Args:
        names: [C] codes.
        shares: [N, C] their probabilities.
        chosen: [N] the answers.
    """
    found: list[dict[str, float]] = [{} for _ in chosen]
    for level in Level:
        classes = [class_of(name, level) for name in names]
        place = {name: number for number, name in enumerate(dict.fromkeys(classes))}
        member = np.zeros((len(names), len(place)))
        member[np.arange(len(names)), [place[name] for name in classes]] = 1
        sums = np.clip(shares @ member, 0, 1)
        for row, (own, answer) in enumerate(zip(found, chosen, strict=True)):
            own[level.value] = float(sums[row, place[class_of(answer, level)]])
    return found


def macro_f1(gold: Sequence[str], answers: Sequence[str]) -> float:
    """Headline macro F1 at category level, by which baselines are tuned."""
    labels = classification.encode(
        [class_of(code, Level.CATEGORY) for code in gold], [class_of(code, Level.CATEGORY) for code in answers]
    )
    return float(classification.macro_f1(classification.count(labels, np.ones((len(gold), 1))))[0])
