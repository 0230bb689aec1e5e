"""How well the rules of `stages.distill` tell clean traces from planted faults, on synthetic notes.

    python -m benchmarks.trace_filters [NUMBER]     # of notes; 1,000 by default

Prints, for each rule: faults, share caught by any rule, share that the rule itself rejects whatever other rules do, its 95 %
interval, and the clean traces that it rejects. The rule `told` is also measured on sets of sentences: those that it was tuned
on, and those that it was not.
"""

from __future__ import annotations

import math
import random
import sys
from dataclasses import dataclass
from hashlib import sha256

from benchmarks.planted_faults import FAULTS, PHRASES, Example, examples, inserted, written
from deepicd.distill.filters import Case, Rule, rejecting
from deepicd.distill.form import read
from deepicd.distill.founded import Note
from deepicd.distill.similar import Seen
from deepicd.distill.told import shows_that_it_was_told
from deepicd.spec.distill import FiltersSpec

FILTERS = FiltersSpec()
SIMILARITY = 0.8


@dataclass(slots=True)
class Caught:
    """Counts of one rule."""

    planted: int = 0
    caught: int = 0
    by_its_rule: int = 0
    """Faults that the rule itself rejects."""
    clean_lost: int = 0


def interval(hits: int, number: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z, share = 1.96, hits / number
    middle, width = share + z * z / (2 * number), z * math.sqrt(share * (1 - share) / number + (z / (2 * number)) ** 2)
    return (middle - width) / (1 + z * z / number), (middle + width) / (1 + z * z / number)


def judged(example: Example, seen: Seen, text: str, truncated: bool = False) -> list[Rule]:
    """The rules that reject an answer, near-duplicates included."""
    answer = read(text, truncated=truncated, own_prompt=False)
    case = Case(example.code, example.title, Note(example.note, example.title, example.later))
    found = rejecting(answer, case, FILTERS)
    return found if seen.add(answer.trace or "") else [*found, Rule.SIMILAR]


def measure(number: int, seed: int = 0) -> tuple[dict[Rule, Caught], int]:
    """Counts by rule, and the number of clean traces that any rule rejects."""
    rng = random.Random(seed + 1)
    all_examples = list(examples(number, seed))
    seen = Seen(SIMILARITY)
    caught = {rule: Caught() for rule in FAULTS}
    lost = 0
    for example in all_examples:
        found = judged(example, seen, written(example.trace, example.code))
        lost += bool(found)
        for rule in found:
            caught[rule].clean_lost += 1
    for rule, plant in FAULTS.items():
        for example in all_examples:
            fault = plant(example, rng, rng.sample(all_examples, 12))
            if fault is None:
                continue
            counts = caught[rule]
            counts.planted += 1
            index = Seen(SIMILARITY)
            if rule is Rule.SIMILAR:
                index.add(example.trace)
            found = judged(example, index, *fault)
            counts.caught += bool(found)
            counts.by_its_rule += rule in found
    return caught, lost


def tuned_on(sentence: str) -> bool:
    """Whether a sentence is in the half that the rule `told` was tuned on. A hash decides."""
    return sha256(sentence.encode()).digest()[0] % 2 == 0


def sentence_sets() -> dict[str, list[str]]:
    """The sets of sentences for the rule `told`."""
    halved = {
        f"{name}, {half}": [sentence for sentence in PHRASES[name] if tuned_on(sentence) is (half == "tuned on")]
        for name in ("fresh", "clinical", "fourth", "clinical_fourth")
        for half in ("tuned on", "held out")
    }
    others = {
        "earlier, tuned on": ("seen", "unseen", "second", "third"),
        "later, tuned on": ("fifth", "sixth"),
        "clinical earlier, tuned on": ("clinical_second", "clinical_third"),
        "clinical later, tuned on": ("clinical_fifth", "clinical_sixth"),
        "last, written before the fifth change": ("last",),
        "clinical last, written before the fifth change": ("clinical_last",),
        "newest, written after": ("newest",),
        "clinical newest, written after": ("clinical_newest",),
    }
    return halved | {name: [one for part in parts for one in PHRASES[part]] for name, parts in others.items()}


def told(sentences: list[str], seed: int = 2) -> list[str]:
    """The sentences with which the rule `told` rejects a clean trace, each in a trace of its own."""
    rng = random.Random(seed)
    pairs = zip(sentences, examples(len(sentences), seed), strict=True)
    return [
        sentence for sentence, example in pairs
        if shows_that_it_was_told(inserted(example.trace, sentence, rng), example.note)
    ]  # fmt: skip


def main() -> None:
    """Print the tables."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    caught, lost = measure(number)
    print(f"{'rule':14}{'planted':>8}{'caught':>9}{'by its rule':>13}{'interval':>18}{'clean lost':>12}")
    for rule, counts in caught.items():
        low, high = interval(counts.by_its_rule, counts.planted)
        shares = f"{counts.caught / counts.planted:>9.1%}{counts.by_its_rule / counts.planted:>13.1%}"
        print(f"{rule:14}{counts.planted:>8}{shares}{f'{low:.1%} to {high:.1%}':>18}{counts.clean_lost:>12}")
    print(f"clean traces lost: {lost} of {number} ({lost / number:.1%})")
    for name, sentences in sentence_sets().items():
        found = len(told(sentences))
        low, high = interval(found, len(sentences))
        print(f"told, {name}: {found} of {len(sentences)} rejected ({found / len(sentences):.1%}, {low:.1%} to {high:.1%})")


if __name__ == "__main__":
    main()
