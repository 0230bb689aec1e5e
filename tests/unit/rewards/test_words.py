import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepicd.rewards import words


def stems(text: str) -> list[str]:
    keys = words.words([text]).keys
    return [int(key).to_bytes(8, "little").rstrip(b"\0").decode() for key in keys]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" ,.", []),
        ("Radiating pain—worse at L4-L5.", ["radiat", "pain", "worse", "at", "l4", "l5"]),
        ("M51.16", ["m51", "16"]),
        ("a\0b\ud800c", ["a", "b", "c"]),
        ("radiates", ["radiat"]),
    ],
)
def test_words_are_known_by_six_letters(text: str, expected: list[str]) -> None:
    assert stems(text) == expected


@given(st.lists(st.text("abcdefgh XY.é\n", max_size=40), max_size=6))
def test_each_word_belongs_to_its_text(texts: list[str]) -> None:
    found = words.words(texts)
    assert found.counts.tolist() == [len(stems(text)) for text in texts]
    assert words.owner(found.keys).tolist() == [n for n, text in enumerate(texts) for _ in stems(text)]


@given(st.lists(st.text("ab ", max_size=30), min_size=1, max_size=4))
def test_runs_are_the_distinct_runs_of_four_words_within_a_text(texts: list[str]) -> None:
    expected = []
    for text in texts:
        split = text.split()
        split = [word[: words.STEM_BYTES] for word in split]
        expected.append(len(set(zip(split, split[1:], split[2:], split[3:], strict=False))))
    runs = words.runs(words.words(texts))
    assert words.per_owner(runs, len(texts)).tolist() == expected


@given(st.lists(st.integers(0, 30)), st.lists(st.integers(0, 30)))
def test_contains_is_exact(among: list[int], keys: list[int]) -> None:
    found = words.contains(words.distinct(np.array(among, dtype=np.uint64)), np.array(keys, dtype=np.uint64))
    assert found.tolist() == [key in among for key in keys]
