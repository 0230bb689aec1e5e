"""Discharge summaries of awkward but real shapes: words with KEPT are of the admission, words with LATE are not."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TEMPLATE = {
    "allergies": "Allergies: \nSulfa\n \nAttending: ___.",
    "complaint": "Chief Complaint:\nKEPTcomplaint cough",
    "procedure": "Major Surgical or Invasive Procedure:\nLATEprocedure bronchoscopy",
    "present": "History of Present Illness:\nKEPTpresent 71F with a week of cough.",
    "past": "Past Medical History:\nKEPTpast gout",
    "social": "Social History:\n___",
    "family": "Family History:\nKEPTfamily father with asthma",
    "exam": "Physical Exam:\nGen: KEPTexam pale",
    "results": "Pertinent Results:\n___ 05:40AM BLOOD WBC-8.4 LATEresult",
    "course": "Brief Hospital Course:\nLATEcourse She was given antibiotics.",
    "medications": "Medications on Admission:\n1. KEPTdrug 10 mg PO DAILY",
    "leaving": "Discharge Medications:\n1. LATEdrug 5 mg PO DAILY",
    "disposition": "Discharge Disposition:\nHome",
    "diagnosis": "Discharge Diagnosis:\nLATEdiagnosis",
    "instructions": "Discharge Instructions:\nDear Ms. ___,\nLATEletter",
    "followup": "Followup Instructions:\n___\n",
}
_HEAD = (
    " \nName:  ___                     Unit No:   ___\n \nAdmission Date:  ___              Discharge Date:   ___\n \n"
    "Date of Birth:  ___             Sex:   F\n \nService: MEDICINE\n \n"
)


def summary(**sections: str | None) -> str:
    """A summary in MIMIC-IV-Note's layout with some of its sections (header and text) replaced; None leaves one out."""
    chosen = {**_TEMPLATE, **sections}
    return _HEAD + "\n \n".join(text for text in chosen.values() if text is not None)


def _in(section: str, text: str) -> str:
    """`text` after the section's own words."""
    return summary(**{section: f"{_TEMPLATE[section]}\n{text}"})


def _exam(header: str) -> str:
    return summary(
        exam=f"Physical Exam:\nVS 99.1 KEPTexam\nGen: ill, KEPTlast pale\n\n{header}\nGen: LATEexam well\nLungs LATElungs clear"
    )


