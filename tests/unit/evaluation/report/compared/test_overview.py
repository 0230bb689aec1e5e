"""The first screen: the verdict, and why runs may not be comparable."""

from __future__ import annotations

from dataclasses import replace

from deepicd.evaluation.report.compared import Run
from deepicd.evaluation.report.compared.overview import overview, warnings
from deepicd.evaluation.report.compared.verdict import verdict
from tests.unit.evaluation.report.compared.comparisons import of, run, two_runs
from tests.unit.evaluation.report.reports import answers, text_of


def test_the_verdict_names_the_best_model_what_it_beats_and_what_it_may_not() -> None:
    said = verdict(of({"a": answers(0.1, 1), "b": answers(0.9, 2), "c": answers(0.88, 3)}, samples=200))
    assert said.startswith("b has the highest category macro F1, ")
    assert "It is better than a beyond chance." in said
    assert "This test set cannot tell it from c." in said


def test_the_verdict_is_about_the_chosen_measure() -> None:
    models = {"a": answers(0.2, 1), "b": answers(0.9, 2)}
    assert "b has the highest reward, 0." in verdict(of(models, measure="reward"))


def test_without_samples_or_a_second_model_nothing_is_said_about_chance() -> None:
    assert "chance cannot be judged" in verdict(of({"a": answers(0.1, 1), "b": answers(0.9, 2)}, samples=0))
    assert verdict(of({"a": answers(0.5, 1)})).startswith("a has a category macro F1 of ")


def test_many_models_are_counted_not_listed() -> None:
    models = {f"m{number}": answers(0.1, number) for number in range(7)} | {"best": answers(1, 9)}
    assert "m0, m1, m2, m3 and 3 more beyond chance" in verdict(of(models, samples=200))


def test_each_run_has_its_facts_and_invented_data_their_banner() -> None:
    html = overview(two_runs())
    assert '<p class="banner">Synthetic data' in html
    text = text_of(html)
    assert "NVIDIA H200" in text
    assert "0.2.0" in text
    assert list(warnings(two_runs())) == []


def test_what_makes_runs_incomparable_is_named() -> None:
    found = replace(two_runs(), dropped={"seed-0/sft": 20})
    other = run("other", 0, versions={"deepicd": "0.1.0"})
    reasons = {"reward": ["seed-0 and other have different rewards (spec.reward.preset)"]}
    found = replace(found, runs=[found.runs[0], other, Run("bare", None)], incomparable=reasons)
    said = " ".join(warnings(found))
    assert "20 admissions of seed-0/sft are left out" in said
    assert "different versions of DeepICD (0.1.0, 0.2.0)" in said
    assert "Reward: not comparable: seed-0 and other have different rewards (spec.reward.preset)." in said
    assert "Settings of bare are not known" in said


def test_no_model_is_the_best_by_rewards_of_different_kinds() -> None:
    found = of({"a": answers(0.1, 1), "b": answers(0.9, 2)}, measure="reward")
    found = replace(found, incomparable={"reward": ["the reward of b is without its judge, which was not available"]})
    assert verdict(found).startswith("No model has the highest reward, which is not comparable: the reward of b is without")
