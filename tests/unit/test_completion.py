import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepicd import icd10, prompt
from deepicd.completion import Completion, Fault, as_code, fault_of, parse
from deepicd.errors import UserError

MEGABYTE = 1_000_000

GOOD = "<diagnosis>M5116</diagnosis>"

CODES = st.sampled_from(icd10.billable_codes())

FRAGMENTS = st.lists(
    st.sampled_from(
        [
            "<think>",
            "</think>",
            "<diagnosis>",
            "</diagnosis>",
            "M5116",
            "m51.16",
            "M51",
            "G89.29",
            "**",
            ", ",
            "x",
            " ",
            "\n",
            "<",
            "</",
            "İ",
        ]
    ),
    max_size=14,
).map("".join)


@pytest.mark.parametrize(
    ("text", "trace", "code", "found"),
    [
        (f"x</think>\n{GOOD}", "x", "M5116", ()),
        (f"  x y \n</think>{GOOD}\n", "x y", "M5116", ()),
        (f"<think>x</think>{GOOD}", "x", "M5116", ()),
        ("x</think><diagnosis> m51.16 </diagnosis>", "x", "M5116", ()),
        ("x</think><diagnosis>c7a.010</diagnosis>", "x", "C7A010", ()),
        ("x</think><diagnosis>QA0.0101</diagnosis>", "x", "QA00101", ()),
        (f"a <think> b</think>{GOOD}", "a <think> b", "M5116", ()),
        (
            f"is it <diagnosis>G89</diagnosis>?</think>{GOOD}",
            "is it <diagnosis>G89</diagnosis>?",
            "M5116",
            (Fault.DIAGNOSIS_IN_TRACE,),
        ),
        (f"x</diagnosis></think>{GOOD}", "x</diagnosis>", "M5116", (Fault.DIAGNOSIS_IN_TRACE,)),
        (f"</think>{GOOD}", None, "M5116", (Fault.NO_TRACE,)),
        (f" \n</think>{GOOD}", None, "M5116", (Fault.NO_TRACE,)),
        (GOOD, None, "M5116", (Fault.NO_TRACE,)),
        (f"x {GOOD}", None, "M5116", (Fault.NO_TRACE,)),
        ("", None, None, (Fault.NO_TRACE, Fault.NO_DIAGNOSIS)),
        ("x", None, None, (Fault.NO_TRACE, Fault.NO_DIAGNOSIS)),
        ("x</think>", "x", None, (Fault.NO_DIAGNOSIS,)),
        ("x</think><diagnosis>M51", "x", None, (Fault.NO_DIAGNOSIS,)),
        ("x</think>M5116", "x", None, (Fault.NO_DIAGNOSIS, Fault.TEXT_OUTSIDE)),
        ("x</think>M5116</diagnosis>", "x", None, (Fault.NO_DIAGNOSIS, Fault.TEXT_OUTSIDE)),
        ("x</think><Diagnosis>M5116</Diagnosis>", "x", None, (Fault.NO_DIAGNOSIS, Fault.TEXT_OUTSIDE)),
        (f"{GOOD}x</think>", f"{GOOD}x", None, (Fault.NO_DIAGNOSIS, Fault.DIAGNOSIS_IN_TRACE)),
        (f"x</think>{GOOD}{GOOD}", "x", "M5116", (Fault.REPEATED_DIAGNOSIS,)),
        (f"x</think>{GOOD}\n<diagnosis> m51.16</diagnosis>", "x", "M5116", (Fault.REPEATED_DIAGNOSIS,)),
        (
            f"x</think>{GOOD}<diagnosis>`M51.16`</diagnosis>",
            "x",
            "M5116",
            (Fault.REPEATED_DIAGNOSIS, Fault.DECORATED),
        ),
        (f"x</think><diagnosis> </diagnosis>{GOOD}", "x", "M5116", (Fault.REPEATED_DIAGNOSIS,)),
        (f"x</think><diagnosis>disc</diagnosis>{GOOD}", "x", None, (Fault.SEVERAL_DIAGNOSES,)),
        ("x</think>" + "<diagnosis>disc</diagnosis>" * 2, "x", None, (Fault.NOT_A_CODE,)),
        (f"x</think>{GOOD}<diagnosis>M51.16, G89.29</diagnosis>", "x", None, (Fault.SEVERAL_DIAGNOSES,)),
        ("x</think><diagnosis>M51.16, G89.29</diagnosis>", "x", None, (Fault.SEVERAL_DIAGNOSES,)),
        ("x</think><diagnosis>M5116 or M5117</diagnosis>", "x", None, (Fault.SEVERAL_DIAGNOSES,)),
        ("x</think><diagnosis>M51.16, M51.16</diagnosis>", "x", "M5116", (Fault.DECORATED,)),
        ("x</think><diagnosis>Disc with radiculopathy (M51.16)</diagnosis>", "x", "M5116", (Fault.DECORATED,)),
        ("x</think><diagnosis>**M51.1**</diagnosis>", "x", "M511", (Fault.DECORATED, Fault.NOT_BILLABLE)),
        ("x</think><diagnosis>`M51.169`</diagnosis>", "x", "M51169", (Fault.DECORATED, Fault.UNKNOWN_CODE)),
        ("x</think><diagnosis>M5.116</diagnosis>", "x", "M5116", (Fault.DECORATED,)),
        ("x</think><diagnosis>M51.16.</diagnosis>", "x", "M5116", (Fault.DECORATED,)),
        ("x</think><diagnosis>M51\N{ZERO WIDTH SPACE}16</diagnosis>", "x", "M5116", (Fault.DECORATED,)),
        ("x</think><diagnosis>\N{NO-BREAK SPACE}M51.16\N{NO-BREAK SPACE}</diagnosis>", "x", "M5116", ()),
        (f"x</think>{GOOD}<diagnosis>G8929</diagnosis>", "x", None, (Fault.SEVERAL_DIAGNOSES,)),
        (f"x</think>y{GOOD}", "x", "M5116", (Fault.TEXT_OUTSIDE,)),
        (f"x</think>{GOOD}.", "x", "M5116", (Fault.TEXT_OUTSIDE,)),
        (f"x</think>y</think>{GOOD}", "x", "M5116", (Fault.TEXT_OUTSIDE,)),
        (f"x</think><diagnosis>{GOOD}", "x", "M5116", (Fault.TEXT_OUTSIDE,)),
        (f"x</think>{GOOD}<diagnosis>M5", "x", "M5116", (Fault.TEXT_OUTSIDE,)),
        ("x</think><diagnosis></diagnosis>", "x", None, (Fault.NOT_A_CODE,)),
        ("x</think><diagnosis>back pain</diagnosis>", "x", None, (Fault.NOT_A_CODE,)),
        ("x</think><diagnosis>М51.16</diagnosis>", "x", "M5116", (Fault.DECORATED,)),
        ("x</think><diagnosis>M51&#46;16</diagnosis>", "x", "M5116", (Fault.DECORATED,)),
        ("x</THINK><diagnosis>M51.16</diagnosis>", None, "M5116", (Fault.NO_TRACE,)),
        ("x</think><diagnosis>M51.16: disc</diagnosis>", "x", "M5116", (Fault.DECORATED,)),
        ("x</think><diagnosis>M51 16</diagnosis>", "x", "M5116", (Fault.DECORATED,)),
        ("x</think><diagnosis>M5116XXX</diagnosis>", "x", None, (Fault.NOT_A_CODE,)),
        ("x</think><diagnosis>a < b</diagnosis>", "x", None, (Fault.NOT_A_CODE,)),
        ("x</think><diagnosis>M51169</diagnosis>", "x", "M51169", (Fault.UNKNOWN_CODE,)),
        ("x</think><diagnosis>M98</diagnosis>", "x", "M98", (Fault.UNKNOWN_CODE,)),
        ("x</think><diagnosis>M51.1</diagnosis>", "x", "M511", (Fault.NOT_BILLABLE,)),
        ("y M51.1</think>", "y M51.1", None, (Fault.NO_DIAGNOSIS,)),
    ],
)
def test_after_an_opened_think(text: str, trace: str | None, code: str | None, found: tuple[Fault, ...]) -> None:
    assert parse(text, opened_think=True) == Completion(trace, code, found)


