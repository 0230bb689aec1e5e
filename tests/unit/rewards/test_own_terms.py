import math
import traceback
from hashlib import sha256
from pathlib import Path

import pytest

from deepicd.errors import UserError
from deepicd.rewards import Sample, make_scorer
from deepicd.rewards.own_terms import OwnTerms, digests
from deepicd.spec.reward import PRESETS, OwnTerm, PresetName, RewardSpec

MODULE = """
import math
import numpy as np

def brief(completions, golds, notes):
    return [1 / len(text) for text in completions]

def same_note(completions, golds, notes):
    return np.array([float("nan") if note is None else float(gold in note) for gold, note in zip(golds, notes)])

def one_short(completions, golds, notes):
    return [0.0] * (len(completions) - 1)

def words(completions, golds, notes):
    return ["much"] * len(completions)

def endless(completions, golds, notes):
    return [math.inf] * len(completions)

def broken(completions, golds, notes):
    raise KeyError(notes[1])

def broken_midway(completions, golds, notes):
    yield 1.0
    raise KeyError(notes[1])

def nothing_returned(completions, golds, notes):
    pass

def one_number(completions, golds, notes):
    return 1.0

def rows(completions, golds, notes):
    return np.zeros((len(completions), 2))

def too_large(completions, golds, notes):
    return [10**400] * len(completions)

LIST = []
"""
SAMPLES = [Sample("x</think>\n<diagnosis>M51.16</diagnosis>", " m51.16"), Sample("", "M5116", "M5116 it is")]


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "terms_of_a_test.py").write_text(MODULE)
    (tmp_path / "broken_terms_of_a_test.py").write_text("1 / 0")
    (tmp_path / "lines_of_a_test.py").write_text("raise ValueError('one\\nand more')")
    (tmp_path / "leaves_of_a_test.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(str(tmp_path))


def reward(function: str, **fields: object) -> RewardSpec:
    return RewardSpec.model_validate({"terms": {"mine": {"path": f"terms_of_a_test:{function}"}}, **fields})


@pytest.mark.parametrize("preset", PRESETS)
def test_a_users_term_adds_to_any_preset(preset: PresetName) -> None:
    plain = make_scorer(RewardSpec(preset=preset), opened_think=True)(SAMPLES)
    own = make_scorer(reward("same_note", preset=preset, weights={"mine": 3}), opened_think=True)(SAMPLES)
    assert [tuple(score.terms) for score in own] == [(*PRESETS[preset].weights, "mine")] * 2
    assert [score.value for score in own] == [plain[0].value, plain[1].value + 3]
    assert math.isnan(own[0].terms["mine"])  # missing: there is no note


def test_a_users_term_weighs_1_by_default() -> None:
    scorer = make_scorer(reward("brief", preset="deepicd-r1"), opened_think=True)
    assert scorer([Sample("four", "M5116")])[0].value == -1 + 0.25


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("one_short", "reward.terms.mine: gave 1 values for 2 completions: give one each"),
        ("words", "reward.terms.mine: gave a value that is not a finite number"),
        ("endless", "reward.terms.mine: gave a value that is not a finite number"),
        ("too_large", "reward.terms.mine: gave a value that is not a finite number"),
        ("rows", "reward.terms.mine: gave a value that is not a finite number"),
        ("nothing_returned", "reward.terms.mine: returned a NoneType, not a list"),
        ("one_number", "reward.terms.mine: returned a float, not a list"),
    ],
)
def test_anything_but_a_list_of_numbers_stops_the_scoring(function: str, says: str) -> None:
    with pytest.raises(UserError) as error:
        make_scorer(reward(function), opened_think=True)(SAMPLES)
    assert says in str(error.value)


@pytest.mark.parametrize("function", ["broken", "broken_midway"])
def test_what_the_function_raises_is_named_without_its_text(function: str) -> None:
    with pytest.raises(UserError) as error:
        make_scorer(reward(function), opened_think=True)(SAMPLES)
    assert "reward.terms.mine: raised KeyError at " in str(error.value)
    assert "terms_of_a_test.py:" in str(error.value)
    assert "M5116" not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("no_such_module:f", "reward.terms.mine.path: no module no_such_module: install it where the run trains"),
        ("terms_of_a_test:nothing", "reward.terms.mine.path: terms_of_a_test has no function nothing: name one that it has"),
        ("terms_of_a_test:LIST", "reward.terms.mine.path: terms_of_a_test has no function LIST"),
        ("broken_terms_of_a_test:f", "reward.terms.mine.path: importing broken_terms_of_a_test raised ZeroDivisionError"),
        ("lines_of_a_test:f", "reward.terms.mine.path: importing lines_of_a_test raised ValueError: one and more: correct"),
        ("leaves_of_a_test:f", "reward.terms.mine.path: importing leaves_of_a_test raised SystemExit: 3: correct"),
    ],
)
def test_a_function_that_cannot_be_imported_is_named(path: str, says: str) -> None:
    with pytest.raises(UserError) as error:
        make_scorer(RewardSpec.model_validate({"terms": {"mine": {"path": path}}}), opened_think=True)
    assert says in str(error.value)


def test_numbers_of_numpy_are_numbers() -> None:
    score = make_scorer(reward("same_note"), opened_think=True)([SAMPLES[1]])[0]
    assert score.terms["mine"] == 1
    assert type(score.terms["mine"]) is float


