"""Signs of later text in admission notes."""

from __future__ import annotations

import random

import pytest

from deepicd.data import leaks, sections
from tests.unit.data.summaries import shapes, summary

# Sentences from the later parts of summaries, each of a different stay.
LATER = """\
Brief Hospital Course:
HOSPITAL COURSE: 71F with pneumonia who improved.
Her hospital course was complicated by atrial fibrillation.
During this admission he received four units of blood.
Throughout this hospitalization her sodium was followed.
Hospital course by problem follows.
MICU course: weaned off pressors.
He was extubated without difficulty and called out to the floor.
She was transferred out of the ICU in the evening.
He was successfully weaned off oxygen.
The patient tolerated the procedure well.
She was taken to the operating room for an open repair.
Blood cultures grew MSSA and a TTE showed no vegetation.
She remained afebrile and hemodynamically stable.
Pain improved with oral agents and diet was advanced.
TRANSITIONAL ISSUES: repeat chest CT in six weeks.
While in house she was seen by nutrition.
DISCHARGE DIAGNOSIS: lobar pneumonia
Discharge Medications: 1. Levofloxacin 750 mg
Discharge Condition: Mental Status: Clear and coherent.
DISCHARGE EXAM: lungs clear
Discharge labs: WBC 6.1
(Discharge)
Exam on discharge: well appearing, walking the halls
Physical exam at time of discharge: alert
Vitals at discharge 98.1 70 118/64
On discharge, she was walking without help.
At the time of discharge he was eating a regular diet.
By discharge his creatinine was 0.9.
Prior to discharge the drain was removed.
On the day of discharge the wound was clean.
Final diagnosis: acute appendicitis
She was discharged home in stable condition.
The patient was discharged to a facility on oral antibiotics.
He was deemed safe for discharge by physical therapy.
Pending at discharge: blood cultures
Level of Consciousness: Alert and interactive.
Activity Status: Ambulatory - Independent.
On POD#2 the catheter was removed.
POD 1: tolerated clears
By post-operative day three she had flatus.
On postop day 4 he was given a regular diet.
Postoperatively she was kept on telemetry.
His postoperative course was uneventful.
On hospital day 3 he spiked a fever.
HD#4: afebrile
By HD 5 she was on room air.
HOD #2: diuresis continued
Dear Ms. ___,
It was a pleasure taking care of you.
You were admitted with chest pain.
You were found to have a clot in your lung.
Please take all of your medications as prescribed.
Please follow up with your primary care doctor.
Followup Instructions: ___
We stopped your lisinopril.
Weigh yourself every morning and call your doctor if it rises; your PCP will see you.
Time of death was 04:10.
The patient expired with family present; an autopsy was declined.
She was made CMO on the last day and passed quietly.
He ruled out for myocardial infarction and was sent home on aspirin.
By HD3 his white count had come down.
The patient was admitted and underwent laparoscopic cholecystectomy on HD 2.
She did well post-operatively and was advanced to a regular diet.
On POD 4 the JP drain was removed.
Discharge Disposition: Home With Service
Exam at discharge: afebrile, walking
She was discharged to rehab on oral levofloxacin.
At discharge, her INR was 2.3.
Hospital course: treated with antibiotics.
Her hospital course was notable for a GI bleed.
Please follow up with Dr. ___ in two weeks.
You came to the hospital because of belly pain.
Discharge weight: 82.1 kg
Medications at discharge were reconciled.
She was stable for discharge on day 5.
HOSPITAL COURSE BY SYSTEM
He was seen by PT who recommended discharge to rehab.
Post operative day one labs were normal.
Hospital day #6: transferred to the floor
Mental Status: Clear and coherent.
Ms. ___ was treated with IV diuresis with good effect during her hospitalization.
DISCHARGE VITALS: 98.0
D/C meds: warfarin
Primary discharge diagnosis: pulmonary embolism
Upon discharge the patient was ambulating.
Issues for follow up: repeat CXR
#Sepsis: treated with zosyn, narrowed to ceftriaxone on HD3.
On postoperative day 2, diet was advanced as tolerated.
POD#5: staples removed
Brief Hospital Course: Ms. ___ was admitted with sepsis.
ICU Course: he was intubated for airway protection.
She was extubated on hospital day two.
Her hospital stay was complicated by an ileus.
The remainder of the hospital course was unremarkable.
He was discharged on a 7 day course of augmentin.
Discharge Diagnoses: 1. Acute cholecystitis
PRIMARY DIAGNOSIS: Acute cholecystitis
Discharge Instructions: Please call if fever.
Discharge Followup: ___
Condition at discharge: stable
Exam prior to discharge: nontender
Labs on discharge: Hgb 9.1
DISCHARGE PHYSICAL EXAM:
Discharge Medications:
The patient was discharged home with VNA.
You were started on a blood thinner.
Please return if you have chest pain.
Dear Mr. ___, it was a pleasure
Your medications were changed.
He was transferred to the floor on HD#2.
By the day of discharge she was ambulating.
At time of discharge: oxygen requirement resolved.
# Transitional issues: check INR
Post-op course was uncomplicated.
The patient's hospital course is outlined below by system.
During her stay she received two units of blood.
During the hospitalization his diabetes was managed with sliding scale.
Upon discharge she will follow with oncology.
Patient was made DNR/DNI and expired on HD 7.
Final Diagnosis: NSTEMI
On the day of transfer to rehab she was stable.
Follow up with cardiology was arranged on discharge.
""".splitlines()
# Sentences from admissions, many about an earlier stay.
CLEAN = """\
He was discharged two weeks ago after a stay for heart failure.
She was recently discharged from rehab.
Last discharge weight was 81 kg.
At his last discharge he was on 40 mg of furosemide.
Since discharge from the outside hospital she has had loose stools.
His hospital course there, at an outside hospital, was notable for a fall.
Outside Hospital Course: given ceftriaxone and fluids.
Prior hospital course was complicated by delirium last month.
Purulent discharge from the left ear for three days.
No vaginal discharge or bleeding.
Denies nasal discharge, cough, or fever.
Eyes: no discharge. Wound: clean, without discharge.
In the ED, initial vitals were 98.6 110 100/60 22 94% RA.
Labs were notable for a white count of 15 and a lactate of 2.4.
He was given vancomycin, cefepime and two litres of fluid.
On arrival to the floor she reports ongoing nausea.
Vitals on transfer: 98.9 88 118/70 18 96% 2L.
On HD (MWF) for end-stage renal disease.
ESRD on HD since 2012, missed his last HD session.
Post-op nausea after prior surgeries.
s/p CABG, s/p appendectomy as a child
Postoperative DVT after a knee replacement ten years ago.
Mother died of breast cancer; father had an MI.
Lives with his wife, retired teacher, quit smoking twenty years ago.
Chest pain improved with nitroglycerin at home but came back.
She was started on prednisone by her PCP a week ago.
Gen: NAD, alert. CV: RRR, no murmurs. Lungs: CTAB.
Plan: admit to medicine for IV antibiotics.
The pain is worse after meals and radiates to the back.
Echo two years ago: EF 45 %.
She was admitted to an outside hospital last week and discharged on oral antibiotics.
Aspirin 81 mg PO DAILY; metoprolol succinate 25 mg PO DAILY.
Discharged from the hospital in March with similar symptoms.
Of note, she was discharged from here 5 days ago on lasix 40.
Her last hospital course was uneventful.
Recent hospitalization for pneumonia, discharged on levofloxacin.
He reports white discharge from the penis.
She noted breast discharge.
Patient on HD via left AV fistula.
Post-operative pain after his hernia repair in 2010.
She had an uncomplicated postpartum course with her first child.
He has a history of ICU admission for asthma as a child.
Ear drainage and discharge for a week.
In the ED he was given 2L and admitted to the floor.
She was seen in the clinic and sent in for direct admission.
He was transferred from an outside hospital for further management.
Followed by oncology; started on chemotherapy in the spring.
Discharge creatinine in May was 1.8.
He was discharged from the Navy in 1970.
She was last admitted in the winter.
Pt was discharged on ___ after a CHF exacerbation and returns with dyspnea.
The pain improved with rest.
The patient is a 45M with HIV who presents with fever.
Discharge from the wound increased over two days.
Discharged 10 days ago from OSH following treatment for cellulitis.
He was in his usual state of health until yesterday.
No post-operative complications from prior CABG.
Patient with ESRD on HD MWF presents with missed HD.
Her last HD was 2 days ago.
She had been hospitalized at ___ in the winter for COPD.
She completed a course of azithromycin.
After discharge he did well until last week.
Following his discharge in June he felt well.
In the ED he spiked a fever to 102.
Remained in the ED overnight without events.
Wound vac placed at rehab; wound clean.
He was discharged to SNF on ___, where he developed a cough.
Her hospital course at that time was notable for GI bleed last year.
Please see OMR note for details.
Postpartum day 3 at an outside hospital she had a fever.
On arrival to the MICU, he was intubated and sedated.
Patient was admitted to the floor for further care.
Son died of an overdose; mother had an autopsy showing CAD.
Pertinent positives per HPI, otherwise negative.
He was evaluated by neurosurgery in the ED.
Given concern for sepsis she was started on vancomycin.
She was weaned off prednisone in the spring.
""".splitlines()


