"""Whether a model is right less often for some groups of patients, at the three levels.

Each group is compared with the largest group of its attribute, and so are the admissions without a value. A group of fewer than
`FEWEST` patients is suppressed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deepicd.evaluation import bootstrap, significance
from deepicd.evaluation.classification import FloatArray, ratio
from deepicd.evaluation.levels import Level, class_of
from deepicd.evaluation.metrics_schema import Fairness, FairnessGroup, Gap
from deepicd.evaluation.people import ATTRIBUTES, GROUPS, UNKNOWN
from deepicd.evaluation.predictions import Prediction, valid_answers

FEWEST = 20
"""Fewest patients of a group that is shown."""
JUDGED = Level.CATEGORY
"""Level of the sentence."""


@dataclass(frozen=True, slots=True)
class _Groups:
    """The groups of one attribute that are large enough."""

    names: list[str]
    """The largest first, those of equal size by name, and unknown last."""
    members: dict[str, FloatArray]
    """[N] 1 for the admissions of the group, else 0."""
    admissions: dict[str, int]
    patients: dict[str, int]
    suppressed: list[str]


def measure(
    predictions: Sequence[Prediction],
    people: Mapping[str, Mapping[str, str]],
    *,
    bootstrap_samples: int = 1000,
    seed: int = 0,
) -> tuple[dict[str, Fairness], dict[str, str]]:
    """Accuracy by group, with gaps to the largest group, for each attribute.

    Args:
        predictions: one per admission.
        people: by id of the admission, its group of each attribute of `ATTRIBUTES`.
        bootstrap_samples: minimum number of patient samples; raised for many groups; 0: no intervals.
        seed: of the samples.

    Returns:
        The attributes that can be compared, and the reason for each of the others.
    """
    groups: dict[str, _Groups] = {}
    absent: dict[str, str] = {}
    for attribute in ATTRIBUTES:
        found = _groups(predictions, [people.get(record.id, {}).get(attribute, UNKNOWN) for record in predictions])
        if [*found.names, *found.suppressed] == [UNKNOWN]:
            absent[attribute] = f"the cohort does not record it: no admission has a value in the column {attribute}"
        elif len(found.names) < 2:
            absent[attribute] = f"fewer than two groups have {FEWEST} patients in the test split"
        else:
            groups[attribute] = found
    if not groups:
        return {}, absent
    answers = valid_answers(predictions)
    right = {
        level: np.array(
            [
                float(code is not None and class_of(code, level) == class_of(record.gold, level))
                for record, code in zip(predictions, answers, strict=True)
            ]
        )
        for level in Level
    }
    tests = sum(len(found.names) - 1 for found in groups.values())
    samples = significance.samples_needed(tests, bootstrap_samples)
    subjects = [record.subject_id for record in predictions]

    rows = [(f"{attribute} {group}", member) for attribute, found in groups.items() for group, member in found.members.items()]
    members = np.stack([member for _, member in rows])

    def statistics(weights: FloatArray) -> dict[str, FloatArray]:
        sizes = members @ weights
        shares = {level: ratio((members * right[level]) @ weights, sizes) for level in Level}
        return {f"{name} {level}": shares[level][row] for row, (name, _) in enumerate(rows) for level in Level}

    point, drawn = bootstrap.resample(subjects, samples, seed, statistics)
    fair = {attribute: _attribute(attribute, found, point, drawn) for attribute, found in groups.items()}
    for level in Level:
        _correct(fair, level)
    for attribute, own in fair.items():
        own["conclusion"] = _sentence(attribute, own)
    return fair, absent


def _groups(predictions: Sequence[Prediction], labels: Sequence[str]) -> _Groups:
    members = {name: np.array([label == name for label in labels], dtype=np.float64) for name in sorted(set(labels))}
    patients = {
        name: len({record.subject_id for record, label in zip(predictions, labels, strict=True) if label == name})
        for name in members
    }
    admissions = {name: int(member.sum()) for name, member in members.items()}
    enough = [name for name in members if patients[name] >= FEWEST]
    shown = sorted(enough, key=lambda name: (name == UNKNOWN, -admissions[name]))  # a gap to who is not known says nothing
    return _Groups(
        shown,
        {name: members[name] for name in shown},
        {name: admissions[name] for name in shown},
        {name: patients[name] for name in shown},
        _suppressed([name for name in members if name not in shown]),
    )


def _suppressed(names: Sequence[str]) -> list[str]:
    """What is said of groups that are too small: their names, or of values that few patients have only their number."""
    others = sum(name not in GROUPS for name in names)
    counted = f"{others} other {'group' if others == 1 else 'groups'}"
    return [*(name for name in names if name in GROUPS), *([counted] if others else [])]


def _attribute(attribute: str, found: _Groups, point: Mapping[str, float], drawn: Mapping[str, FloatArray]) -> Fairness:
    reference = found.names[0]
    rows: list[FairnessGroup] = []
    for name in found.names:
        keys = {level: (f"{attribute} {name} {level}", f"{attribute} {reference} {level}") for level in Level}
        row: FairnessGroup = {
            "group": name,
            "admissions": found.admissions[name],
            "patients": found.patients[name],
            "accuracy": {level.value: bootstrap.measure(point[own], drawn.get(own)) for level, (own, _) in keys.items()},
        }
        if name != reference:
            row["gap"] = {
                level.value: _gap(point[own] - point[base], drawn[own] - drawn[base] if drawn else None, row["patients"])
                for level, (own, base) in keys.items()
            }
        rows.append(row)
    values = {level: [point[f"{attribute} {name} {level}"] for name in found.names] for level in Level}
    return {
        "reference": reference,
        "groups": rows,
        "suppressed": found.suppressed,
        "largestGap": {level.value: max(shares) - min(shares) for level, shares in values.items()},
        "conclusion": "",
    }


def _gap(value: float, drawn: FloatArray | None, patients: int) -> Gap:
    p = None if drawn is None else significance.p_value(drawn, patients)
    return {**bootstrap.measure(value, drawn), "p": p, "pHolm": None, "significant": None}


def _correct(fair: Mapping[str, Fairness], level: Level) -> None:
    """Correct the gaps of all attributes at one level together."""
    gaps = {(name, row["group"]): row["gap"][level] for name, own in fair.items() for row in own["groups"] if "gap" in row}
    corrected = significance.holm({name: gap["p"] for name, gap in gaps.items() if gap["p"] is not None})
    for name, p in corrected.items():
        gaps[name]["pHolm"], gaps[name]["significant"] = p, p < significance.LEVEL


def _sentence(attribute: str, own: Fairness) -> str:
    """What can and cannot be concluded."""
    compared = [row for row in own["groups"] if "gap" in row]
    gaps = {row["group"]: row["gap"][JUDGED] for row in compared}
    hidden = f" Not shown, with fewer than {FEWEST} patients: {', '.join(own['suppressed'])}." if own["suppressed"] else ""
    if any(gap["interval"] is None for gap in gaps.values()):
        return f"By {attribute}: without bootstrap samples nothing can be concluded about the gaps.{hidden}"
    seen = [
        f"{name} {100 * value:+.1f} points [{100 * ends[0]:+.1f}, {100 * ends[1]:+.1f}]"
        for name, gap in gaps.items()
        if gap["significant"] and (value := gap["value"]) is not None and (ends := gap["interval"]) is not None
    ]
    if seen:
        return (
            f"By {attribute}, accuracy at {JUDGED} level differs from {own['reference']}: {'; '.join(seen)}. "
            "Whether the model, the notes or the mix of diagnoses causes it cannot be concluded, nor that the other groups "
            f"are treated alike.{hidden}"
        )
    widest = max(abs(end) for gap in gaps.values() for end in gap["interval"] or ())
    return (
        f"By {attribute}, no gap at {JUDGED} level is significant after Holm's correction. That does not show that there is "
        f"none: gaps of up to {100 * widest:.1f} points are within the intervals.{hidden}"
    )
