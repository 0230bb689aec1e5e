"""Baselines: trained on the train split, tuned only on the validation split, asked about the test split.

They see whole notes, without the models' token budget. Needs scikit-learn, which is in a separate environment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepicd.errors import UserError
from deepicd.evaluation import classification
from deepicd.evaluation.classification import FloatArray, IntArray
from deepicd.evaluation.code_tree import CodeTree
from deepicd.evaluation.levels import Level, class_of

_FEATURES = 50_000
"""Maximum number of words and word pairs of TF-IDF: the linear model has one weight for each of them and each code."""
_DIMENSIONS = 256
_ALPHAS = (1e-6, 1e-5, 1e-4)
_NEIGHBOURS = (1, 5, 15, 50)
_FITTED_ON = 20_000
"""Maximum number of train admissions for choosing words, dimensions and settings. The final model is fitted on all, but a
table of all pairs of words would not fit into memory, and six models of all admissions would take half an hour."""
_TUNED_ON = 2000
"""Maximum number of validation admissions for tuning."""
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
    """A baseline's input. It does not include the test codes."""

    train: Notes
    validation: Notes
    test: list[str]


@dataclass(frozen=True)
class Answered:
    """[N] a baseline's code and its probability by level for each test admission, and the settings that tuning chose."""

    codes: list[str]
    confidence: list[dict[str, float]]
    settings: dict[str, Any]


Model = Callable[[Any], tuple[list[str], FloatArray]]
"""From [N] rows of features to [C] codes and [N, C] their probabilities."""


def majority(splits: Splits) -> Answered:
    """The most frequent code of the train split for every admission; if several are equally frequent, the first by name."""
    counts = Counter(splits.train.codes)
    code = min(counts, key=lambda name: (-counts[name], name))
    names, shares = list(counts), np.array([list(counts.values())]) / len(splits.train.codes)
    [confidence] = by_level(names, shares, [code])
    return Answered([code] * len(splits.test), [confidence] * len(splits.test), {})


def tfidf(splits: Splits) -> Answered:
    """TF-IDF of words and pairs of words, and linear models (logistic loss, L2) along the hierarchy of codes: see `CodeTree`.

    In Chinese, Japanese and other scripts without spaces, characters and pairs of characters count instead of words.

    Tuned by category macro F1 on the validation split, with models of a sample: strength of the penalty and class weights.
    """
    vectors = _vectors(splits)
    candidates = [{"alpha": alpha, "classWeight": weight} for alpha in _ALPHAS for weight in (None, "balanced")]
    codes, sample = np.array(splits.train.codes), _sample(len(splits.train.codes))

    def fitted(candidate: Mapping[str, Any], chosen: IntArray | slice) -> Model:
        tree = CodeTree(
            vectors.train[chosen], codes[chosen].tolist(), alpha=candidate["alpha"], class_weight=candidate["classWeight"]
        )
        return lambda rows: (tree.codes, tree.shares(rows))

    settings = _tuned(splits, vectors, candidates, lambda candidate: fitted(candidate, sample))
    return _answered(fitted(settings, slice(None)), vectors, settings)


