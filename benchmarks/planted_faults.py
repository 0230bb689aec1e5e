"""Synthetic admissions with clean reasoning traces, and faults planted in them, for `trace_filters.py`.

Clean traces come from the generator of synthetic cases and from seven other ways to write the same reasoning. Each fault is one
change of a clean trace.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from deepicd import icd10
from deepicd.data import extracted
from deepicd.data.synthetic import cases, diseases, summary
from deepicd.data.synthetic.lexicon import lexicon
from deepicd.distill.filters import Rule
from deepicd.distill.founded import Later, later_part
from deepicd.distill.vocabulary import Known, content
from deepicd.rewards.abbreviations import EXPANSIONS

CODES = 600


@dataclass(frozen=True, slots=True)
class Example:
    """A synthetic admission, with a clean trace."""

    case: cases.Case
    note: str
    later: Later
    later_text: str
    trace: str

    @property
    def code(self) -> str:
        return self.case.disease.code

    @property
    def title(self) -> str:
        return self.case.disease.description


def examples(number: int, seed: int = 0) -> Iterator[Example]:
    """Admissions with their clean traces."""
    rng = random.Random(seed)
    chosen = diseases.choose(CODES, rng)
    while number:
        case = cases.draw(rng.choice(chosen), chosen, rng)
        text = summary.write(case, rng.choice("FM"), rng, later_words=200)
        cut = extracted.cut(text)
        earlier, later = text[: cut["later"]], text[cut["later"] :]
        trace = WAYS[number % len(WAYS)](case, rng)
        yield Example(case, cut["note"], later_part(earlier, later), later, trace)
        number -= 1


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _seen(case: cases.Case) -> list[str]:
    return [*case.findings[:2], *case.signs[:3]] or [case.complaint]


def _title(case: cases.Case) -> str:
    return case.disease.description[:1].lower() + case.disease.description[1:]


def _spelled(text: str) -> str:
    return " ".join(EXPANSIONS.get(word.lower(), word) for word in text.split())


def _prose(case: cases.Case, rng: random.Random) -> str:
    return (
        f"{case.complaint.capitalize()} brings this patient in. The note records {_listed(_seen(case))}. There is no "
        f"{case.denied}, which argues against several other causes. The past history of "
        f"{_listed([*map(_spelled, case.history)])} would not account for the whole picture. Taken together the findings point "
        f"to {_title(case)}."
    )


def _differential(case: cases.Case, rng: random.Random) -> str:
    return (
        f"The main problem is {case.complaint} {case.duration}. On presentation there is {_listed(_seen(case))}. An infection "
        "could also look like this, but nothing else in the note supports it. A drug effect is possible and less likely given "
        f"the course. The absence of {case.denied} matters as well. The best explanation is {_title(case)}."
    )


def _steps(case: cases.Case, rng: random.Random) -> str:
    return (
        f"1. Presenting problem: {case.complaint}, {case.duration}.\n2. Findings: {'; '.join(_seen(case))}.\n"
        f"3. Against other causes: no {case.denied}.\n4. Background: {', '.join(case.history)}, none of which explains the "
        f"acute problem.\n5. Conclusion: the combination fits {_title(case)}."
    )


def _thinking(case: cases.Case, rng: random.Random) -> str:
    first, *rest = _seen(case)
    more = f" Then there is {_listed(rest)}, which fits the same process." if rest else ""
    return (
        f"Let me go through the note. The patient came in with {case.complaint}. What stands out is {first}.{more} I also "
        f"looked for {case.denied}; the note denies it. A purely functional cause would be unusual here. So the site and the "
        f"tempo both matter, and the most specific explanation is {_title(case)}."
    )


def _terse(case: cases.Case, rng: random.Random) -> str:
    return (
        f"CC {case.complaint}. Has {'; '.join(_seen(case))}. Denies {case.denied}. PMH {', '.join(case.history)}, "
        f"not an explanation. Picture most consistent with {_title(case)}."
    )


def _uncertain(case: cases.Case, rng: random.Random) -> str:
    return (
        f"This admission is for {case.complaint} {case.duration}. Supporting evidence in the note: {_listed(_seen(case))}. "
        "It remains uncertain how long this has been going on, and imaging could settle it. If the symptoms had resolved, a "
        f"benign cause would be more likely. Denied was {case.denied}. On balance this is {_title(case)}."
    )


def _contrast(case: cases.Case, rng: random.Random) -> str:
    return (
        f"Two readings of {case.complaint} are worth weighing. A systemic illness would usually bring more constitutional "
        f"symptoms. A local process explains why the patient has {_listed(_seen(case))}. {case.context} Known "
        f"{_listed(list(case.history))} is background. The local reading wins: {_title(case)}."
    )


WAYS: tuple[Callable[[cases.Case, random.Random], str], ...] = (
    cases.trace, _prose, _differential, _steps, _thinking, _terse, _uncertain, _contrast,
)  # fmt: skip


def written(trace: str, code: str) -> str:
    """The asked form."""
    return f"<reasoning>{trace}</reasoning>\n<diagnosis>{icd10.display(code)}</diagnosis>"


def inserted(trace: str, sentence: str, rng: random.Random) -> str:
    """A trace with a sentence before its last one, but not in front of it all."""
    parts = trace.split(". ")
    place = rng.randint(1, max(1, len(parts) - 1))
    return ". ".join([*parts[:place], sentence.rstrip("."), *parts[place:]])


# Faults: each gives the answer's text and whether it was cut off, or None where the example does not allow it.
Fault = Callable[[Example, random.Random, list[Example]], tuple[str, bool] | None]

PHRASES: dict[str, list[str]] = yaml.safe_load(Path(__file__).with_name("told_phrases.yaml").read_text())
"""Sentences by the name of their set."""


def _form(example: Example, rng: random.Random, others: list[Example]) -> tuple[str, bool]:
    whole = written(example.trace, example.code)
    return rng.choice(
        (
            (whole.replace("<reasoning>", ""), False),
            (whole.replace("</reasoning>", ""), False),
            (whole.partition("<diagnosis>")[0], False),
            (f"Here is my reasoning:\n{whole}", False),
            (f"{whole}\nLet me know if you need more.", False),
            (whole.replace(icd10.display(example.code), "the code above"), False),
            (whole[: len(whole) // 2], True),
            (f'{{"reasoning": "{example.trace[:40]}"}}', False),
            ("I am sorry, but I cannot help with medical records.", False),
            (f"{whole}<diagnosis>{others[0].code}</diagnosis>", False),
        )
    )


def _code(example: Example, rng: random.Random, others: list[Example]) -> tuple[str, bool]:
    siblings = [one for one in icd10.children(icd10.category(example.code)) if one != example.code and icd10.is_billable(one)]
    other = next(one.code for one in others if one.code != example.code)
    return written(example.trace, rng.choice([*siblings, other])), False


def _length(example: Example, rng: random.Random, others: list[Example]) -> tuple[str, bool]:
    short = " ".join(example.trace.split()[:9])
    long = " ".join([example.trace, *(f"Step {place}: the same holds." for place in range(200)), example.trace])
    return written(rng.choice((short, long)), example.code), False


def _told(example: Example, rng: random.Random, others: list[Example]) -> tuple[str, bool]:
    return written(inserted(example.trace, rng.choice(PHRASES["seen"]), rng), example.code), False


def _named(example: Example, rng: random.Random, others: list[Example]) -> tuple[str, bool] | None:
    known = Known(content(example.note))
    unknown = [word for word in content(example.title) if word not in known]
    by_title = (
        f"This is {_title(example.case)}.",
        f"The first thought is {_title(example.case)}.",
        f"{example.title}, I think.",
    )
    code = icd10.display(example.code)
    by_code = (f"{code} comes to mind.", f"This belongs to {example.code[:3]}.", f"The code would be {example.code.lower()}.")
    sentence = rng.choice(by_title if unknown and rng.random() < 0.6 else by_code)
    return written(f"{sentence} {example.trace}", example.code), False


def _later(example: Example, rng: random.Random, others: list[Example]) -> tuple[str, bool] | None:
    fill = lexicon().fill
    drugs = [drug for drug in fill["medications"] if drug in example.later_text and drug not in example.note]
    course = [one for one in fill["course"] if one in example.later_text]
    blood = example.later_text.partition("BLOOD ")[2].partition("\n")[0].replace("-", " ")
    taken = f"Takes {rng.choice(drugs)}." if drugs else f"Labs show {blood}."
    sentence = rng.choice((taken, f"Labs show {blood}.", f"The patient {rng.choice(course)}." if course else taken))
    return written(inserted(example.trace, sentence, rng), example.code), False


def _numbers(example: Example, rng: random.Random, others: list[Example]) -> tuple[str, bool]:
    value = rng.choice((f"{rng.randint(385, 410) / 10}", str(rng.randint(101, 190)), f"{rng.randint(21, 99) / 10}"))
    sentence = rng.choice(("Temperature is {}.", "Heart rate {}.", "The pressure was {} at first.", "Creatinine of {} fits."))
    return written(inserted(example.trace, sentence.format(value), rng), example.code), False


def _contradicted(example: Example, rng: random.Random, others: list[Example]) -> tuple[str, bool] | None:
    findings = [one for one in _seen(example.case) if len(content(one)) > 1 and " no" not in f" {one}" and "not" not in one]
    affirmed = (f"The patient has {example.case.denied}.", f"There is also {example.case.denied}.")
    usable = content(example.case.denied) and example.note.count(example.case.denied) == 1
    if not usable and not findings:
        return None
    denied = tuple(f"There is no {one}." for one in findings[:1]) + tuple(f"Denies {one}." for one in findings[1:2])
    sentence = rng.choice((*(affirmed if usable else ()), *denied))
    return written(inserted(example.trace, sentence, rng), example.code), False


def _unfounded(example: Example, rng: random.Random, others: list[Example]) -> tuple[str, bool] | None:
    known, title = Known(content(example.note)), Known(content(example.title))
    pool = [
        finding
        for other in others
        for finding in other.case.disease.presentation.finding
        if (found := content(finding)) and not any(word in known or word in title for word in found)
    ]
    if not pool:
        return None
    sentence = rng.choice(("There is also {}.", "The exam shows {}.", "The patient reports {}.", "Notable is {}."))
    return written(inserted(example.trace, sentence.format(rng.choice(pool)), rng), example.code), False


def _copied(example: Example, rng: random.Random, others: list[Example]) -> tuple[str, bool] | None:
    words = example.note.split()
    if len(words) < 40:
        return None
    copy = [("indeed" if rng.random() < 0.04 else word) for word in words[-120:]] if rng.random() < 0.5 else words[-120:]
    return written(f"{' '.join(copy)}. {example.trace.split('. ')[-1]}", example.code), False


def _similar(example: Example, rng: random.Random, others: list[Example]) -> tuple[str, bool]:
    words = example.trace.split()
    if len(words) > 30:
        place = rng.randrange(len(words) - 1)
        words[place : place + 1] = [words[place], "clearly"]
    return written(" ".join(words), example.code), False


FAULTS: dict[Rule, Fault] = {
    Rule.FORM: _form, Rule.CODE: _code, Rule.LENGTH: _length, Rule.TOLD: _told, Rule.NAMED: _named, Rule.LATER: _later,
    Rule.NUMBERS: _numbers, Rule.CONTRADICTED: _contradicted, Rule.UNFOUNDED: _unfounded, Rule.COPIED: _copied,
    Rule.SIMILAR: _similar,
}  # fmt: skip
