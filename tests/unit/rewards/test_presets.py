import pytest

from deepicd.errors import UserError
from deepicd.rewards import Sample, make_scorer
from deepicd.rewards import presets as module
from deepicd.spec.reward import RewardSpec, RewardWeights

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
    only = RewardSpec(weights=RewardWeights(outcome=0, format=0, hierarchy=2, reasoning=0))
    assert make_scorer(only, opened_think=True)([Sample(completion("M51"), "M5116")])[0].value == 1.0


def test_the_prompts_opened_think_is_heeded() -> None:
    score = make_scorer(RewardSpec(), opened_think=False)([Sample(completion("M5116"), "M5116", NOTE)])[0]
    assert score.terms["format"] < 1
    assert score.terms["reasoning"] == 0


def test_truncation_is_heeded() -> None:
    sample = Sample(completion("M5116"), "M5116", NOTE, truncated=True)
    assert make_scorer(RewardSpec(), opened_think=True)([sample])[0].terms["format"] < 1


@pytest.mark.parametrize("preset", ["deepicd", "deepicd-r1"])
def test_every_score_has_the_same_terms_whatever_the_completion(preset: str) -> None:
    texts = ["", "x", completion("M5116"), completion("M51169"), completion("?"), completion("M51") * 2]
    samples = [Sample(text, "M5116", note) for text in texts for note in (NOTE, None)]
    scores = make_scorer(RewardSpec.model_validate({"preset": preset}), opened_think=True)(samples)
    assert len({tuple(score.terms) for score in scores}) == 1


def test_the_deepicd_r1_preset_is_the_released_formula() -> None:
    scorer = make_scorer(RewardSpec(preset="deepicd-r1"), opened_think=True)
    assert [score.value for score in scorer([Sample(completion("M5116"), "M5116"), Sample("", "M5116")])] == [76, -6]


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