def neighbours(splits: Splits) -> Answered:
    """Vote of the nearest train admissions, weighted by similarity: the cosine in 256 dimensions of TF-IDF (a truncated SVD).

    Tuned by category macro F1 on the validation split: the number of neighbours.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import normalize

    vectors = _vectors(splits)
    sample = vectors.train[_sample(vectors.train.shape[0])]
    size = min(_DIMENSIONS, sample.shape[1] - 1, sample.shape[0] - 1)
    if size >= 1:
        reduced = TruncatedSVD(size, random_state=0).fit(sample)
        vectors = _Vectors(*(normalize(reduced.transform(part)) for part in (vectors.train, vectors.validation, vectors.test)))
    names = sorted(set(splits.train.codes))
    place = {name: number for number, name in enumerate(names)}
    owner = np.array([place[code] for code in splits.train.codes])
    candidates = [{"neighbours": k} for k in _NEIGHBOURS if k <= len(owner)]

    def fitted(candidate: Mapping[str, Any]) -> Model:
        nearest = NearestNeighbors(n_neighbors=candidate["neighbours"], metric="cosine").fit(vectors.train)

        def votes(rows: Any) -> tuple[list[str], FloatArray]:
            distances, found = nearest.kneighbors(rows)
            weights = np.clip(1 - distances, 1e-9, None)
            counted = np.zeros((rows.shape[0], len(names)))
            np.add.at(counted, (np.arange(rows.shape[0])[:, None], owner[found]), weights)
            return names, counted / counted.sum(axis=1, keepdims=True)

        return votes

    settings = _tuned(splits, vectors, candidates, fitted)
    return _answered(fitted(settings), vectors, settings)


BASELINES: Mapping[str, Callable[[Splits], Answered]] = {"majority": majority, "tfidf": tfidf, "neighbours": neighbours}


@dataclass(frozen=True)
class _Vectors:
    train: Any
    validation: Any
    test: Any


def _vectors(splits: Splits) -> _Vectors:
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

    chosen = [splits.train.texts[place] for place in _sample(len(splits.train.texts))]
    settings = {"ngram_range": (1, 2), "dtype": np.float32, "token_pattern": _WORD}
    counted = CountVectorizer(**settings, min_df=2 if len(chosen) >= 100 else 1, max_features=_FEATURES)
    try:
        words = counted.fit(chosen).vocabulary_
    except ValueError:  # it has no class of its own for an empty vocabulary
        raise UserError(
            "spec.stages.evaluate.baselines: the training notes share no words, as tfidf and neighbours need: leave both out"
        ) from None
    vectorizer = TfidfVectorizer(**settings, vocabulary=words, sublinear_tf=True)
    train = vectorizer.fit_transform(splits.train.texts)
    return _Vectors(train, vectorizer.transform(splits.validation.texts[:_TUNED_ON]), vectorizer.transform(splits.test))


def _sample(number: int) -> IntArray:
    """Indices of at most `_FITTED_ON` admissions, in order."""
    found: IntArray = np.sort(np.random.default_rng(0).permutation(number)[:_FITTED_ON])
    return found


def _tuned(
    splits: Splits, vectors: _Vectors, candidates: Sequence[Mapping[str, Any]], fitted: Callable[[Mapping[str, Any]], Model]
) -> dict[str, Any]:
    """The candidate with the best category macro F1 on validation, and that score; the first one if several are equal."""
    scores = []
    for candidate in candidates:
        answers = [code for _, _, chosen in _answer(fitted(candidate), vectors.validation) for code in chosen]
        scores.append(macro_f1(splits.validation.codes[:_TUNED_ON], answers))
    best = int(np.argmax(scores))
    return {**candidates[best], "validationMacroF1": scores[best]}


def _answered(model: Model, vectors: _Vectors, settings: dict[str, Any]) -> Answered:
    codes: list[str] = []
    confidence: list[dict[str, float]] = []
    for names, shares, chosen in _answer(model, vectors.test):
        codes += chosen
        confidence += by_level(names, shares, chosen)
    return Answered(codes, confidence, settings)


def _answer(model: Model, rows: Any) -> Iterator[tuple[list[str], FloatArray, list[str]]]:
    """Codes, their probabilities and the answers, for some rows at a time."""
    for start in range(0, rows.shape[0], _ROWS):
        names, shares = model(rows[start : start + _ROWS])
        yield names, shares, [names[place] for place in shares.argmax(axis=1)]


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
        known, place = np.unique(classes, return_inverse=True)
        order = np.argsort(place, kind="stable")
        sums = np.clip(np.add.reduceat(shares[:, order], np.searchsorted(place[order], np.arange(len(known))), axis=1), 0, 1)
        columns = np.searchsorted(known, [class_of(answer, level) for answer in chosen])
        for own, share in zip(found, sums[np.arange(len(chosen)), columns], strict=True):
            own[level.value] = float(share)
    return found


def macro_f1(gold: Sequence[str], answers: Sequence[str]) -> float:
    """Headline macro F1 at category level, which tunes the baselines."""
    labels = classification.encode(
        [class_of(code, Level.CATEGORY) for code in gold], [class_of(code, Level.CATEGORY) for code in answers]
    )
    return float(classification.macro_f1(classification.count(labels, np.ones((len(gold), 1))))[0])
