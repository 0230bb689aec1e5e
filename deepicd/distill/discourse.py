"""Words that a writer uses to reason, which state no finding about a patient. Chosen by reading such texts.

They include the names of measurements, because the number shows whether a temperature is the note's.
"""

from __future__ import annotations

_WORDS = """
able absence absent accompanied account accounts add adding addition additional additionally address addresses adds adult
affect affected affects age aged aligns alone also alternate among amount analysis anatomical anatomy apart apparently appear
appeared appears applies apply approach area areas argument arise arises arising aside asked aspect aspects assess assessed
associated association attention available avoid aware bear bears become becomes bedside begin begins best better big body
bring brings broad broader brought build builds came candidate candidates cannot central certain certainly challenge change
changed changes check checked checks choice circumstance claim class classification clinical clinically close closely clue
clues cluster coherent combination combine combined combines come coming common commonly compare compared comparison competing
complete completely complex component components confidence confirm confirmed confirming confusing connect connected consider
considerations constellation constitutional contain contains context continue contribute contributes contributing contributory
core correlate could count counts course cover critical crucial current currently data deal decided decisive deeper define
defined definitive degree degrees depend depends describe described describes describing description detail detailed details
detect determine determined develop developed develops differ difference differentiate difficult direct directly discuss
dismiss dispute distinct distinction distinguish document documented documents domain dominant dominate doubt draw drawn driven
drives driving earlier early effect effects elderly element elements emerge emerges emphasis end ends enough entire entirely
entities entity episode essential establish established evaluate evaluated evaluation even event events everything evident
evolution evolve exact exactly exist existing exists explanation explanations explore extent external extra face fact factor
factors facts fail fails fairly familiar far fewer fill firmly focus focused focuses follow followed following follows form
forms forward found frame framework full fully function functional fundamental further furthermore gather gets global go goes
going gone great greater group grouped handle happen happened happens hard helpful helps here highlight highlights hold holds
idea identified identifies identify immediate important importantly incomplete indeed independent indicator indicators
individual initial initially inside integrate interest interesting interpret interpretation interpreted involve involved
involves involving isolated issue item items itself join judged judging justified keep keeping kept key kind land lands large
largely later lead leading learn least leave less let level levels lie lies limited line lines link linked links list listed
lists little local location logical long longer look looked looking looks lot main mainly major majority manner many map maps
match matched matches material matter matters maybe meaning meaningful measured measurement meet meets mention mentioned
mentions merely merit mind minor mismatch missing modest moment moreover mostly move moving much multiple name named names
narrow narrowed narrowing natural nature near necessarily needed needs next none nonspecific notable notably nothing notice now
number obvious obviously occur occurred occurring occurs offer offers often ongoing open opens opinion option options order
ordinary organ origin others outline outside overlap own pair paired parallel part partial particular particularly parts
pathological pathology pathway patterns percent perhaps person persons perspective phase pick picked pictures pieces place
placed places plain plainly play plays pointer pool possibilities possibility potential potentially practice preceding precise
precisely predominant prefer preferred presence primarily primary problem problems proceed process processes produce produces
prominent prompt prompts proper properly property propose protect provide provides pull purely put puts quality quickly quite
raised range rank ranked rapid rate rates reach readily reading readings real realistic really reassuring recall receive
received reconcile record recorded records reduce reduces refer refers refine region regional reject relate related relates
relation relationship relative relatively relevant reliable remain remaining remains remarkable remember report represents
require required requires resemble resembles resolve respect respond rest restricted returns reveal review role root run runs
satisfied saturation saturations scenario scope score search seek seems seldom self sense separate sequence series serious
serve set sets setting settings settled several shape share shared shift short simple simply since single site sites situation
slightly small sole solid solve someone sort sought sound source speak specifically specificity spectrum spite stage stand
stands start started starting starts stated statement stay stays stem stems still story straight strength strengthens stress
strong stronger strongest structural structure subset subtle subtype such sufficient sufficiently sum sure surprise synthesis
systematic systemic temperature temperatures tempo temporal tend tends term terms test tested text themselves theory thing
things think though thread tie ties tight timeline timing together told total touch trace track trail transferred true try
trying turn turns ultimate ultimately uncertain uncertainty unclear undercut underlying underscores understand understood
unexplained unique unit unless unrelated untouched usual usually valid value values variant variety various vary verify version
view viewed vitals want wanted wants way ways weaken weakens weighing weighs weight went whole wide widely win wins within
without wonder word words work working works world worth would writing written wrong
"""

DISCOURSE = frozenset(_WORDS.split())
