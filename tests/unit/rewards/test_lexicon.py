from collections import Counter

from deepicd.rewards import english, words
from deepicd.rewards.abbreviations import EXPANSIONS
from deepicd.rewards.common_words import COMMON, GENERIC


def test_no_word_is_in_two_lists() -> None:
    lists = [*english.WORDS.values(), GENERIC, COMMON, EXPANSIONS]
    assert [word for word, number in Counter(word for listed in lists for word in listed).items() if number > 1] == []


def test_every_shared_word_is_listed() -> None:
    listed = {words.stem(word) for every in (*english.WORDS.values(), EXPANSIONS) for word in every}
    assert [word for word in english.SHARED if words.stem(word) not in listed] == []
