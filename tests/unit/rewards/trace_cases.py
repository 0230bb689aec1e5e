"""Invented notes with honest traces, and ways to earn the term without reasoning."""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deepicd import icd10


@dataclass(frozen=True)
class Case:
    """One admission: the right code, the note, traces that reason from it, and one in another language."""

    code: str
    note: str
    honest: tuple[str, ...]
    foreign: str

    @property
    def title(self) -> str:
        return icd10.description(self.code)


_TEXTS = Path(__file__).parent / "texts"
_ENTRIES = tomllib.loads((_TEXTS / "traces.toml").read_text())["case"]
CASES = tuple(Case(one["code"], one["note"], tuple(one["honest"]), one["foreign"]) for one in _ENTRIES if not one["later"])
LATER_CASES = tuple(Case(one["code"], one["note"], tuple(one["honest"]), one["foreign"]) for one in _ENTRIES if one["later"])
"""Written after the term's lists and thresholds were chosen: see the file's head."""

FUNCTION_WORDS = ["the", "of", "a", "in", "with", "is", "and", "to", "on", "he", "for", "was", "that", "this", "by", "from"]
_REAL_WORDS = """
fracture lumbar diabetes injury artery chronic lesion neoplasm ulcer burn displaced abscess thyroid open shaft retinal corneal
tendon laceration poisoning colon breast ovary scar thumb elbow
"""
REAL_WORDS = _REAL_WORDS.split()
FIXED_LIST = (
    "pain fever cough nausea vomiting breath chest abdomen lungs heart blood pressure hypertension soft clear regular edema "
    "room air"
)
FIXED_PROSE = (
    "The patient came in with pain, fever and a cough, and there was nausea with vomiting. The chest, the heart and "
    "the lungs were examined, the abdomen was soft, there was no edema and the blood pressure was taken on room "
    "air. With a history of hypertension this leads to the conclusion."
)
FILLER = (
    "Let us approach this carefully and systematically. It is essential to weigh each piece of information and to "
    "avoid premature conclusions. Experienced clinicians generate hypotheses, refine them and communicate "
    "uncertainty in a transparent manner, and so the overall picture speaks clearly for itself."
)
TALK = (
    "This has to be weighed with care.",
    "Many illnesses begin like that and few end so.",
    "It must not be read alone.",
    "An expert would look further before deciding.",
)
OTHER_CODES = ("A419", "I5033", "K8590", "N179", "J189")


def _replaced(case: Case, step: int, by: Callable[[int], str]) -> str:
    return " ".join(by(place) if place % step == 0 else word for place, word in enumerate(case.note.split()))


def _made_up(place: int) -> str:
    rng = random.Random(place)
    return "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(3))


def real_word(place: int) -> str:
    return REAL_WORDS[place % len(REAL_WORDS)]


def shuffled(text: str) -> str:
    return " ".join(random.Random(0).sample(text.split(), len(text.split())))


def _salad(case: Case) -> str:
    rng = random.Random(1)
    words = rng.sample(re.findall(r"[a-z]{4,}", case.note), 18) + rng.sample(REAL_WORDS, 5) + rng.choices(FUNCTION_WORDS, k=20)
    return shuffled(" ".join(words))


def _findings(case: Case) -> list[str]:
    """Words of the note in its order, the long ones first to be taken."""
    words = re.findall(r"[A-Za-z]{5,}", case.note.split("History of Present Illness:")[1])
    return list(dict.fromkeys(words))[:9]


def sentences_of(case: Case) -> list[str]:
    return [one for one in re.split(r"(?<=\.)\s+|\n", case.note) if one]


def _other(case: Case) -> Case:
    index = CASES.index(case) if case in CASES else 0
    return CASES[(index + 1) % len(CASES)]


def _inserted(case: Case, step: int) -> str:
    return " ".join(f"{word} {real_word(place)}" if place % step == 0 else word for place, word in enumerate(case.note.split()))