def note_with(sentence: str, place: random.Random) -> str:
    """A clean note with a sentence somewhere in its present illness or at its end."""
    lines = [f"History of Present Illness: {place.choice(CLEAN)}", *place.sample(CLEAN, 3), f"Physical Exam: {CLEAN[26]}"]
    lines.insert(place.randint(1, len(lines)), sentence)
    return "\n".join(lines)


def test_nineteen_of_twenty_planted_leaks_are_found() -> None:
    place = random.Random(1)
    found = [bool(leaks.signs(note_with(sentence, place))) for sentence in LATER for _ in range(5)]
    assert sum(found) >= 0.95 * len(found)


def test_one_clean_note_in_fifty_is_flagged_at_most() -> None:
    place = random.Random(2)
    notes = [note_with(sentence, place) for sentence in CLEAN for _ in range(10)]
    notes += [sections.render(sections.extract(text)) for _, text in shapes()]
    flagged = [note for note in notes if leaks.signs(note)]
    assert len(flagged) <= 0.02 * len(notes)


@pytest.mark.parametrize(
    ("note", "kind"),
    [
        ("HPI: ill\nDischarge Diagnosis: gout", "header"),
        ("HPI: ill. Her hospital course was long.", "hospital course"),
        ("HPI: ill. On hospital day 3 better.", "hospital day"),
        ("HPI: ill. POD#2 better.", "after operation"),
        ("HPI: ill. Dear Ms. ___", "letter"),
        ("HPI: ill. The patient expired.", "death"),
        ("HPI: ill. Activity Status: Ambulatory", "condition at discharge"),
        ("HPI: ill. On discharge she was well.", "discharge"),
    ],
)
def test_a_sign_is_named_by_its_kind(note: str, kind: str) -> None:
    assert kind in leaks.signs(note)


