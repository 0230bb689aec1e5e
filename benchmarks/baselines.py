"""Seconds and peak memory of the evaluation's baselines at the size of MIMIC-IV's cohort.

    python benchmarks/baselines.py                       # 65,000 admissions to train on, 8,000 to test
    python benchmarks/baselines.py --train 330000 --baselines neighbours

Notes have the length of admission notes (about 700 words, Zipf's law over 60,000 made-up words) and some words of their
code's title and of the titles of three other codes; codes follow Zipf's law too. Word pairs are drawn independently, so
there are more of them than in real notes. Each baseline runs in a process of its own, whose peak includes the notes.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from deepicd import icd10

WORDS, WORD_TYPES = 700, 60_000
REFERENCE = Path(sys.prefix) / "reference"


def notes(number: int, codes: list[str], seed: int) -> tuple[list[str], list[str]]:
    """Notes and their codes."""
    generator = np.random.default_rng(seed)
    words = np.array([f"w{rank:x}" for rank in range(WORD_TYPES)])
    by_rank = np.cumsum(1 / np.arange(1, WORD_TYPES + 1))
    frequency = np.cumsum(1 / np.arange(1, len(codes) + 1))
    titles = {code: (icd10.description(code) or code).lower().split() for code in codes}
    texts, gold = [], []
    for _ in range(number):
        code, *others = (
            codes[place] for place in np.searchsorted(frequency, generator.random(4) * frequency[-1])
        )  # the others are past diagnoses
        filler = words[np.searchsorted(by_rank, generator.random(max(50, round(generator.normal(WORDS, 250)))) * by_rank[-1])]
        told = [word for word in titles[code] if generator.random() < 0.7]
        past = [word for other in others for word in titles[other] if generator.random() < 0.4]
        texts.append(" ".join(["complaint", *told, *filler, *past]))
        gold.append(code)
    return texts, gold


def measure(name: str, train: int, test: int, number: int) -> None:
    sys.path.insert(0, str(REFERENCE))
    from deepicd.evaluation.baselines import BASELINES, Notes, Splits, macro_f1

    chosen = np.random.default_rng(0).permutation(icd10.billable_codes())[:number].tolist()
    started = time.perf_counter()
    texts, gold = notes(test, chosen, 3)
    splits = Splits(Notes(*notes(train, chosen, 1)), Notes(*notes(test, chosen, 2)), texts)
    made = time.perf_counter() - started
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started, spent = time.perf_counter(), time.process_time()
    found = BASELINES[name](splits)
    content = {
        "name": name, "seconds": time.perf_counter() - started, "cpu": time.process_time() - spent,
        "notes": held, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "made": made,
        "codes": len(set(splits.train.codes)), "settings": found.settings, "f1": macro_f1(gold, found.codes),
        "accuracy": float(np.mean([one == other for one, other in zip(gold, found.codes, strict=True)])),
    }  # fmt: skip
    sys.stdout.write(json.dumps(content))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=65_000)
    parser.add_argument("--test", type=int, default=8_000)
    parser.add_argument("--codes", type=int, default=8_000)
    parser.add_argument("--baselines", nargs="+", default=["majority", "neighbours", "tfidf"])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(options.one, options.train, options.test, options.codes)
        return
    print("baseline     codes  seconds      CPU  peak memory  category F1  accuracy  settings")
    for name in options.baselines:
        sizes = ["--train", str(options.train), "--test", str(options.test), "--codes", str(options.codes)]
        done = subprocess.run([sys.executable, __file__, "--one", name, *sizes], check=True, capture_output=True, text=True)
        own = json.loads(done.stdout)
        print(
            f"{own['name']:<11} {own['codes']:>6,} {own['seconds']:>6.0f} s {own['cpu']:>6.0f} s {own['peak']:>7.0f} MiB "
            f"{own['f1']:>12.3f} {own['accuracy']:>9.3f}  {own['settings']}",
            flush=True,
        )


if __name__ == "__main__":
    main()