FILE = """
from dataclasses import dataclass

@dataclass
class Length:
    of: int

def brief(samples):
    return [1 / Length(1 + len(sample.completion)).of for sample in samples]

def golds(samples):
    return [float(sample.gold == "M5116" and not sample.truncated) for sample in samples]

def above(samples):
    return [1.5 for _ in samples]

def missing(samples):
    return [float("nan")] * len(samples)

def broken(samples):
    raise KeyError(samples[0].note)

def leaves(samples):
    raise SystemExit(samples[0].note)

def endless(samples):
    while True:
        yield 0.5

def one_array(samples):
    import numpy
    return numpy.array(0.5)

def by_name(samples):
    return {sample.completion: 0.5 for sample in samples}

def unordered(samples):
    return {0.25, 0.5}

def emptying(samples):
    found = [0.5 for _ in samples]
    samples.clear()
    return found

def talking(samples):
    import logging, sys, warnings
    print(samples[0].note)
    sys.stderr.write(samples[0].note)
    logging.getLogger("mine").error(samples[0].note)
    warnings.warn(samples[0].note)
    return [0.5 for _ in samples]
"""


def of_file(tmp_path: Path, function: str, name: str = "terms.py") -> RewardSpec:
    (tmp_path / "terms.py").write_text(FILE)
    return RewardSpec.model_validate({"terms": {"mine": {"file": str(tmp_path / name), "function": function}}})


def test_a_function_of_a_file_gets_samples_with_normalised_codes(tmp_path: Path) -> None:
    found = make_scorer(of_file(tmp_path, "golds"), opened_think=True)(
        [Sample("", " m51.16"), Sample("", "M5116", truncated=True)]
    )
    assert [score.terms["mine"] for score in found] == [1, 0]


def test_a_file_that_changes_is_imported_again(tmp_path: Path) -> None:
    first = make_scorer(of_file(tmp_path, "brief"), opened_think=True)([Sample("abc", "M5116")])[0].terms["mine"]
    spec = of_file(tmp_path, "brief")
    (tmp_path / "terms.py").write_text("def brief(samples):\n    return [0.5] * len(samples)\n")
    assert (first, make_scorer(spec, opened_think=True)(SAMPLES)[0].terms["mine"]) == (0.25, 0.5)


def test_the_digest_of_a_file_is_that_of_its_content(tmp_path: Path) -> None:
    spec = of_file(tmp_path, "brief")
    assert digests(spec.terms or {}) == {"mine": sha256(FILE.encode()).hexdigest()}
    assert digests(reward("brief").terms or {}) == {}


@pytest.mark.parametrize(
    ("function", "name", "says"),
    [
        ("above", "terms.py", r"^reward\.terms\.mine: gave 1\.5: give numbers from 0 to 1, or NaN if one is missing$"),
        ("broken", "terms.py", r"^reward\.terms\.mine: raised KeyError at .*terms\.py:\d+: correct the function$"),
        ("nothing", "terms.py", r"^reward\.terms\.mine\.function: .*terms\.py has no function nothing: name one that it has$"),
        ("brief", "none.py", r"^reward\.terms\.mine\.file: .*none\.py: No such file or directory: give the Python file"),
    ],
)
def test_a_trial_finds_what_is_wrong_with_a_file(tmp_path: Path, function: str, name: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        OwnTerms(of_file(tmp_path, function, name).terms or {}).try_out()


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("leaves", r"raised SystemExit at .*terms\.py:\d+: correct the function$"),
        ("endless", r"gave more than 2 values for 2 completions: give one each$"),
        ("one_array", r"returned a ndarray, not a list"),
        ("by_name", r"returned a dict, not a list"),
        ("unordered", r"returned a set, not a list"),
    ],
)
def test_a_function_that_leaves_never_ends_or_gives_no_sequence_is_named(function: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"^reward\.terms\.mine: {says}"):
        make_scorer(of_file(tmp_path, function), opened_think=True)(SAMPLES)


def test_a_function_may_change_its_list_without_the_others_seeing_it(tmp_path: Path) -> None:
    term = of_file(tmp_path, "emptying").terms
    assert term is not None
    found = OwnTerms({"first": term["mine"], "second": term["mine"]})(SAMPLES, ["M5116", "M5116"])
    assert found == [{"first": 0.5, "second": 0.5}] * 2


def test_what_a_function_prints_is_in_no_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    term = of_file(tmp_path, "talking").terms
    OwnTerms(term or {})([Sample("", "M5116", "zebracanary")], ["M5116"])
    assert "zebracanary" not in "".join(capfd.readouterr())


def test_a_trial_accepts_missing_values_as_scoring_does(tmp_path: Path) -> None:
    terms = OwnTerms(of_file(tmp_path, "missing").terms or {})
    terms.try_out()
    assert all(math.isnan(found["mine"]) for found in terms(SAMPLES, ["M5116", "M5116"]))


def test_a_broken_file_is_named_and_imported_again_once_it_is_mended(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import no_such_module")
    term = {"mine": OwnTerm(file=str(tmp_path / "broken.py"), function="f")}
    with pytest.raises(UserError, match=r"^reward\.terms\.mine\.file: no module no_such_module: install it"):
        OwnTerms(term)
    (tmp_path / "broken.py").write_text("f = 1 / 0")
    with pytest.raises(UserError, match=r"^reward\.terms\.mine\.file: importing .*broken\.py raised ZeroDivisionError"):
        OwnTerms(term)
