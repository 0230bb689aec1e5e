import pytest

from deepicd.errors import UserError
from deepicd.rewards import Sample, make_scorer
from deepicd.rewards import presets as module
from deepicd.spec.reward import PRESETS, PresetName, RewardSpec

NOTE = (
    "Chief complaint: back pain. The man lifted a heavy pallet and now limps; his left foot is numb, the extensor "
    "hallucis is weak, the straight leg raise is positive, and MRI shows an extrusion."
)
TRACE = "Weak extensor hallucis, a numb foot, positive leg raise and the extrusion on MRI fit a compressed nerve."


def completion(code: str) -> str:
    return f"{TRACE}</think>\n<diagnosis>{code}</diagnosis>"


def test_the_deepicd_preset_weighs_its_four_terms() -> None:
    score = make_scorer(RewardSpec(), opened_think=True)([Sample(completion("M5117"), "M5116", NOTE)])[0]
    assert score.terms == {"outcome": 0.0, "format": 1.0, "hierarchy": 0.75, "reasoning": 1.0}
    assert score.value == pytest.approx(0.1 + 0.3 * 0.75 + 0.1)


def test_a_perfect_completion_scores_the_sum_of_the_weights() -> None:
    assert make_scorer(RewardSpec(), opened_think=True)([Sample(completion("M51.16"), "M5116", NOTE)])[0].value == 1


def test_weights_are_those_of_the_spec() -> None:
    only = RewardSpec(weights={"outcome": 0, "format": 0, "hierarchy": 2, "reasoning": 0})
    assert make_scorer(only, opened_think=True)([Sample(completion("M51"), "M5116")])[0].value == 1.0


def test_the_prompts_opened_think_is_used() -> None:
    score = make_scorer(RewardSpec(), opened_think=False)([Sample(completion("M5116"), "M5116", NOTE)])[0]
    assert score.terms["format"] < 1
    assert score.terms["reasoning"] == 0


def test_truncation_is_used() -> None:
    sample = Sample(completion("M5116"), "M5116", NOTE, truncated=True)
    assert make_scorer(RewardSpec(), opened_think=True)([sample])[0].terms["format"] < 1


@pytest.mark.parametrize("preset", PRESETS)
def test_every_score_has_the_presets_terms_and_is_in_its_range(preset: PresetName) -> None:
    texts = ["", "x", completion("M5116"), completion("M51169"), completion("?"), completion("M51") * 2, "**M51.16**"]
    samples = [Sample(text, "M5116", note) for text in texts for note in (NOTE, None)]
    scores = make_scorer(RewardSpec(preset=preset), opened_think=True)(samples)
    least, most = PRESETS[preset].range
    assert {tuple(score.terms) for score in scores} == {tuple(PRESETS[preset].weights)}
    assert all(least <= score.value <= most for score in scores)


def test_the_deepicd_r1_preset_is_the_released_formula() -> None:
    scorer = make_scorer(RewardSpec(preset="deepicd-r1"), opened_think=True)
    assert [score.value for score in scorer([Sample(completion("M5116"), "M5116"), Sample("", "M5116")])] == [76, -6]


NONSENSE = [
    "",
    "M51.16",
    f"{TRACE}</think>\nM51.16",
    *map(completion, ["", "back pain", "Q99.ZZZ", "ZZ9.99", "****", "M51.16, M51.17, M51.15, M51.14", "02703DZ", "722.10"]),
]
DECORATED = ["**M51.16**", "`M5116`", "ICD-10: M51.16", "Disc with radiculopathy (M51.16)", "M51,16", "M51.16*", "M5.116"]


@pytest.mark.parametrize("preset", ["deepicd", "strict"])
@pytest.mark.parametrize("answer", DECORATED)
def test_a_decorated_right_code_earns_less_than_a_clean_one_and_more_than_nonsense(preset: PresetName, answer: str) -> None:
    texts = [completion("M51.16"), completion(answer), *NONSENSE]
    scores = make_scorer(RewardSpec(preset=preset), opened_think=True)([Sample(text, "M5116", NOTE) for text in texts])
    clean, decorated, *nonsense = (score.value for score in scores)
    assert clean > decorated > max(nonsense)


def test_nonsense_earns_nothing() -> None:
    scores = make_scorer(RewardSpec(), opened_think=True)([Sample(text, "M5116", NOTE) for text in NONSENSE])
    assert {score.value for score in scores} == {0}


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("M5116", 76),
        ("M51.16", 76),
        ("M51.169", 61),
        ("M51.17", 43),
        ("M51", 25),
        ("M54.16", 7),
        ("M5.116", 76),
        ("**M51.16**", 0),
        ("`M5116`", 0),
        ("ICD-10: M51.16", 0),
        ("M51.16, M51.17", 0),
        ("back pain", 0),
    ],
)
def test_the_released_formula_reads_completions_as_it_was_released(answer: str, value: float) -> None:
    scorer = make_scorer(RewardSpec(preset="deepicd-r1"), opened_think=True)
    assert scorer([Sample(completion(answer), "M5116")])[0].value == value


def test_a_local_gold_code_has_the_form_of_an_answer() -> None:
    sample = Sample(completion("ZZ9.99"), "ZZ999", NOTE, local_gold=True)
    assert make_scorer(RewardSpec(), opened_think=True)([sample])[0].value == 0.9
    assert make_scorer(RewardSpec(preset="strict"), opened_think=True)([sample])[0].value == 2


def test_the_405_codes_that_the_released_pattern_refuses_are_paid_in_full() -> None:
    assert make_scorer(RewardSpec(), opened_think=True)([Sample(completion("m1a.00x0"), "M1A00X0")])[0].value == 0.9


@pytest.mark.parametrize("preset", ["deepicd", "deepicd-r1"])
def test_the_gold_code_is_normalised(preset: str) -> None:
    scorer = make_scorer(RewardSpec.model_validate({"preset": preset}), opened_think=True)
    dotted, plain = scorer([Sample(completion("M5116"), gold) for gold in (" m51.16", "M5116")])
    assert dotted == plain


@pytest.mark.parametrize(("preset", "gold"), [("deepicd", "M51169"), ("deepicd", ""), ("deepicd-r1", " ")])
def test_a_gold_code_that_cannot_be_scored_is_the_users_error_and_not_quoted(preset: str, gold: str) -> None:
    with pytest.raises(UserError, match=r"^gold: ") as error:
        make_scorer(RewardSpec.model_validate({"preset": preset}), opened_think=True)([Sample("x", gold)])
    assert "M51169" not in str(error.value)


def test_an_error_of_a_term_is_raised_not_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(code: str | None, gold: str) -> float:
        raise ZeroDivisionError

    monkeypatch.setattr(module, "hierarchy", broken)
    with pytest.raises(ZeroDivisionError):
        make_scorer(RewardSpec(), opened_think=True)([Sample(completion("M5116"), "M5116")])
