"""The term's values for honest traces and for ways to earn it without reasoning."""

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepicd import icd10
from deepicd.rewards import Sample, make_scorer
from deepicd.rewards.cohort_words import CohortWords, count
from deepicd.rewards.reasoning import Claim, Reasoning, in_english, reasoning
from deepicd.spec.reward import RewardSpec
from tests.unit.rewards.trace_cases import CASES, CHEATS, FILLER, LATER_CASES, Case, real_word, sentences_of, shuffled

TEXTS = Path(__file__).parent / "texts"
NOTE = (TEXTS / "note.txt").read_text()
SHORT = (TEXTS / "honest_short.txt").read_text()
LONG = (TEXTS / "honest_long.txt").read_text()
BACK = Case("M5116", NOTE, (SHORT, LONG), "")
ALL = (*CASES, *LATER_CASES, BACK)
MARGIN = 0.015  # of the whole reward; the term's weight is 0.1

# A short trace that is shuffled may by chance have no pair of words that betrays it; see the test of the mean below.
ONLY_ON_AVERAGE = {"an honest trace shuffled"}


def claim(trace: str | None, case: Case = BACK) -> Claim:
    return Claim(trace, case.note, case.code, case.title)


def parts(trace: str, case: Case = BACK) -> Reasoning:
    return reasoning([claim(trace, case)])[0]


def value(trace: str, case: Case = BACK) -> float:
    return parts(trace, case).value


def _cohort() -> CohortWords:
    """Of 400 notes, each made of sentences of the cases' notes."""
    rng = random.Random(0)
    sentences = [sentence for case in ALL for sentence in sentences_of(case)]
    return count((patient, "\n".join(rng.sample(sentences, 14))) for patient in range(400))


COHORTS = {"the shipped rarity": None, "the cohort's rarity": _cohort()}


def rewards(case: Case, traces: list[str], cohort: CohortWords | None = None) -> list[float]:
    score = make_scorer(RewardSpec(), opened_think=True, cohort=cohort)
    completions = [f"{trace}</think>\n<diagnosis>{case.code}</diagnosis>" for trace in traces]
    return [scored.value for scored in score([Sample(completion, case.code, case.note) for completion in completions])]


@pytest.mark.parametrize("cohort", COHORTS.values(), ids=COHORTS)
@pytest.mark.parametrize("case", ALL, ids=lambda case: case.code)
def test_every_honest_trace_beats_every_cheat_in_the_whole_reward(case: Case, cohort: CohortWords | None) -> None:
    least = min(rewards(case, list(case.honest), cohort))
    names = [name for name in CHEATS if name not in ONLY_ON_AVERAGE]
    cheats = dict(zip(names, rewards(case, [CHEATS[name](case) for name in names], cohort), strict=True))
    assert {name: paid for name, paid in cheats.items() if paid > least - MARGIN} == {}


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.code)
def test_honest_traces_are_paid_whether_in_sentences_or_in_shorthand(case: Case) -> None:
    assert [value(trace, case) >= 0.5 for trace in case.honest] == [True] * len(case.honest)


@pytest.mark.parametrize("trace", [SHORT, LONG], ids=["60 words", "1,000 tokens"])
def test_a_trace_in_sentences_scores_high_whatever_its_length(trace: str) -> None:
    assert value(trace) > 0.9


def test_honest_traces_lose_most_when_their_words_are_shuffled() -> None:
    values = [
        value(" ".join(random.Random(seed).sample(trace.split(), len(trace.split()))), case)
        for case in ALL
        for trace in case.honest[::2]
        for seed in range(5)
    ]
    assert sum(values) / len(values) < 0.15


def test_a_trace_of_the_quickstart_is_paid_in_part() -> None:
    trace = (
        "Presents with low back pain; note shows left foot numbness, steppage gait, positive straight leg raise. "
        f"This fits {BACK.title}."
    )
    assert 0.3 <= value(trace) <= 0.7  # grounded, but with hardly a word of its own


def test_shorthand_counts_as_what_it_stands_for() -> None:
    case = Case("J189", "Complaint: SOB with the cough of a week and rusty sputum. The R base is dull.", (), "")
    spelled = "Shortness of breath and rusty sputum with a dull right base, so a lobar focus without an embolus is plausible."
    short = "SOB and rusty sputum with a dull R base, so a lobar focus without an embolus is plausible."
    assert parts(spelled, case) == parts(short, case)
    assert value(short, case) > 0.9


@pytest.mark.parametrize(
    ("part", "trace"),
    [
        ("grounded", CASES[1].honest[0]),
        ("grounded", FILLER),
        ("together", "hallucis tibialis steppage bladder prednisone warehouse"),
        ("own", max(NOTE.split("\n"), key=len)),
        ("own", " ".join(real_word(place) if place % 4 == 0 else word for place, word in enumerate(NOTE.split()))),
        ("own", " ".join(f"{word} blixt" for word in NOTE.split()[:60])),
        ("uncopied", NOTE),
        ("uncopied", " ".join(real_word(place) if place % 4 == 0 else word for place, word in enumerate(NOTE.split()))),
        ("fresh", SHORT * 2),
        ("prose", "steppage gait, hallucis weakness, paracentral extrusion, web space numbness, positive raise, lumbago"),
        ("prose", shuffled(LONG)),
        (
            "prose",
            "gait of the hallucis of the extrusion of the numbness of the lumbago of the pallet of the raise of the foot",
        ),
        ("prose", "Der Fuß ist taub und der Großzehenheber schwach, das spricht für die Wurzel L5 in der Lendenwirbelsäule."),
    ],
)
def test_each_part_is_lost_by_what_it_guards_against(part: str, trace: str) -> None:
    assert getattr(parts(trace), part) < 0.1
    assert getattr(parts(LONG), part) > 0.9