CHEATS: dict[str, Callable[[Case], str]] = {
    "nothing": lambda case: "",
    "the code": lambda case: case.code,
    "the title": lambda case: f"This is {case.title.lower()}.",
    "the title and the code twenty times": lambda case: f"This is {case.title.lower()}, {case.code}. " * 20,
    "the title in talk": lambda case: f"Having read the note with care, I am sure that the answer is {case.title.lower()}.",
    "the title after talk": lambda case: f"{FILLER} This is {case.title.lower()}, {case.code}.",
    "a fixed list of words": lambda case: f"{FIXED_LIST}, hence {case.code}",
    "a fixed list in sentences": lambda case: f"{FIXED_PROSE} {case.code}",
    "a long fixed vocabulary": lambda case: f"{FIXED_LIST} {' '.join(REAL_WORDS)} {' '.join(FUNCTION_WORDS)} {case.code}",
    "nine words of the note": lambda case: f"{' '.join(_findings(case))} hence therefore verdict {case.code}",
    "nine words of the note with commas and a tail": lambda case: (
        f"{', '.join(_findings(case))}, which is clearly {case.title}."
    ),
    "nine words of the note each with an article": lambda case: f"the {' the '.join(_findings(case))} hence {case.code}",
    "nine words of the note joined by of the": lambda case: f"{' of the '.join(_findings(case))} hence {case.code}",
    "talk and nine words of the note": lambda case: f"{FILLER} {' '.join(_findings(case))}",
    "nine words of the note and talk": lambda case: f"{', '.join(_findings(case))}. {FILLER}",
    "nine codes": lambda case: (
        f"{' '.join(_findings(case)[:6])} differential includes {case.code} A419 I5033 K8590 N179 verdict"
    ),
    "the note": lambda case: f"{case.note} {case.code}",
    "the note in lower case without punctuation": lambda case: " ".join(re.findall(r"\w+", case.note.lower())),
    "half the note": lambda case: f"{case.note[: len(case.note) // 2]} Therefore {case.code}",
    "half the note and talk": lambda case: f"{case.note[: len(case.note) // 2]} {FILLER} {case.code}",
    "the note's words shuffled": lambda case: f"{shuffled(case.note)} {case.code}",
    "the note's words sorted": lambda case: " ".join(sorted(set(case.note.lower().split()))),
    "the note's sentences shuffled": lambda case: " ".join(
        random.Random(0).sample(sentences_of(case), len(sentences_of(case)))
    ),
    "the note backwards": lambda case: " ".join(reversed(case.note.split())),
    "one sentence of the note": lambda case: f"{max(sentences_of(case), key=len)} {case.code}",
    "one sentence of the note ten times": lambda case: f"{max(sentences_of(case), key=len)} " * 10,
    "one sentence of the note and a tail": lambda case: (
        f"{max(sentences_of(case), key=len)} Therefore this is clearly {case.title}."
    ),
    "every fourth word replaced by a number": lambda case: _replaced(case, 4, lambda place: f"zzq{place}") + f" {case.code}",
    "every fourth word replaced by one word": lambda case: _replaced(case, 4, lambda place: "widget") + f" {case.code}",
    "every second word made up": lambda case: _replaced(case, 2, _made_up),
    "every third word made up": lambda case: _replaced(case, 3, _made_up),
    "every fourth word made up": lambda case: _replaced(case, 4, _made_up),
    "every sixth word made up": lambda case: _replaced(case, 6, _made_up),
    "every second word replaced by a real one": lambda case: _replaced(case, 2, real_word),
    "every third word replaced by a real one": lambda case: _replaced(case, 3, real_word),
    "every fourth word replaced by a real one": lambda case: _replaced(case, 4, real_word),
    "every sixth word replaced by a real one": lambda case: _replaced(case, 6, real_word),
    "a real word after every second word": lambda case: _inserted(case, 2),
    "a real word after every fourth word": lambda case: _inserted(case, 4),
    "every fourth word left out, every fifth replaced": lambda case: " ".join(
        word for place, word in enumerate(_replaced(case, 5, real_word).split()) if place % 4
    ),
    "every third word left out, and talk": lambda case: (
        f"{' '.join(word for place, word in enumerate(case.note.split()) if place % 3)} {FILLER}"
    ),
    "the titles of other codes and a sentence of the note": lambda case: (
        f"The differential includes {', '.join(icd10.description(code).lower() for code in OTHER_CODES)}. "
        f"{max(sentences_of(case), key=len)}"
    ),
    "sentences of the note and of talk in turn": lambda case: " ".join(
        f"{sentence.rstrip('.')}. {TALK[place % len(TALK)]}" for place, sentence in enumerate(sentences_of(case)[:12])
    ),
    "every fourth word replaced, shuffled": lambda case: shuffled(_replaced(case, 4, _made_up)),
    "a salad with function words": _salad,
    "function words": lambda case: f"{' '.join(FUNCTION_WORDS)} " * 4,
    "an honest trace shuffled": lambda case: shuffled(case.honest[0]),
    "an honest trace five times": lambda case: f"{case.honest[0]} " * 5,
    "an honest trace of another note": lambda case: f"{_other(case).honest[0]} {case.code}",
    "an honest trace in another language": lambda case: case.foreign,
}