_DISCHARGE_EXAMS = (
    "DISCHARGE EXAM:", "Discharge PE:", "D/C exam:", "(At discharge)", "(DISCHARGE)", "[Discharge]", "DISCHARGE",
    "== Discharge ==", "Discharge ___:", "On day of discharge:", "AT TIME OF DISCHARGE:", "EXAM PRIOR TO DISCHARGE",
    "Pre-discharge exam:", "Upon discharge, vitals:", "Vitals at d/c:", "Discharge VS: 98.2 LATEvitals", "discharge exam:",
    "Most recent exam:", "Last exam:", "Exam today:", "PHYSICAL EXAM (discharge):", "Transfer exam:", "POD#3 exam:",
    "POD 2:", "HD 5 exam:", "Hospital day 6:", "Post-op exam:", "Exam on callout from MICU:", "Death exam:",
    "Time of death 04:10 LATEtime", "MSE at discharge:", "Neuro exam on discharge:", "Discharge Neurological Exam:",
    "Exam at death:", "Interval exam:", "D/C:", "Repeat exam:", "Discharge day exam:", "Mental status exam on discharge:",
    "Floor exam:", "Today:", "Exam this morning:", "Current exam:", "DISHCARGE EXAM:", "DISCH:", "Terminal exam:", "PE on d/c:",
    "HOD#3:", "Exam ___:", "DISCHARGE (___):", "Exam at end of stay:",
    "At the time of discharge the exam was", "Physical Exam on Discharge", "Discharge weight: 80 kg LATEweight",
)  # fmt: skip
_TABLES = (
    (
        "             ADMISSION          DISCHARGE\nBP           88/40 KEPTbp       LATEbp 118/70\n"
        "HR           121 KEPThr         LATEhr 80"
    ),
    "Exam\tOn admission\tOn discharge\nLungs\trales KEPTrales\tLATElungs clear\nEdema\t2+ KEPTedema\tLATEedema none",
    "| | Admission | Discharge |\n| BP | 88/40 KEPTbp | 120/70 LATEbp |\n| HR | 121 KEPThr | 80 LATEhr |",
    "    On Admission     At Discharge\nHR  110 KEPTa        LATEa 70",
    "Admission            Discharge\n88/40 KEPTbp         LATEbp 120/70",
    "Vitals    Admission Exam    Discharge Exam\nTemp      101.3 KEPTtemp    LATEtemp 98.4",
)
_EARLIER_IN_PRESENT = (
    "Outside Hospital Course: KEPTtext intubated.", "OSH course: KEPTtext febrile.", "ED Course: KEPTtext fluids.",
    "Hospital course at OSH: KEPTtext given blood.", "Prior hospital course: KEPTtext slow.",
    "Discharge weight: KEPTtext 80 kg.",
    "Discharge Cr: KEPTtext 1.1", "Prior discharge diagnosis: KEPTtext flu.", "Follow-up MRI: KEPTtext stable.",
    "Followup CT: KEPTtext stable.", "Follow up visit: KEPTtext well.", "Initial labs:\nWBC 15 KEPTtext",
    "Initial labs: KEPTtext",
    "Labs: KEPTtext", "Labs:\nKEPTtext", "Imaging:\nKEPTtext", "CXR: KEPTtext", "Plan: KEPTtext admit",
    "- Plan: KEPTtext admit",
    "- Disposition: KEPTtext floor", "Disposition: KEPTtext admitted", "- Exam: KEPTtext", "Exam: KEPTtext rales",
    "Impression: KEPTtext effusion", "FINDINGS: KEPTtext effusion", "Medication changes: KEPTtext", "Consults: KEPTtext",
    "Vitals prior to transfer: KEPTtext 98.9", "VS on transfer: KEPTtext", "Repeat labs: KEPTtext",
    "Treatment course: KEPTtext",
    "Events prior to admission: KEPTtext", "Reason for transfer: KEPTtext", "Emergency Department Course:\nKEPTtext",
    "She was last seen here in the spring, and then her\ndischarge diuretic: KEPTtext 20 mg",
    "She was last seen here in the spring, and after her\nHospital course: KEPTtext she went to rehab.",
    "He was admitted last month for the same pain, and the\nDischarge diagnosis: KEPTtext was gout.",
    "EXAM: KEPTtext rales\nLABS: KEPTtext\nEKG: KEPTtext\nPLAN: KEPTtext admit", "Discharge summary from ___: KEPTtext",
    "Discharge plan at that time: KEPTtext", "Pre-hospital course: KEPTtext",
    "Over the course of the week: KEPTtext worse.", "Purulent discharge: KEPTtext from the ear.",
)  # fmt: skip
_STAY_IN_PRESENT = (
    "MICU Course:", "ICU course:", "MICU COURSE", "Floor course:", "Summary of events prior to floor transfer:",
    "Events in the ICU:", "Overnight events:", "Interval history:", "Subsequent course:", "Post-operative course:",
    "Postoperatively:", "POD#2:", "Hospital day 3:", "Course prior to transfer:", "Medications on transfer:",
    "Assessment and Plan:", "Assessment & Plan:", "A/P:", "ASSESSMENT/PLAN:", "Assessment:", "Impression and Plan:",
    "Transferred to MICU:", "Since admission:", "24h events:",
    "Night float addendum:", "Summary:", "Update:", "During her MICU stay:",
    "SICU course (per report):", "Transfer to floor:", "Labs prior to MICU transfer:",
)  # fmt: skip
_COMBINED = (
    "HPI/Hospital Course:", "HPI and Hospital Course:", "History of Present Illness/Hospital Course:",
    "HPI / BRIEF HOSPITAL COURSE:", "History of present illness and course:", "Hospital Course/HPI:",
)  # fmt: skip
_REPORTS = (
    "EXAMINATION: CT CHEST W/CONTRAST\nINDICATION: cough\nFINDINGS: LATEreport effusion\nIMPRESSION: LATEread",
    "CHEST RADIOGRAPH\nHISTORY: cough\nFINDINGS: LATEreport opacity", "HISTORY: LATEhistory\nEXAM: LATEexam MRI",
    "PATHOLOGY REPORT\nPAST MEDICAL HISTORY: LATEpast\nDIAGNOSIS: LATEdx", "Physical Exam: LATEconsult",
    "Medications: LATEmeds\nAllergies: LATEallergies", "REASON FOR EXAM: LATEreason", "PE: LATEpe",
)  # fmt: skip
_WOUNDS = (
    "Eyes: NO DISCHARGE KEPTtext", "Ear canal with discharge KEPTtext", "Wound: + discharge KEPTtext",
    "Nares with clear discharge KEPTtext", "nasal discharge: KEPTtext clear",
    "Wound: no purulent discharge, KEPTtext dry", "Incision without erythema or discharge KEPTtext",
    "EARS: NO ERYTHEMA OR DISCHARGE. KEPTtext", "GU: vaginal discharge, KEPTtext white", "Discharge from the wound KEPTtext",
    "SKIN: DRAINAGE/DISCHARGE ABSENT KEPTtext", "Nose: no\ndischarge noted KEPTtext", "Discharge: none KEPTtext",
)  # fmt: skip
_IN_PAST = (
    "ALL: KEPTtext as a child", "Primary Diagnosis: KEPTtext", "Procedures:\n- KEPTtext", "Diagnosis: KEPTtext",
    "Echo: KEPTtext", "Secondary diagnosis: KEPTtext", "Chronic issues: KEPTtext", "Treatment history: KEPTtext",
)  # fmt: skip
_REMOVED = (
    ("present", "___ of Present Illness:\nKEPTpresent cough"), ("present", "History of ___ Illness:\nKEPTpresent cough"),
    ("present", "History of Present ___:\nKEPTpresent cough"), ("past", "___ Medical History:\nKEPTpast gout"),
    ("past", "Past ___ History:\nKEPTpast gout"), ("complaint", "___ Complaint:\nKEPTcomplaint cough"),
    ("family", "Family ___:\nKEPTfamily"), ("exam", "___ Exam:\nKEPTexam pale"), ("exam", "Physical ___:\nKEPTexam pale"),
    ("leaving", "___ Medications:\nLATEdrug"), ("course", "Brief ___ Course:\nLATEcourse"),
    ("course", "___ Hospital Course:\nLATEcourse"), ("diagnosis", "___ Diagnosis:\nLATEdx"),
    ("results", "Pertinent ___:\nLATEresult"), ("medications", "___ on Admission:\n1. KEPTdrug"),
)  # fmt: skip


