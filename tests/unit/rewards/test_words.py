import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepicd.rewards import words

KEYS = st.lists(st.integers(1, 60), max_size=80)


def array(keys: list[int]) -> words.Array:
    return np.array(keys, dtype=np.uint64)


def spelled(text: str) -> list[str]:
    keys = words.words([text]).keys
    return [int(key).to_bytes(8, "little").rstrip(b"\0").decode() for key in keys]


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
    keys = words.words(texts).keys
    assert words.owner(keys).tolist() == [number for number, text in enumerate(texts) for _ in spelled(text)]
    assert words.per_owner(keys, len(texts)).tolist() == [len(spelled(text)) for text in texts]


def test_sentences_end_with_their_marks_with_lines_and_with_texts() -> None:
    found = words.words(["one two. three\nfour 3.5 five", "six! seven"], sentences=True)
    assert np.unique(found.sentences, return_inverse=True)[1].tolist() == [0, 0, 1, 2, 2, 2, 3, 4]


@given(st.lists(st.text("ab ", max_size=30), min_size=1, max_size=4))
def test_runs_are_those_of_four_words_within_a_text(texts: list[str]) -> None:
    every, different = [], []
    for text in texts:
        split = [word[: words.STEM_BYTES] for word in text.split()]
        runs = list(zip(split, split[1:], split[2:], split[3:], strict=False))
        every.append(len(runs))
        different.append(len(set(runs)))
    found = words.runs(words.words(texts).keys)
    assert words.per_owner(found, len(texts)).tolist() == every
    assert words.per_owner(words.distinct(found), len(texts)).tolist() == different


def test_pairs_are_made_within_a_text_of_words_so_far_apart() -> None:
    keys = words.words(["rusty thick sputum", "sputum rusty"]).keys
    _, neighbours = words.pairs(keys, 1)
    _, next_but_one = words.pairs(keys, 2)
    assert (neighbours.tolist(), next_but_one.tolist()) == ([1, 2, 4], [2])


def test_pairs_are_told_by_their_order_unless_it_does_not_matter() -> None:
    keys = words.words(["rusty sputum rusty"]).keys
    first, second = words.pairs(keys, 1)[0]
    assert first != second
    first, second = words.pairs(keys, 1, ordered=False)[0]
    assert first == second


def test_a_run_with_digits_makes_no_pair() -> None:
    assert len(words.pairs(words.words(["rusty 39 sputum"]).keys, 1)[0]) == 0


@given(KEYS)
def test_distinct_has_each_key_once(keys: list[int]) -> None:
    assert sorted(words.distinct(array(keys)).tolist()) == sorted(set(keys))


@given(KEYS, KEYS)
def test_a_set_is_exact(among: list[int], keys: list[int]) -> None:
    assert words.Among(array(among))(array(keys)).tolist() == [key in among for key in keys]


def test_a_look_up_is_exact() -> None:
    value = words.Lookup({"the": 1, "of": 2})
    assert value(words.words(["The one of them", "of"]).keys).tolist() == [1, 0, 2, 0, 2]
