"""Words that say little about a patient: those of any text, and those of most admission notes.

They were chosen from the layout of admission notes and the usual items of examinations and reviews of systems, not by counting.
"""

_GENERIC = """
accordingly actually admission admitted ago allergies allergy answer anything appropriate assessment based basis
because believe call called careful carefully case category chief choose clearly code codes coding come comes conclude
conclusion confident consequently consider considered correct daily day days decide decision deduce derive description
determine diagnosed diagnoses diagnosis diagnostic different differential discharge eight ergo everything evidence exam
examination examined explain explained explains family female final find finding findings finds first five found four general
gentleman give given gives hereby history home hospital hour hours icd illness impression includes including infer inference
information input judgement judgment known lady last likely look made make makes male man mean means medical medication
medications men month months namely need new nine note noted notes old output overall past patient patients physical piece
plan point points possible present presentation presented presenting presents principal probable probably proceed
provided question reach reached read reason reasoning regarding reported reports result resulting review reviewed same say
says second section see seem seems seen select service seven show showed shown shows sign signs six social something specific
state states step steps suggest suggesting suggests summary sure symptom symptoms take taken tell tells ten therefore think
thinking third thorough thoroughly thought three time times today two unspecified use used using verdict week weeks weigh
woman women year years yesterday
"""

_COMMON = """
abdomen abdominal abnormal active acute afebrile air alcohol alert anemia anxiety apparent appetite arm arms aspirin atrial
bilateral bilaterally bleeding blood body bowel breath breathing breaths cardiac chest chills chronic clear cold comfortable
complains complaint complaints constipation cough coughing cranial daughter denied denies deny depression diabetes diarrhea
discomfort disease distended distress dizziness dyspnea ear edema emergency extremities eye eyes fatigue febrile fever fevers
fibrillation flat floor focal foot full gait gallop gallops good grossly hand head headache healthy heart heent high husband
hyperlipidemia hypertension increased infection intact intake issues joint labs left leg legs lightheaded limbs lisinopril
liver lives loss low lower lung lungs lying mass masses mellitus mild moderate moist monitor morning motor mouth mucosa mucous
murmur murmurs muscle nausea neck negative neuro neurologic night nondistended nontender normal nose obese obesity onset oral
organomegaly oxygen pain painful pale palpable palpitations peripheral place poor positive pressure prior problem problems
procedure pulse pulses pupils radial rales rash rate reactive recent regular relief respirations respiratory rhonchi rhythm
right room rubs sclera sensation severe shortness sick side sided sitting skin sleep smoker smoking soft son sounds spouse
stable standing stool stools strength surgery surgical sweats swelling swollen symmetric temperature tender tenderness throat
tobacco treated treatment upper urinary urine vision vital vitals vomiting walk walking warm weak weakness weight well wheeze
wheezes wheezing wife worse worsening
"""

_INFERENCE = """
abrupt absent account accounts adequate agree agrees alternative argue argues ascribe away background blame bred caused causes
chase climbs clot compatible concern confirm confirms consistent contrast convincing crucial culprit decide decides despite
doubt driven driver drop drowsy elderly establish exclude excluded excludes expect expected explanation fall fallen favor
favors favour favours feature features feel feels fell feverish fit fits fitting flared heavy hint hints however implies imply
improbable incidental inconsistent instead jumped kept leads leave leaves localise localises localize lost mechanism mimic
missed nearly neither odd older pale passed pattern picture plausible plus proof prove proven proves puts quick rather risen
rises rising rose rule ruled rules scan settle settles skipped slow sore source spared speaks specific strongly sudden support
supports suspect suspected suspicion though tired traveled travelled trigger triggered triggers trouble typical unlikely
whereas whole wide worrisome yet young
"""

GENERIC = frozenset(_GENERIC.split())
"""Words with no weight."""
COMMON = frozenset(_COMMON.split())
"""Words with little weight: a list of them fits any note."""
INFERENCE = frozenset(_INFERENCE.split())
"""Words of inference and everyday words of illness that no official title has. They count as English."""