def shapes() -> Iterator[tuple[str, str]]:
    """Every shape with its name."""
    yield "plain", summary()
    yield from ((f"exam: {header}", _exam(header)) for header in _DISCHARGE_EXAMS)
    yield from ((f"table {place}", summary(exam=f"Physical Exam:\n{text}")) for place, text in enumerate(_TABLES))
    yield from ((f"earlier: {text}", _in("present", f"{text}\nThen KEPTafter worse.")) for text in _EARLIER_IN_PRESENT)
    yield from ((f"stay: {text}", _in("present", f"{text}\nLATEstay better.")) for text in _STAY_IN_PRESENT)
    yield from (
        (f"stay, inline: {text}", _in("present", f"{text} LATEstay better.")) for text in _STAY_IN_PRESENT if text[-1] == ":"
    )
    for text in _COMBINED:
        yield f"combined: {text}", summary(present=f"{text}\nCough. LATEstay intubated.")
    yield from ((f"report: {text}", _in("results", text)) for text in _REPORTS)
    yield from ((f"report: {text}", _in("exam", text)) for text in _REPORTS[:1])
    yield from ((f"wound: {text}", _in("exam", text)) for text in _WOUNDS)
    yield from ((f"removed: {text}", summary(**{section: text})) for section, text in _REMOVED)
    yield "consult behind the exam", _in("exam", "CHIEF COMPLAINT: LATEcomplaint\nPHYSICAL EXAMINATION: LATEconsult")
    for header in ("Assessment and Plan:", "A/P:", "ASSESSMENT:", "Impression/Plan:", "Plan:", "Impression:"):
        yield f"plan after the exam: {header}", _in("exam", f"{header}\nLATEplan likely pneumonia")
    for text in _IN_PAST:
        yield f"history: {text}", _in("past", f"{text}\nCOPD KEPTafter")
    for header in ("MEDICATIONS ON TRANSFER:", "Transfer medications:", "Discharge Labs:", "Active Issues:"):
        yield f"no course: {header}", summary(results=f"{header}\nLATEtext", course=None)
    for missing in ("results", "course", "exam", "past", "medications"):
        yield f"without {missing}", summary(**{missing: None})


def expected(text: str) -> tuple[set[str], set[str]]:
    """The words that must stay, and those that must not get in."""
    return set(re.findall(r"KEPT\w+", text)), set(re.findall(r"LATE\w+", text))
