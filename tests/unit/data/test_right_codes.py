"""Cohort, reward, metrics and prediction give one answer to whether a code can be right."""

from __future__ import annotations

import json

import pytest

from deepicd import completion
from deepicd.errors import UserError
from deepicd.evaluation import external
from deepicd.evaluation.metrics import compute
from deepicd.rewards.lines import score_lines
from deepicd.spec.reward import RewardSpec
from tests.unit.data.conftest import Hospital

RIGHT = {
    "M5116": True,
    "M1A00X0": True,
    "K859": True,  # billable in FY2016 only, a header since
    "M545": True,
    "I482": True,
    "G20": True,
    "G35": True,
    "T814XXA": True,  # billable to FY2018, unknown since
    "U071": True,
    "M51": False,  # a header in every release
    "K85": False,
    "T814": False,
    "M51169": False,  # in no release
    "ZZ999": False,
}
LOCAL = {"LL1": True, "K8599": True, "NODX": False, "M54": False}
"""The same for codes that the hospital's own d_icd_diagnoses has."""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The principal codes of an extracted cohort that every code above was put into."""
    hospital = Hospital(tmp_path_factory.mktemp("hospital"))
    for number, code in enumerate({**RIGHT, **LOCAL}):
        hospital.admit(100 + number, 200 + number, codes=[(1, code, 10)])
    for code in LOCAL:
        hospital.title(code)
    hospital.write().extract()
    return {row["code"] for row in hospital.cohort_rows()}


def reward(code: str, preset: str, *, local: bool) -> bool:
    text = f"<think>x</think><diagnosis>{code}</diagnosis>"
    line = json.dumps({"id": 1, "completion": text, "gold": code, "local_gold": local}).encode()
    try:
        [scored] = score_lines([line], RewardSpec.model_validate({"preset": preset}), opened_think=True)
    except UserError:
        return False
    return preset == "deepicd-r1" or json.loads(scored)["terms"]["outcome"] == json.loads(scored)["terms"]["hierarchy"] == 1


def metrics(code: str, *, local: bool) -> bool:
    line = json.dumps({"id": 1, "subject_id": 1, "gold": code, "prediction": code, "local_gold": local}).encode()
    try:
        computed = compute(external.read([line]), bootstrap_samples=0)
    except UserError:
        return False
    levels = computed["levels"].values()
    return computed["rates"]["validCode"]["value"] == 1 and all(level["accuracy"]["value"] == 1 for level in levels)


@pytest.mark.parametrize(("code", "right"), RIGHT.items())
def test_the_commands_agree_on_a_code(code: str, right: bool, kept: set[str]) -> None:
    answers = {
        "cohort": code in kept,
        "reward": reward(code, "deepicd", local=False),
        "released reward": reward(code, "deepicd-r1", local=False),
        "metrics": metrics(code, local=False),
        "prediction": completion.parse(f"x</think><diagnosis>{code}</diagnosis>", opened_think=True).faults == (),
    }
    assert answers == dict.fromkeys(answers, right)


@pytest.mark.parametrize(("code", "right"), LOCAL.items())
def test_the_commands_agree_on_a_local_code(code: str, right: bool, kept: set[str]) -> None:
    answers = {
        "cohort": code in kept,
        "reward": reward(code, "deepicd", local=True),
        "released reward": reward(code, "deepicd-r1", local=True),
        "metrics": metrics(code, local=True),
    }
    assert answers == dict.fromkeys(answers, right)
