"""Words of a cohort's training notes: which are common, and whether the notes are in English.

Only the first note of each patient is counted, so that a patient's repeated admissions do not make a word common. A word is
kept, as its first six letters, if at least 5 patients and at least 5 % of them have it: rarer words all weigh the same, and
names are rare.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from deepicd import atomic
from deepicd.errors import UserError
from deepicd.rewards import words
from deepicd.rewards.rarity import RARE_SHARE, SHIPPED, Rarity, weight_of
from deepicd.rewards.reasoning import in_english

FILE = "words.json"
LEAST_PATIENTS = 5
"""Patients that must have a word for it to be kept."""
ENOUGH_PATIENTS = 100
"""Patients from which on the cohort's own counts replace the shipped list."""
_BATCH = 256


@dataclass(frozen=True, slots=True)
class CohortWords:
    """Counts of patients."""

    patients: int
    """All patients of the training set."""
    english: int
    """Those whose first note is in English."""
    words: Mapping[str, int]
    """Those whose first note has the word, by its first six letters, most frequent first."""

    @property
    def is_english(self) -> bool:
        """Whether at least half of the notes are in English. If not, `reasoning` is not scored: its lists are English."""
        return 2 * self.english >= self.patients

    @property
    def rarity(self) -> Rarity:
        """Weights from these counts; the shipped weights below 100 patients."""
        if self.patients < ENOUGH_PATIENTS:
            return SHIPPED
        return Rarity({word: weight_of(count / self.patients) for word, count in self.words.items()})

    def write(self, path: Path) -> None:
        """Write the counts as JSON, the same bytes for the same counts."""
        atomic.write_json(path, asdict(self))


def count(notes: Iterable[tuple[int | str, str]]) -> CohortWords:
    """Count the words of a cohort's training notes.

    Args:
        notes: pairs of patient and note, in the cohort's order.
    """
    first = _first_of_each(notes)
    patients = english = 0
    having: Counter[int] = Counter()
    while batch := list(islice(first, _BATCH)):
        patients += len(batch)
        english += sum(in_english(batch))
        found = words.split(batch)
        numbers, stems = words.number(found.stems, np.array([words.NO_WORD], dtype=np.uint64))
        has = np.zeros((len(batch), len(stems)), dtype=np.bool_)
        has[words.owners(found.bounds), numbers] = True
        having.update(dict(zip(stems[1:].tolist(), np.count_nonzero(has[:, 1:], axis=0).tolist(), strict=True)))
    least = max(LEAST_PATIENTS, RARE_SHARE * patients)
    kept = {words.letters(stem): number for stem, number in having.items() if number >= least}
    return CohortWords(patients, english, dict(sorted(kept.items(), key=lambda pair: (-pair[1], pair[0]))))


def _first_of_each(notes: Iterable[tuple[int | str, str]]) -> Iterator[str]:
    seen: set[int | str] = set()
    for patient, note in notes:
        if patient not in seen:
            seen.add(patient)
            yield note


def of_run(stages: Path) -> CohortWords | None:
    """The counts of the stage `prepare`, from a run's folder of stages; None if the run had no such stage."""
    path = stages / "prepare" / FILE
    return read(path) if path.exists() else None


def read(path: Path) -> CohortWords:
    """Read the counts that `CohortWords.write` wrote.

    Raises:
        UserError: the file is missing or holds no such counts.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = CohortWords(**content)
        counts = [found.patients, found.english, *found.words.values()]
        if not all(type(number) is int and 0 <= number <= found.patients for number in counts):
            raise ValueError
        for word in found.words:
            words.stem(word)  # raises IndexError where there is none
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: give the {FILE} of a run's stages/prepare") from None
    except (ValueError, TypeError, AttributeError, IndexError, RecursionError):
        raise UserError(f"{path}: has no counts of a cohort's words: give the {FILE} of a run's stages/prepare") from None
    return found