@pytest.mark.parametrize(
    ("text", "trace", "code", "found"),
    [
        (f"<think>x</think>{GOOD}", "x", "M5116", ()),
        (f"\n<think>x</think>\n\n{GOOD} ", "x", "M5116", ()),
        (f"x</think>{GOOD}", None, "M5116", (Fault.NO_TRACE, Fault.TEXT_OUTSIDE)),
        (f"Sure. <think>x</think>{GOOD}", "x", "M5116", (Fault.TEXT_OUTSIDE,)),
        (GOOD, None, "M5116", (Fault.NO_TRACE,)),
        (f"{GOOD}<think>x</think>", None, "M5116", (Fault.NO_TRACE, Fault.TEXT_OUTSIDE)),
        (f"<think>x {GOOD}", None, "M5116", (Fault.NO_TRACE,)),
        ("<think>x", None, None, (Fault.NO_TRACE, Fault.NO_DIAGNOSIS)),
        ("<think>x</think>", "x", None, (Fault.NO_DIAGNOSIS,)),
        ("<diag<think>x</think>nosis>M5116</diagnosis>", "x", None, (Fault.NO_DIAGNOSIS, Fault.TEXT_OUTSIDE)),
    ],
)
def test_without_an_opened_think(text: str, trace: str | None, code: str | None, found: tuple[Fault, ...]) -> None:
    assert parse(text, opened_think=False) == Completion(trace, code, found)


