from __future__ import annotations

import pytest

from deepicd.spec.base import Field, SpecModel
from deepicd.spec.changes import Fixed, FixedField, Later, MayChange, decisive, fixed_fields
from deepicd.spec.reward import RewardSpec
from deepicd.spec.run import RunSpec


class Inner(SpecModel):
    rate: float = 1
    batch: MayChange[int] = 1


class Machine(SpecModel):
    memory: int = 1
    cards: Fixed[int] = 1


class Outer(SpecModel):
    seed: int = 1
    stage: Inner | None = None
    machine: MayChange[Machine] = Machine()
    logs: MayChange[dict[str, str]] = Field(default={})
    prompt: Later[str | None] = None
    answer: Later[Inner] = Inner()


def content(model: Outer) -> dict[str, object]:
    return model.model_dump(mode="json", by_alias=True)


def test_what_decides_the_result_is_all_but_what_may_change() -> None:
    run = Outer(stage=Inner(rate=2, batch=3), machine=Machine(memory=4, cards=5), logs={"a": "b"})
    assert decisive(Outer, content(run)) == {"seed": 1, "stage": {"rate": 2}, "machine": {"cards": 5}}


def test_a_later_field_at_its_default_makes_no_other_run() -> None:
    assert decisive(Outer, content(Outer())) == decisive(Outer, {"seed": 1, "stage": None, "machine": {"cards": 1}})
    assert decisive(Outer, content(Outer(prompt="x")))["prompt"] == "x"
    assert decisive(Outer, content(Outer(answer=Inner(rate=3))))["answer"] == {"rate": 3}


def test_a_later_field_that_an_earlier_version_recorded_as_null_is_at_its_default() -> None:
    assert decisive(Outer, {"seed": 1, "answer": None}) == decisive(Outer, {"seed": 1, "answer": content(Outer())["answer"]})


def test_a_part_of_the_content_and_names_unknown_to_the_model_stay() -> None:
    assert decisive(Outer, {"before": {"sft": "x"}, "stage": {"batch": 1, "rate": 2}}) == {
        "before": {"sft": "x"},
        "stage": {"rate": 2},
    }


def test_what_cannot_change_is_listed_with_the_sections_that_may_be_left_out() -> None:
    assert list(fixed_fields(Outer, "spec")) == [
        FixedField("spec.seed", optional=False),
        FixedField("spec.stage", optional=True, presence=True),
        FixedField("spec.stage.rate", optional=False, sections=("spec.stage",)),
        FixedField("spec.machine.cards", optional=False),
        FixedField("spec.prompt", optional=True),
        FixedField("spec.answer.rate", optional=False),
    ]


@pytest.mark.parametrize(
    "path", ["spec.seed", "spec.reward.weights", "spec.reward.judge", "spec.stages.grpo.rollouts", "spec.compute.nodes"]
)
def test_what_a_result_is_made_of_cannot_change(path: str) -> None:
    assert path in [field.path for field in fixed_fields(RunSpec, "spec")]


def test_a_later_field_of_models_by_name_is_left_out_at_its_default() -> None:
    terms = {"brief": {"path": "m:f"}, "path": {"path": "m:g"}}
    now = RewardSpec.model_validate({"terms": terms}).model_dump(mode="json", by_alias=True)
    assert decisive(RewardSpec, now)["terms"] == terms
    of_file = {"brief": {"file": "terms.py", "function": "f", "path": None}}
    now = RewardSpec.model_validate({"terms": of_file}).model_dump(mode="json", by_alias=True)
    assert decisive(RewardSpec, now)["terms"] == of_file
