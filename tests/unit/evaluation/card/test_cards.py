"""README.md and tripod-llm.md of a trained model."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from deepicd.evaluation.card import write_cards
from deepicd.evaluation.card.model_card import model_card
from deepicd.evaluation.card.tripod import items, tripod_llm
from deepicd.evaluation.formatting import percent, with_interval
from deepicd.evaluation.metrics import compute
from deepicd.evaluation.report import Report
from deepicd.run_layout import CARDS, RunLayout
from deepicd.spec.load import dump, parse
from tests.unit.evaluation.report.reports import made_report
from tests.unit.spec.test_load import quickstart


@pytest.fixture(scope="module")
def report() -> Report:
    return replace(made_report(), run="quickstart", settings=dump(parse(quickstart(), "run.yaml")))


def test_the_hub_reads_the_card_back_unchanged(report: Report, tmp_path: Path) -> None:
    text = model_card(report, "grpo")
    path = tmp_path / "README.md"
    path.write_text(text, encoding="utf-8")
    read = ModelCard.load(path)
    assert str(read) == text
    assert read.data.tags == ["deepicd", "icd-10-cm", "clinical-coding", "research-use-only", "synthetic-data"]
    assert read.data.base_model is None


def test_the_results_for_machines_are_those_of_the_run(report: Report, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(model_card(report, "sft"), encoding="utf-8")
    results = {one.metric_name: one.metric_value for one in ModelCard.load(tmp_path / "README.md").data.eval_results or ()}
    value = report.metrics["sft"]["levels"]["category"]["macroF1"]["value"]
    assert value is not None
    assert results["Macro F1, category"] == pytest.approx(value, abs=1e-4)
    assert len(results) == 6


def test_a_model_of_the_hub_is_named_as_base_and_a_folder_is_not(report: Report, tmp_path: Path) -> None:
    content = quickstart()
    for path, named in (("org/model-7b", True), (str(tmp_path), False)):
        content["spec"]["model"] = {"path": path}
        card = model_card(replace(report, settings=content), "grpo")
        assert ("base_model: org/model-7b" in card) is named


def test_folders_stores_and_endpoints_are_in_no_card(report: Report) -> None:
    content = quickstart()
    content["spec"]["model"] = {"path": "/secret/place/my-model"}
    content["spec"]["storage"] = {"folder": "/secret/store"}
    content["spec"]["reward"] = {
        "weights": {"judge": 0.1},
        "judge": {
            "endpoint": "http://127.0.0.1:1/v1",
            "name": "a judge",
            "apiKey": {"env": "SECRET_KEY"},
            "second": {"endpoint": "http://127.0.0.1:2/v1", "name": "another", "apiKey": {"env": "SECRET_KEY"}},
        },
    }
    hidden = replace(report, settings=dump(parse(content, "run.yaml")))
    for text in (model_card(hidden, "grpo"), tripod_llm(hidden, "grpo")):
        assert "my-model, SFT then GRPO" in text
        for private in ("/secret", "127.0.0.1", "SECRET_KEY"):
            assert private not in text
    assert "| `spec.reward.judge.name` | a judge |" in model_card(hidden, "grpo")


def test_places_of_teachers_terms_and_other_models_are_in_no_card(report: Report) -> None:
    content = quickstart()
    content["spec"]["reward"] = {"terms": {"brevity": {"file": "/secret/terms.py", "function": "brevity"}}}
    content["spec"]["stages"]["distill"] = {"teacher": {"run": "/secret/runs/teacher"}, "samples": 2}
    content["spec"]["stages"]["evaluate"] = {
        "models": {"ours": {"path": "/secret/models/ours"}, "released": {"path": "DATEXIS/DeepICD-R1-7B"}},
        "encoder": {"path": "/secret/encoder"},
    }
    content["spec"]["stages"]["grpo"]["overrides"] = ["data.custom_cls.path=/secret/code/data.py"]
    card = model_card(replace(report, settings=dump(parse(content, "run.yaml"))), "grpo")
    assert "secret" not in card
    assert "| `spec.stages.distill.teacher.run` | teacher |" in card
    assert "| `spec.stages.distill.samples` | 2 | 4 |" in card
    assert "brevity: {file: terms.py, function: brevity}" in card
    assert "ours: {path: ours}, released: {path: DATEXIS/DeepICD-R1-7B}" in card
    assert "data.custom_cls.path=data.py" in card


def test_the_card_has_what_a_reader_must_know(report: Report) -> None:
    card = model_card(report, "grpo")
    for title in ("Intended use", "Out-of-scope use", "Data", "Training", "Results", "Fairness", "Limits", "Citation"):
        assert f"\n## {title}\n" in card
    assert "Research use only" in card
    assert "A convincing trace can be wrong" in card
    assert "Synthetic data" in card
    assert "\n\nNo group of patients was compared" in card
    assert with_interval(report.metrics["grpo"]["levels"]["code"]["macroF1"], percent) in card
    assert "| grpo − sft, paired |" in card
    assert "| `spec.stages.sft.maxSteps` |" in card
    assert "| outcome | 0.5 | 1 if the answer is the gold code, else 0. |" in card


def test_the_card_of_an_earlier_model_says_nothing_of_later_ones(report: Report) -> None:
    card = model_card(report, "sft")
    assert "| sft |" in card
    assert "| base |" in card
    assert "grpo |" not in card[card.index("## Results") :]


def test_what_was_evaluated_of_fairness_is_in_both_files(report: Report) -> None:
    fairness = {"sex": {"conclusion": "No gap can be seen.", "suppressed": ["other"], "groups": []}}
    metrics: Any = {
        name: {**own, "fairness": fairness, "absent": {"fairness.age": "no ages"}} for name, own in report.metrics.items()
    }
    judged = replace(report, metrics=metrics)
    assert "- **Sex.** No gap can be seen.\n" in model_card(judged, "grpo")
    assert "- Age: not computed: no ages." in model_card(judged, "grpo")
    assert "Sex: No gap can be seen." in tripod_llm(judged, "grpo")


def test_a_teacher_is_named_without_its_place(report: Report) -> None:
    counts = {"teacher": {"run": "/secret/runs/teacher"}, "oracle": True, "traces": 1200, "admissions": 2000}
    taught = replace(report, distill=counts)
    sentence = (
        "SFT learned from 1,200 reasoning traces that a language model (teacher) wrote about 2,000 training admissions, "
        "given the right code."
    )
    for text in (model_card(taught, "grpo"), tripod_llm(taught, "grpo")):
        assert sentence in text
        assert "secret" not in text
    assert "reasoning traces that" not in model_card(report, "grpo")


def test_the_statement_has_its_19_items_in_order_each_with_what_the_authors_add(report: Report) -> None:
    found = list(items(report, "grpo"))
    assert [item.number for item in found] == list(range(1, 20))
    assert all(item.missing for item in found)
    text = tripod_llm(report, "grpo")
    assert text.count("**Authors add:**") == 19
    assert text.count("The run knows nothing about this.") == 2
    assert "Test split: 80 admissions of 40 patients." in text


def test_the_items_have_the_topics_of_the_statement_and_the_letters_that_authors_add(report: Report) -> None:
    found = {item.number: item for item in items(report, "grpo")}
    assert [found[number].title for number in (5, 6, 7, 10, 11, 16, 18)] == [
        "Data", "Analytical methods", "LLM output", "Summarization", "Instruction tuning/alignment", "Participants",
        "LLM updating",
    ]  # fmt: skip
    for number, letters in {5: "abcde", 8: "abc", 9: "ab", 14: "abcdef", 16: "abcd", 19: "abcdefg"}.items():
        assert re.findall(r"\(([a-g])\)", found[number].missing) == list(letters)


def test_the_statement_names_what_the_model_was_compared_with(report: Report) -> None:
    output = next(item for item in items(report, "grpo") if item.number == 7)
    assert output.known[-1] == "On the same admissions: base, sft."


def test_the_prompt_of_the_run_is_in_the_statement(report: Report) -> None:
    prompting = next(item for item in items(report, "grpo") if item.title == "Prompting")
    assert any("{note}" in line for line in prompting.known)


def test_an_unreadable_run_yaml_still_makes_both_files() -> None:
    assert "## Results" in model_card(made_report(), "grpo")
    assert "deepicd.json of the model has the prompt." in tripod_llm(made_report(), "grpo")


def test_ids_of_admissions_and_patients_are_in_no_card(report: Report) -> None:
    records = [replace(one, id=f"CANARY{one.id}", subject_id=f"CANARY{one.subject_id}") for one in report.predictions["grpo"]]
    leaky = replace(report, predictions={**report.predictions, "grpo": records, "sft": records, "base": records})
    assert "CANARY" not in model_card(leaky, "grpo") + tripod_llm(leaky, "grpo")


def test_the_cards_are_in_each_trained_models_folder_and_among_the_results(report: Report, tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    for model in ("sft", "grpo"):
        layout.maker(model).model.mkdir(parents=True)
    written = write_cards(report, layout)
    assert {path.name for path in written} == set(CARDS)
    for model in ("sft", "grpo"):
        for name in CARDS:
            own = (layout.maker(model).model / name).read_text(encoding="utf-8")
            assert own == (layout.evaluation.cards / model / name).read_text(encoding="utf-8")
            assert json.dumps(model)[1:-1] in own
    assert not (layout.evaluation.cards / "base").exists()


def settings_of(changes: dict[str, Any]) -> str:
    content = quickstart()
    content["spec"] |= changes
    return dump(parse(content, "run.yaml"))


def test_places_of_other_models_files_and_teachers_are_in_no_card(report: Report) -> None:
    own = {"path": "/secret/site/other-model", "prompt": {"system": "In <think> and <diagnosis>.", "user": "{note}"}}
    settings = settings_of(
        {
            "reward": {"weights": {"brevity": 0.1}, "terms": {"brevity": {"file": "/secret/code/terms.py", "function": "f"}}},
            "stages": {
                "distill": {"teacher": {"endpoint": "http://127.0.0.1:9/v1", "name": "big", "apiKey": {"env": "SECRET_KEY"}}},
                "sft": {"overrides": ["trainer.default_local_dir=/secret/disk/x"]},
                "grpo": {},
                "evaluate": {"models": {"released": own}, "encoder": {"path": "/secret/site/bert"}},
            },
        }
    )
    hidden = replace(report, settings=settings)
    card = model_card(hidden, "grpo")
    for private in ("/secret", "site", "127.0.0.1", "SECRET_KEY"):
        assert private not in card + tripod_llm(hidden, "grpo")
    for public in ("other-model", "terms.py", "| `spec.stages.distill.teacher.name` | big |"):
        assert public in card


def test_a_card_says_to_whom_notes_were_sent_and_who_attested_it(report: Report) -> None:
    teacher = {"endpoint": "https://api.example.org/v1", "name": "big", "dataUse": "Data office:\nno retention | 2026-01"}
    settings = settings_of({"stages": {"distill": {"teacher": teacher}, "sft": {}, "grpo": {}, "evaluate": {}}})
    card = model_card(replace(report, settings=settings), "grpo")
    sentence = "Notes were sent to the teacher of its traces (big), under this attestation: Data office: no retention | 2026-01"
    assert sentence in card
    assert "attestation" not in model_card(report, "grpo")


def test_a_card_says_only_what_is_true_of_its_own_model(report: Report) -> None:
    sft, grpo = model_card(report, "sft"), model_card(report, "grpo")
    assert "SFT then GRPO" in grpo
    assert "GRPO" not in sft.partition("## Intended use")[0]
    assert "The reward of GRPO is a weighted sum" in grpo
    assert "This model was not trained on a reward" in sft
    assert "rewarded" not in sft
    for text in (tripod_llm(report, "sft"),):
        assert "Reward preset" not in text
        assert "GRPO: temperature" not in text


def test_without_intervals_a_card_claims_none(report: Report) -> None:
    plain: Any = {name: compute(records, bootstrap_samples=0) for name, records in report.predictions.items()}
    card = model_card(replace(report, metrics=plain), "grpo")
    assert "95 % intervals" not in card[card.index("## Results") :]
    assert "The results are without intervals" in card


@pytest.mark.parametrize(
    "name", ["a|b", "a\\|b", "<script>alert(1)</script>", "a: b #c", "- x", "'\"", "名前 モデル", "{{ x }}"]
)
def test_no_name_breaks_a_card(name: str, report: Report, tmp_path: Path) -> None:
    content = quickstart()
    content["spec"]["model"] = {"path": f"/models/{name}"}
    text = model_card(replace(report, settings=content, run=name), "grpo")
    path = tmp_path / "README.md"
    path.write_text(text, encoding="utf-8")
    read = ModelCard.load(path)
    assert str(read) == text
    assert read.data.to_dict()["model-index"][0]["name"] == f"{name} (grpo)"
    [row] = [line for line in text.splitlines() if line.startswith("| Model |")]
    assert row.replace("\\\\", "").replace("\\|", "").count("|") == 3
    assert "<script" not in row


def test_a_card_does_not_vouch_for_the_splits_of_a_prepared_cohort(report: Report) -> None:
    settings = settings_of({"data": {"prepared": "/cohort", "traces": "/traces.jsonl"}})
    for made, by_patient in ((report, True), (replace(report, settings=settings), False)):
        for text in (model_card(made, "grpo"), tripod_llm(made, "grpo")):
            assert ("Splits are by patient." in text) is by_patient