def test_a_completion_that_ran_into_its_limit_is_truncated_even_if_complete() -> None:
    assert parse(f"x</think>{GOOD}", opened_think=True, truncated=True) == Completion("x", "M5116", (Fault.TRUNCATED,))


@pytest.mark.parametrize(("answer", "well_formed"), [("M5116", True), ("M51169", True), ("M51", True), ("?", False)])
def test_the_form_is_right_whatever_the_code(answer: str, well_formed: bool) -> None:
    assert parse(f"x</think><diagnosis>{answer}</diagnosis>", opened_think=True).well_formed == well_formed


@pytest.mark.parametrize(
    "text", ["ı51", "ſ72", "M５1", "", "5116", "UNKNOWN", "MAA", "M5", "M5116\N{ZERO WIDTH SPACE}", "M51-16"]
)
def test_what_has_not_the_form_of_a_code(text: str) -> None:
    assert as_code(text) is None


HOSTILE = {
    "opened think tags": "<think>" * (MEGABYTE // 7),
    "closed think tags": "</think>" * (MEGABYTE // 8),
    "nested think tags": "<think>" * (MEGABYTE // 16) + "</think>" * (MEGABYTE // 16),
    "opened diagnosis tags": "x</think>" + "<diagnosis>" * (MEGABYTE // 11),
    "closed diagnosis tags": "x</think>" + "</diagnosis>" * (MEGABYTE // 12),
    "nested diagnosis tags": "</think>" + "<diagnosis>" * (MEGABYTE // 24) + "</diagnosis>" * (MEGABYTE // 24),
    "many diagnoses": "x</think>" + (GOOD + "<diagnosis>M5117</diagnosis>") * (MEGABYTE // len(GOOD) // 2),
    "many in words": "x</think>" + "<diagnosis>the M51.16</diagnosis><diagnosis>pain</diagnosis>" * (MEGABYTE // 60),
    "many in one": "x</think><diagnosis>" + "M51.16, M51.17 " * (MEGABYTE // 15) + "</diagnosis>",
    "invisible": "x</think><diagnosis>" + "M5\N{ZERO WIDTH SPACE}" * (MEGABYTE // 3) + "</diagnosis>",
    "one long answer": "x</think><diagnosis>" + "M" * MEGABYTE + "</diagnosis>",
    "an answer of dots": "x</think><diagnosis>" + "." * MEGABYTE + "</diagnosis>",
    "white space": " " * MEGABYTE,
    "white space in the answer": "x</think><diagnosis>" + " " * MEGABYTE + "</diagnosis>",
    "white space and tags": "\n <think> " * (MEGABYTE // 10),
    "line breaks and diagnoses": "\n<diagnosis>" * (MEGABYTE // 12),
    "half tags": "<diagnosis" * (MEGABYTE // 10),
    "angle brackets": "<" * MEGABYTE,
    "one unclosed trace": "x" * MEGABYTE,
    "alternating tags": "<think></think><diagnosis>" * (MEGABYTE // 26),
}


@pytest.mark.timeout(20)  # quadratic time would take minutes
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("opened_think", [True, False])
def test_a_megabyte_of_hostile_text_is_parsed_and_is_no_answer(text: str, opened_think: bool) -> None:
    completion = parse(text, opened_think=opened_think)
    assert not completion.well_formed
    assert completion.code is None


@given(FRAGMENTS, st.booleans(), st.booleans())
def test_any_text_gives_a_consistent_result(text: str, opened_think: bool, truncated: bool) -> None:
    completion = parse(text, opened_think=opened_think, truncated=truncated)
    found = completion.faults
    no_answer = {Fault.NO_DIAGNOSIS, Fault.SEVERAL_DIAGNOSES, Fault.NOT_A_CODE}
    assert (completion.trace is None) == (Fault.NO_TRACE in found)
    assert (completion.code is None) == bool(no_answer.intersection(found))
    assert len(no_answer.intersection(found)) <= 1
    assert list(found) == [fault for fault in Fault if fault in found]
    assert completion.trace is None or completion.trace in text


@given(st.text().filter(str.strip), st.sampled_from(["M5116", "C7A010", "M1A00X0", "A33"]))
def test_the_answer_that_is_taught_parses_to_itself(trace: str, code: str) -> None:
    if "</think>" in trace or trace.strip().startswith("<think>"):
        return
    completion = parse(prompt.answer(trace, code), opened_think=False)
    assert completion == Completion(trace.strip(), code, ())


@given(CODES, st.booleans(), st.booleans(), st.sampled_from(["", " ", "\n", "\t", "\N{NO-BREAK SPACE}"]))
def test_a_bare_code_is_never_decorated(code: str, dot: bool, lower: bool, space: str) -> None:
    shown = icd10.display(code) if dot else code
    answer = space + (shown.lower() if lower else shown) + space
    assert parse(f"x</think>\n<diagnosis>{answer}</diagnosis>", opened_think=True) == Completion("x", code, ())


@given(
    CODES,
    st.booleans(),
    st.sampled_from(["**{}**", '"{}"', "`{}`", "ICD-10: {}", '{{"code": "{}"}}', "{}.", "{}*", "Angina ({})", "{} angina"]),
)
def test_a_wrapped_code_is_read_and_decorated(code: str, dot: bool, wrapping: str) -> None:
    answer = wrapping.format(icd10.display(code) if dot else code)
    completion = parse(f"x</think>\n<diagnosis>{answer}</diagnosis>", opened_think=True)
    assert completion == Completion("x", code, (Fault.DECORATED,))
    assert not completion.well_formed


def test_a_local_code_is_known_where_it_is_given() -> None:
    text = "x</think><diagnosis>zz9.99</diagnosis>"
    assert parse(text, opened_think=True, local={"ZZ999"}) == Completion("x", "ZZ999", ())
    assert parse(text, opened_think=True, local={"ZZ998"}).faults == (Fault.UNKNOWN_CODE,)


@given(st.text())
def test_arbitrary_text_never_raises(text: str) -> None:
    for completion in (text, f"x</think><diagnosis>{text}</diagnosis>"):
        parsed = parse(completion, opened_think=True)
        assert parsed.code is not None or parsed.faults


@given(FRAGMENTS)
def test_an_opened_think_and_one_in_the_completion_are_the_same(text: str) -> None:
    if text.lstrip().startswith("<think>"):
        return
    assert parse(text, opened_think=True) == parse("<think>" + text, opened_think=False)


@pytest.mark.parametrize(
    ("code", "local", "fault"),
    [
        ("M5116", False, None),
        ("K859", False, None),
        ("T814XXA", False, None),
        ("M51", False, Fault.NOT_BILLABLE),
        ("M51", True, Fault.NOT_BILLABLE),
        ("ZZ999", False, Fault.UNKNOWN_CODE),
        ("ZZ999", True, None),
        ("NODX", True, Fault.UNKNOWN_CODE),
        ("zz999", True, Fault.UNKNOWN_CODE),
        ("", True, Fault.UNKNOWN_CODE),
    ],
)
def test_a_code_can_be_right_if_it_was_ever_billable_or_is_local(code: str, local: bool, fault: Fault | None) -> None:
    assert fault_of(code, local=local) is fault


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(UserError, match=r"^text: is a NoneType: give a str$"):
        parse(None)  # type: ignore[arg-type]
