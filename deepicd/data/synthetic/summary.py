"""The discharge summary of a case in the layout of real ones, with later sections that contain the answer."""

from __future__ import annotations

import random

from deepicd.data.synthetic.cases import Case
from deepicd.data.synthetic.lexicon import lexicon

_LINE = 78
"""Maximum characters per line."""

# Header variants. The first of each is by far the most frequent.
_COMPLAINT = ("Chief Complaint:", "CC:", "CHIEF COMPLAINT:")
_PRESENT = ("History of Present Illness:", "HPI:", "HISTORY OF PRESENT ILLNESS:", "History of Presenting Illness:")
_PAST = ("Past Medical History:", "PMH:", "PMHx:", "Past Medical Hx:", "PAST MEDICAL HISTORY:")
_EXAM = ("Physical Exam:", "PE:", "PHYSICAL EXAM:", "ADMISSION PHYSICAL EXAM:")
_MEDICATIONS = ("Medications on Admission:", "Meds on Admission:", "Admission Medications:")
_DISCHARGE_EXAM = ("DISCHARGE PHYSICAL EXAM:", "Discharge exam:", "On discharge:", "PHYSICAL EXAM ON DISCHARGE:")
_COURSE = ("Brief Hospital Course:", "BRIEF HOSPITAL COURSE:", "Hospital Course:")


def write(case: Case, sex: str, rng: random.Random, *, later_words: int = 0) -> str:
    """Write the whole summary.

    Args:
        case: content of the summary.
        sex: F or M, shown in the head.
        rng: draws header variants and words.
        later_words: minimum number of words in the sections after the admission sections.
    """
    medications = _medications(rng)
    # A blank line in real summaries contains one space.
    return "\n \n".join(
        (
            " \nName:  ___                    Unit No:   ___",
            "Admission Date:  ___              Discharge Date:   ___",
            f"Date of Birth:  ___             Sex:   {sex}",
            f"Service: {rng.choice(lexicon().fill['service'])}",
            *_at_admission(case, sex, rng),
            *_later(case, medications, rng, later_words),
        )
    )


def _at_admission(case: Case, sex: str, rng: random.Random) -> list[str]:
    fill = lexicon().fill
    pieces = [*case.findings, *case.signs]
    rng.shuffle(pieces)
    examined = pieces[:1] if len(pieces) > 2 else []
    reported = pieces[len(examined) :] + ([case.stray] if case.stray else [])
    rng.shuffle(reported)
    patient = {"F": "woman", "M": "man"}[sex]
    symptoms = ", ".join(reported) or case.complaint
    present = f"___ y/o {patient} with {symptoms} {case.duration}. {case.context} No {case.denied}."
    past = ", ".join([*case.history, *(one.presentation.short for one in case.other)])
    exam = f"{rng.choice(fill['general'])}. " + ", ".join([*examined, rng.choice(("RRR", "CTAB"))])
    allergies = rng.choice(fill["allergies"]) if rng.random() < 0.4 else "___"
    family = rng.choice(fill["family"]) if rng.random() < 0.15 else "___"
    better = f"VSS, {case.disease.description.lower()} better"
    return [
        f"Allergies: \n{allergies}",
        "Attending: ___.",
        f"{_header(_COMPLAINT, rng)}\n{case.complaint}",
        "Major Surgical or Invasive Procedure:\nNone",
        f"{_header(_PRESENT, rng)}\n{_wrap(present)}",
        f"{_header(_PAST, rng)}\n{past}",
        f"Social History:\n___\nFamily History:\n{family}",  # no blank line between them, as in real summaries
        f"{_header(_EXAM, rng)}\n{exam}\n\n{rng.choice(_DISCHARGE_EXAM)}\n{better}",
    ]


def _later(case: Case, medications: list[str], rng: random.Random, words: int) -> list[str]:
    name = case.disease.description
    blood = f"___ 06:10AM BLOOD WBC-{rng.randint(4, 20)}.1 Hgb-{rng.randint(6, 15)}.2"
    diagnoses = ["PRIMARY:", name] + (["SECONDARY:", *(one.description for one in case.other)] if case.other else [])
    at_home = medications[0] if rng.random() < 0.25 else "___"
    return [
        f"Pertinent Results:\nADMISSION LABS\n{blood}\nIMPRESSION: {name}.",
        f"{_header(_COURSE, rng)}\n{_course(case, rng, words)}",
        f"{_header(_MEDICATIONS, rng)}\n{at_home}",
        "\n".join(["Discharge Medications:", *medications]),
        f"Discharge Disposition:\n{rng.choice(('Home', 'Extended Care', 'Home With Service'))}",
        "\n".join(["Discharge Diagnosis:", *diagnoses]),
        "Discharge Condition:\nMental Status: Clear and coherent.",
        f"Discharge Instructions:\nDear Ms./Mr. ___,\nYou were in the hospital for {name.lower()}.",
        "Followup Instructions:\n___\n",
    ]


def _medications(rng: random.Random) -> list[str]:
    drugs = rng.sample(lexicon().fill["medications"], 4)
    return [f"{number}. {drug} " for number, drug in enumerate(drugs, start=1)]


def bare(sex: str) -> str:
    """A summary without admission sections, like some real ones."""
    return (
        f" \nName:  ___                    Unit No:   ___\n \nDate of Birth:  ___             Sex:   {sex}\n \n"
        "Brief Hospital Course:\nSee the paper chart.\n \nDischarge Disposition:\nHome\n"
    )


def _header(variants: tuple[str, ...], rng: random.Random) -> str:
    return variants[0] if rng.random() < 0.7 else rng.choice(variants)


def _course(case: Case, rng: random.Random, words: int) -> str:
    lines = [f"# {case.disease.description}: the patient {rng.choice(lexicon().fill['course'])}."]
    count = 0
    while count < words:
        lines.append(f"Hospital day {len(lines)}: the patient {rng.choice(lexicon().fill['course'])}.")
        count += 10
    return "\n".join(lines)


def _wrap(text: str) -> str:
    """Wrap lines as the source system does."""
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > _LINE:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return "\n".join([*lines, line])
