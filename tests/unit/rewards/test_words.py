from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepicd.rewards import words

KEYS = st.lists(st.integers(1, 60), max_size=80)
NONE_KNOWN = np.array([words.NO_WORD], dtype=np.uint64)


def array(keys: list[int]) -> words.Stems:
    return np.array(keys, dtype=np.uint64)


def spelled(text: str) -> list[str]:
    return [words.letters(stem) for stem in words.split([text]).stems.tolist()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" ,.", []),
        ("Radiating pain—worse at night.", ["radiat", "pain", "worse", "at", "night"]),
        ("a\0b\ud800c", ["a", "b", "c"]),
        ("radiates", ["radiat"]),
        ("end.Next", [""]),
    ],
)
def test_words_are_known_by_six_letters(text: str, expected: list[str]) -> None:
    assert spelled(text) == expected


@pytest.mark.parametrize("text", ["M51.16", "m5116", "39.1", "S72.001A", "T78.XXXA", "V4"])
def test_a_run_with_digits_holds_one_place_and_is_no_word(text: str) -> None:
    assert spelled(f"at {text}.") == ["at", ""]


@given(st.lists(st.text("abcdefgh XY.é\n", max_size=40), max_size=6))
def test_each_word_belongs_to_its_text(texts: list[str]) -> None:
    bounds = words.split(texts).bounds
    assert words.owners(bounds).tolist() == [number for number, text in enumerate(texts) for _ in spelled(text)]


@given(st.lists(st.lists(st.integers(0, 3), max_size=4), max_size=6))
def test_sums_are_those_of_each_text_the_empty_ones_too(texts: list[list[int]]) -> None:
    bounds = np.cumsum([0, *map(len, texts)])
    assert words.per_text(np.array([*chain(*texts)], dtype=np.int64), bounds).tolist() == list(map(sum, texts))


def test_sentences_end_with_their_marks_with_lines_and_with_texts() -> None:
    opens = words.split(["one two. three\nfour 3.5 five", "six! seven"]).opens
    assert np.cumsum(opens).tolist() == [1, 1, 2, 3, 3, 3, 4, 5]


@given(KEYS, st.lists(st.integers(1, 60), max_size=20, unique=True))
def test_equal_words_have_one_number_and_known_ones_their_place(keys: list[int], known: list[int]) -> None:
    numbers, stems = words.number(array(keys), array(known))
    assert stems[numbers].tolist() == keys
    assert stems[: len(known)].tolist() == known
    assert sorted(stems.tolist()) == sorted({*keys, *known})


@given(st.lists(st.text("ab ", max_size=30), max_size=4))
def test_runs_are_those_of_four_words_within_a_text(texts: list[str]) -> None:
    expected = []
    for text in texts:
        split = text.split()
        runs = list(zip(split, split[1:], split[2:], split[3:], strict=False))
        expected.append(len({tuple(word[:6] for word in run) for run in runs}) / max(1, len(runs)))
    found = words.split(texts)
    numbers, _ = words.number(found.stems, NONE_KNOWN)
    assert words.share_of_distinct_runs(numbers, found.bounds).tolist() == expected


@given(KEYS, KEYS)
def test_a_table_is_exact(listed: list[int], keys: list[int]) -> None:
    values = np.arange(1, len(listed) + 1, dtype=np.uint8)
    expected = dict(zip(listed, values.tolist(), strict=True))
    assert words.Table(array(listed), values)(array(keys)).tolist() == [expected.get(key, 0) for key in keys]


def test_known_words_keep_their_place_among_many() -> None:
    known = np.random.default_rng(0).permutation(np.arange(1, 20_000, dtype=np.uint64)) << np.uint64(24)
    numbers, stems = words.number(known[::-1], known)
    assert numbers.tolist() == list(range(len(known)))[::-1]
    assert stems.tolist() == known.tolist()


def test_keys_that_share_a_slot_are_distinguished() -> None:
    keys = np.arange(1, 20_000, dtype=np.uint64) << np.uint64(24)
    assert (words.Table(keys)(keys) == 1).all()
    assert not words.Table(keys)(keys + np.uint64(1)).any()