@pytest.mark.parametrize("number", [0, 1])
def test_neither_title_nor_code_is_looked_for(number: int) -> None:
    trace = BACK.honest[number]
    before = value(trace)
    assert value(f"{trace} M51.16") == value(f"{trace} M5116") == value(f"{trace}\nM51.16.") == before
    assert value(f"{trace} It is {BACK.title}.") <= before + 0.02


def test_an_honest_trace_with_the_note_attached_is_not_paid() -> None:
    assert value(f"{SHORT} {NOTE}") < 0.05


@pytest.mark.parametrize("language", [0, 1, 2], ids=["German", "Spanish", "French"])
def test_a_trace_in_another_language_than_its_note_scores_0(language: int) -> None:
    assert value(CASES[language].foreign, CASES[language]) == 0


def test_where_the_note_is_not_in_english_the_term_is_0_for_every_trace() -> None:
    foreign = Case("I214", CASES[0].foreign, (), "")
    assert value(CASES[0].foreign, foreign) == value(CASES[0].honest[0], foreign) == 0


def test_notes_in_english_are_recognised() -> None:
    english = [case.note for case in ALL]
    others = [case.foreign for case in (*CASES, *LATER_CASES)]
    assert in_english(english) == [True] * len(english)
    assert in_english([*others, "", "患者有胸痛。", "Пациент жалуется на боль"]) == [False] * (len(others) + 3)


@pytest.mark.parametrize(
    "unmeasurable",
    [claim(None), Claim(SHORT, None, "M5116", BACK.title), Claim(SHORT, NOTE, None, None), claim(""), claim("M51")],
    ids=["no trace", "no note", "no answer", "an empty trace", "one word"],
)
def test_what_cannot_be_measured_is_not_paid(unmeasurable: Claim) -> None:
    assert reasoning([unmeasurable])[0].value == 0


def test_words_that_the_cohort_has_everywhere_ground_little() -> None:
    trace = "Rusty sputum with crackles and pleuritic pain fits pneumonia."
    case = Case("J189", "He has rusty sputum, crackles and pleuritic pain.", (), "")
    everywhere = CohortWords(100, 100, dict.fromkeys({word[:6].lower() for word in re.findall("[A-Za-z]+", trace)}, 100))
    assert reasoning([claim(trace, case)], everywhere.rarity)[0].grounded < 0.2 < parts(trace, case).grounded


def test_the_next_trace_of_a_batch_does_not_count_as_the_end_of_a_copy() -> None:
    first, second = claim("rusty sputum so pneumonia", CASES[1]), claim("cough and rusty sputum", CASES[1])
    assert reasoning([first, second]) == [reasoning([alone])[0] for alone in (first, second)]


def test_an_empty_note_grounds_nothing() -> None:
    assert reasoning([Claim(SHORT, "", "M5116", BACK.title)])[0].value == 0


def test_an_answer_that_is_not_in_the_table_is_not_paid() -> None:
    assert reasoning([Claim(SHORT, NOTE, "M51169", None)])[0].value == 0


def test_a_score_does_not_depend_on_the_batch() -> None:
    claims = [claim(make(case), case) for case in ALL for make in CHEATS.values()]
    claims += [claim(trace, case) for case in ALL for trace in case.honest]
    assert reasoning(claims) == [reasoning([alone])[0] for alone in claims]


def test_no_claims_no_scores() -> None:
    assert reasoning([]) == []


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "trace", ["a" * 1_000_000, "a " * 500_000, " " * 1_000_000, "\ud800" * 1_000_000, "\0" * 9, "." * 9, "a.b" * 9]
)
def test_hostile_traces_are_not_paid(trace: str) -> None:
    assert value(f"{trace} {BACK.title}") == 0


PIECES = sorted(
    {word for case in ALL for text in (case.note, *case.honest) for word in text.split()} | {".", "\n", "é", "the", "12.5"}
)
TRACES: st.SearchStrategy[str] = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=60).map(" ".join),
    st.text(max_size=200),
    st.sampled_from([trace for case in ALL for trace in case.honest]),
)
CODES = st.sampled_from(icd10.billable_codes())


def dotted(code: str) -> str:
    return icd10.display(code)


@settings(max_examples=150, deadline=None)
@given(TRACES, TRACES)
def test_every_part_is_in_the_unit_interval_and_reproducible(trace: str, note: str) -> None:
    first, again = (reasoning([Claim(trace, note, "M5116", BACK.title)])[0] for _ in range(2))
    assert first == again
    for part in ("grounded", "together", "own", "uncopied", "fresh", "prose", "value"):
        assert 0 <= getattr(first, part) <= 1


@settings(max_examples=100, deadline=None)
@given(TRACES, CODES, st.sampled_from([dotted, str, str.lower]), st.sampled_from([" ", "\n", ". ", ", "]))
def test_appending_a_code_changes_nothing(trace: str, code: str, form: Callable[[str], str], gap: str) -> None:
    assert parts(f"{trace}{gap}{form(code)}.") == parts(trace)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ALL), st.randoms(use_true_random=False), st.integers(0, 1))
def test_the_order_of_the_notes_sentences_does_not_matter(case: Case, rng: random.Random, number: int) -> None:
    sentences = [one for line in case.note.split("\n") for one in line.split(". ")]
    mixed = ".\n".join(rng.sample(sentences, len(sentences)))
    trace = case.honest[number]
    assert reasoning([Claim(trace, mixed, case.code, case.title)])[0] == parts(trace, case)
