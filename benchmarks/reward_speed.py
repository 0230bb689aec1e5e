"""Times the reward: 512 completions of 1,000 tokens by each preset, hostile text, and the code table.

Run `python benchmarks/reward_speed.py`. The aim is about 60 ms for the 512 completions, under 0.3 s and 40 MB for the
table, milliseconds for a megabyte of hostile text (seconds where all of it is in one diagnosis tag).
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from deepicd import icd10
from deepicd.completion import parse
from deepicd.rewards import Sample, make_scorer
from deepicd.rewards.deepicd_r1 import deepicd_r1
from deepicd.spec.reward import PRESETS, RewardSpec

COMPLETIONS, GROUP = 512, 8
TRACE_CHARACTERS, NOTE_CHARACTERS = 4_500, 9_000  # 1,000 and 2,000 tokens of clinical English
REPEATS = 31
FUNCTION_WORDS = ["the", "of", "a", "in", "with", "is", "and", "to", "no", "on", "he", "for", "was"]

TABLE = """
import time, psutil
process = psutil.Process()
before, start = process.memory_info().rss, time.perf_counter()
from deepicd import icd10
icd10.is_billable("M5116"), icd10.description("M5116"), icd10.chapter("M5116"), icd10.ancestors("M5116")
first = time.perf_counter() - start
for code in icd10.billable_codes():
    icd10.description(code), icd10.chapter(code), icd10.ancestors(code)
grown = (process.memory_info().rss - before) / 1e6
print(f"{first:.3f} s to import and look up, {grown:.0f} MB after looking up every billable code")
"""

HOSTILE = {
    "<think>": "<think>" * 150_000,
    "<diagnosis>": "\n<diagnosis>" * 85_000,
    "</diagnosis>": "x</think>" + "</diagnosis>" * 85_000,
    "pairs": "x</think>" + "<diagnosis>M51</diagnosis>" * 40_000,
    "decorated": "x</think><diagnosis>" + "code M51.16, " * 77_000 + "</diagnosis>",
    "white space": "x</think>" + " \n" * 500_000 + "<diagnosis>",
}


def median_ms(call: Callable[[], object], repeats: int = REPEATS) -> float:
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds) * 1e3


def text(characters: int, vocabulary: list[str], rng: random.Random) -> str:
    drawn = " ".join(rng.choices(vocabulary, k=characters // 4))
    return drawn[:characters].rsplit(" ", 1)[0] + "."


def samples() -> list[Sample]:
    rng = random.Random(0)
    codes = rng.sample(icd10.billable_codes(), 2_000)
    # Descriptions in lower case, and as many function words: frequencies and lengths close to those of notes.
    words = [word for code in codes for word in icd10.description(code).lower().split()]
    vocabulary = words + rng.choices(FUNCTION_WORDS, k=len(words))
    notes = [text(NOTE_CHARACTERS, vocabulary, rng) for _ in range(COMPLETIONS // GROUP)]
    return [
        Sample(
            completion=f"{text(TRACE_CHARACTERS, vocabulary, rng)}</think>\n<diagnosis>{rng.choice(codes)}</diagnosis>",
            gold=rng.choice(codes),
            note=notes[place // GROUP],
        )
        for place in range(COMPLETIONS)
    ]


def main() -> None:
    batch = samples()
    print(f"{COMPLETIONS} completions of {TRACE_CHARACTERS:,} characters, {GROUP} to a note of {NOTE_CHARACTERS:,}")
    for preset in PRESETS:
        score = make_scorer(RewardSpec(preset=preset), opened_think=True)
        print(f"  {preset:12} {median_ms(lambda score=score: score(batch)):6.1f} ms")  # type: ignore[misc]
    print("a megabyte of hostile text, median of parse / deepicd-r1:")
    for name, hostile in HOSTILE.items():
        ours = median_ms(lambda hostile=hostile: parse(hostile, opened_think=True), 5)  # type: ignore[misc]
        released = median_ms(lambda hostile=hostile: deepicd_r1(hostile, "M5116"), 5)  # type: ignore[misc]
        print(f"  {name:12} {ours:6.1f} / {released:6.1f} ms")
    print("code table in a fresh process:")
    fresh = subprocess.run([sys.executable, "-c", TABLE], check=True, capture_output=True, text=True)
    print(f"  {fresh.stdout.strip()}")


if __name__ == "__main__":
    main()
