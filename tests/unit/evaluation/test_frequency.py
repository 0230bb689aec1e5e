from hypothesis import given
from hypothesis import strategies as st

from deepicd.evaluation.frequency import Frequency, thirds

FREQUENT, MEDIUM, RARE = Frequency.FREQUENT, Frequency.MEDIUM, Frequency.RARE


def test_distinct_counts_are_cut_into_equal_thirds() -> None:
    assert thirds({"A": 60, "B": 50, "C": 40, "D": 30, "E": 20, "F": 10}) == {
        "A": FREQUENT, "B": FREQUENT, "C": MEDIUM, "D": MEDIUM, "E": RARE, "F": RARE,
    }  # fmt: skip


def test_equal_counts_share_the_rarer_third() -> None:
    assert thirds({"A": 9, "B": 5, "C": 5, "D": 1, "E": 1, "F": 1}) == {
        "A": FREQUENT, "B": MEDIUM, "C": MEDIUM, "D": RARE, "E": RARE, "F": RARE,
    }  # fmt: skip
    assert set(thirds({"A": 2, "B": 2, "C": 2}).values()) == {RARE}


def test_a_count_of_zero_is_unseen() -> None:
    assert thirds({"A": 3, "B": 0}) == {"A": RARE}


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 50), max_size=40))
def test_a_rarer_class_is_never_in_a_more_frequent_third(counts: dict[str, int]) -> None:
    groups = thirds(counts)
    order = [FREQUENT, MEDIUM, RARE]
    assert groups.keys() == {name for name, count in counts.items() if count}
    for one, other in zip(groups, list(groups)[1:], strict=False):
        if counts[one] == counts[other]:
            assert groups[one] is groups[other]
        elif counts[one] > counts[other]:
            assert order.index(groups[one]) <= order.index(groups[other])
    for group, limit in ((FREQUENT, 1 / 3), (MEDIUM, 2 / 3)):
        assert sum(order.index(own) <= order.index(group) for own in groups.values()) <= limit * len(groups) + 1e-9
