"""Frequency thirds: the classes of the training set, grouped by how often they occur there.

The K classes of a level are ranked from the most to the least frequent. With r(c) the number of classes that occur
at least as often as c, class c is `frequent` if r(c) ≤ K/3, `medium` if r(c) ≤ 2K/3, else `rare`. Classes with
the same count therefore share a group, the rarer of two if a cut would divide them: in a long tail, where many classes
occur once, `rare` is larger than a third. A class that is not in the training set is `unseen`, a separate group.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from enum import StrEnum


class Frequency(StrEnum):
    """How often a class occurs in the training set, compared with the other classes of its level."""

    FREQUENT = "frequent"
    MEDIUM = "medium"
    RARE = "rare"
    UNSEEN = "unseen"


_THIRDS = (Frequency.FREQUENT, Frequency.MEDIUM, Frequency.RARE)


def thirds(counts: Mapping[str, int]) -> dict[str, Frequency]:
    """Group the classes of one level.

    Args:
        counts: admissions of the training set per class; 0 is the same as absent.

    Returns:
        The group of every class that occurs; any other class is `unseen`.
    """
    ascending = sorted(count for count in counts.values() if count > 0)
    classes = len(ascending)
    groups = {}
    for name, count in counts.items():
        if count > 0:
            rank = classes - bisect_left(ascending, count)
            groups[name] = _THIRDS[-(-3 * rank // classes) - 1]
    return groups