SOURCE = summary(
    present="History of Present Illness:\nA week of cough and fever.",
    course="Brief Hospital Course:\nThe CT showed empyema and a chest tube drained two litres of pus over four days.",
)
TITLE = "Pyothorax without fistula, empyema"


def test_a_word_of_the_title_that_only_the_later_part_has_is_found() -> None:
    assert leaks.signs_of_source("HPI: cough from empyema", TITLE, SOURCE) == {"title"}
    assert leaks.signs_of_source("HPI: cough from empyema", TITLE, SOURCE.replace("cough and", "empyema and")) == set()


def test_a_passage_that_only_the_later_part_has_is_found() -> None:
    note = "HPI: A week of cough and fever.\nchest tube drained\ntwo litres of pus"
    assert leaks.signs_of_source(note, TITLE, SOURCE) == {"passage"}


def test_medications_on_admission_from_the_later_part_are_no_leak() -> None:
    source = SOURCE.replace("KEPTdrug", "aspirin 81 mg tablet once daily by mouth")
    note = sections.render(sections.extract(source))
    assert "by mouth" in note
    assert leaks.signs_of_source(note, TITLE, source) == set()


def test_correctly_cut_notes_share_nothing_with_the_later_part_only() -> None:
    notes = [(sections.render(sections.extract(text)), text) for _, text in shapes()]
    assert [note for note, text in notes if leaks.signs_of_source(note, TITLE, text)] == []


def test_a_source_without_a_later_part_shows_nothing() -> None:
    assert leaks.signs_of_source("HPI: empyema", TITLE, "HPI: ill") == set()
