"""Words that ground nothing: those that hold any English sentence together, and those that every admission note has.

Words that draw a conclusion (because, likely, suggests) are no such words: a trace's own words are what it adds.
"""

_ENGLISH = """
about above after again all almost also always among and another any are around been before being below between both
but can cannot could did does doing done down during each either else even ever every few first for from further get
given gives had has have having her here hers him his how into its itself just know known last least less let like
made make makes many may mean means might more most much must near need neither never next non nor not nothing now off
often once one only onto other others our out over own per quite really same second see seem seems seen several shall
she should shown shows since some still such take taken than that the their them then there these they thing think
this those three through too toward two under until upon use used using very was way well were what when where whether
which while who whom whose why will with within without would yes yet you your
"""

_NOTES = """
admission admitted allergies allergy answer assessment category chief code codes complain complains complaint
complaints day days denies diagnoses diagnosis diagnostic exam examination examined family finding findings history
hospital icd icd10 illness medical medication medications note noted old past patient patients pertinent physical
present presented presenting presents principal prior reason reasoning reported reports section social states symptom
symptoms unspecified year years
"""

GENERIC_WORDS = frozenset(_ENGLISH.split()) | frozenset(_NOTES.split())
