import json
import random
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepicd.completion import Fault
from deepicd.errors import UserError
from deepicd.evaluation import predictions
from deepicd.evaluation.metrics import compute
from deepicd.evaluation.predictions import Prediction
from deepicd.evaluation.report import FAULT_TITLES, Report, html, load, write_report

CODES = ["I10", "D65", "M5116", "M5117", "D120", "J189", "A419"]


def answers(right: float, seed: int) -> list[Prediction]:
    choice = random.Random(seed)
    records = []
    for number in range(80):
        gold = CODES[number % len(CODES)]
        answer = gold if choice.random() < right else choice.choice([*CODES, "M51", None])
        faults = () if answer else ("no_diagnosis", "truncated")
        records.append(Prediction(str(number), str(number // 2), gold, answer, faults, float(answer == gold), {"outcome": 1.0}))
    return records


def curve_rows(stage: str, steps: int) -> list[dict[str, Any]]:
    return [
        {
            "stage": stage,
            "step": step,
            "reward": 0.1 * step,
            "kl": 0.001,
            "loss": 0.5,
            "responseTokens": 90.0,
            "terms": {},
        }
        | ({"validationReward": 0.3, "terms": {"outcome": 0.2}} if step == steps else {})
        for step in range(1, steps + 1)
    ]


@pytest.fixture(scope="module")
def report() -> Report:
    models = {"base": answers(0.1, 1), "sft": answers(0.5, 2), "grpo": answers(0.7, 3)}
    counts = {code: 10 * (1 + at) for at, code in enumerate(CODES[:-1])}
    return Report(
        run="quick<start>",
        metrics={name: compute(records, train_counts=counts, bootstrap_samples=50, seed=1) for name, records in models.items()},
        predictions=models,
        curves=[*curve_rows("sft", 5), *curve_rows("grpo", 70)],
        stage_seconds={"prepare": 4.0, "grpo": 181.0},
        settings={"kind": "DeepICDRun", "spec": {"seed": 42}},
        versions={"verl": "0.9.1"},
        kl_name="actor/ppo_kl",
        prompts={
            "max_prompt_tokens": 2048,
            "splits": {
                "train": {"notes": 1000, "shortened": 250, "sections": {
                    "Social History": {"notes": 70, "characters": 900},
                    "Medications on Admission": {"notes": 250, "characters": 9000},
                }},
                "test": {"notes": 0, "shortened": 0, "sections": {}},
            },
            "max_example_tokens": 3072,
            "examples": {"written": 990, "shortened": 12, "dropped": 3},
        },
        left_out=[
            {"what": "admissions", "count": 250, "of": 1000, "reason": "coded in ICD-9 only"},
            {"what": "traces", "count": 7, "of": 1200, "reason": "a tag (<think>) inside"},
        ],
        traces_untagged=1100,
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return html(report)


class Elements(HTMLParser):
    """Every element's name and attributes, and that each is closed."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_every_element_is_closed_and_every_id_is_unique(page: str) -> None:
    elements = Elements(page)
    assert elements.open == []
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_reference_inside_the_page_has_its_target(page: str) -> None:
    targets = {attributes.get("id") for _, attributes in Elements(page).found}
    references = set(re.findall(r'(?:href="#|url\(#)([^")]+)', page))
    assert references
    assert references <= targets


def test_the_page_loads_nothing(page: str) -> None:
    elements = Elements(page).found
    assert not {"script", "link", "img", "iframe", "object", "embed"} & {tag for tag, _ in elements}
    for tag, attributes in elements:
        for name in ("href", "src", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), tag
    assert "@import" not in page
    assert set(re.findall(r"https?://[^\"'\s<]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert ("meta", {
        "http-equiv": "Content-Security-Policy",
        "content": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    }) in elements  # fmt: skip


def test_every_section_is_there(page: str) -> None:
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles == [
        "Summary",
        "Training",
        "F1 by level and model",
        "Confusion between chapters",
        "F1 by code frequency",
        "What was wrong with unparseable outputs",
        "By chapter",
        "Notes within the budget",
        "Left out",
        "Stage times",
        "Settings and versions",
        "Definitions",
    ]
    assert "Research use only" in page


def test_every_figure_is_described_and_every_heading_cell_has_its_scope(page: str) -> None:
    elements = Elements(page).found
    drawn = [attributes for tag, attributes in elements if tag == "svg"]
    assert len(drawn) == 7
    for attributes in drawn:
        assert attributes["role"] == "img"
        assert re.search(r"\d", attributes["aria-label"] or "")
    assert all("scope" in attributes for tag, attributes in elements if tag == "th")


def row_of(page: str, section: str, name: str) -> str:
    """The text of a table row, by the section's id and the row's heading."""
    after = page[page.index(f'id="{section}"') :]
    start = after.index(f'<th scope="row">{name}</th>')
    return " ".join(re.sub(r"<[^>]+>", " ", after[start : after.index("</tr>", start)]).split())


def test_the_summary_shows_the_metrics(report: Report, page: str) -> None:
    own = report.metrics["grpo"]
    macro = own["levels"]["category"]["macroF1"]
    assert macro["value"] is not None
    assert macro["interval"] is not None
    low, high = macro["interval"]
    assert f"{100 * macro['value']:.1f} {100 * low:.1f} to {100 * high:.1f}" in row_of(page, "summary", "grpo")
    assert f"{own['reward']['mean']['value']:.3f}" in row_of(page, "summary", "grpo")


def test_the_differences_are_paired_and_signed(report: Report, page: str) -> None:
    values = [report.metrics[model]["rates"]["validCode"]["value"] or 0.0 for model in ("sft", "grpo")]
    assert f"+{100 * (values[1] - values[0]):.1f}" in row_of(page, "summary", "grpo − sft")


def test_every_fault_has_a_title() -> None:
    assert set(FAULT_TITLES) == set(Fault)


def test_unparseable_outputs_are_counted_by_fault(report: Report, page: str) -> None:
    missing = sum(record.prediction is None for record in report.predictions["base"])
    assert row_of(page, "faults", "No code could be read").split()[5] == str(missing)


def test_names_and_settings_are_escaped(page: str) -> None:
    assert "quick&lt;start&gt;" in page
    assert "quick<start>" not in page
    assert "kind: DeepICDRun" in page


def test_the_page_says_which_kl_it_shows(report: Report, page: str) -> None:
    assert "KL is verl&#39;s actor/ppo_kl" in page
    assert "KL (actor/ppo_kl)" in page
    other = html(replace(report, kl_name="KL to the reference policy"))
    assert "KL is to the reference policy" in other
    assert "actor/ppo_kl" not in other


def test_the_same_report_gives_the_same_bytes(report: Report, page: str, tmp_path: Path) -> None:
    write_report(report, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_answers_and_ids_do_not_enter_the_page(report: Report) -> None:
    records = [
        replace(
            record,
            id=f"CANARY{record.id}",
            subject_id=f"CANARY{record.subject_id}",
            prediction=record.prediction or "CANARY",
        )
        for record in report.predictions["base"]
    ]
    metrics = compute(records, bootstrap_samples=0)
    assert "CANARY" not in html(replace(report, metrics={"base": metrics}, predictions={"base": records}))


def test_one_model_without_curves_counts_or_faults_still_makes_a_page(report: Report) -> None:
    records = [replace(record, faults=None, reward=None, terms={}) for record in report.predictions["base"]]
    lone = html(
        replace(
            report,
            metrics={"other": compute(records, bootstrap_samples=0)},
            predictions={"other": records},
            curves=[],
            stage_seconds={},
            settings="kind: DeepICDRun",
        )
    )
    assert "this run trained nothing" in lone
    assert "the counts of the training set were not given" in lone
    assert "only codes were given" in lone
    assert "nan" not in re.sub(r"<[^>]*>", "", lone).lower().split()


def test_a_model_without_any_valid_answer_still_makes_a_page(report: Report) -> None:
    records = [replace(record, prediction=None, faults=("no_diagnosis",)) for record in report.predictions["base"]]
    metrics = compute(records, train_counts={"I10": 1}, bootstrap_samples=20)
    assert "0.0" in row_of(html(replace(report, metrics={"base": metrics}, predictions={"base": records})), "summary", "base")


def test_codes_of_other_years_and_local_gold_codes_are_reported(report: Report) -> None:
    records = [
        replace(record, gold="ZZ999", prediction="K859", local_gold=True, fiscal_years=(2017, 2020))
        if record is report.predictions["base"][0]
        else record
        for record in report.predictions["base"]
    ]
    page = html(replace(report, metrics={"base": compute(records, bootstrap_samples=0)}, predictions={"base": records}))
    assert "1 test admissions have a gold code that no release of ICD-10-CM has as billable" in page
    assert "0 gold codes; 100.0 % of the answers of base" in page
    assert "Local codes of no chapter" in page


def test_metrics_of_an_earlier_version_have_no_years(report: Report) -> None:
    old = {
        name: {key: value for key, value in own.items() if key != "goldOutsideYears"} for name, own in report.metrics.items()
    }
    assert "in none of the years" not in html(replace(report, metrics=old))  # type: ignore[arg-type]


def test_shortened_notes_are_counted_by_split_and_section(page: str) -> None:
    assert row_of(page, "notes", "Shortened") == "Shortened 250 25.0 % 0"
    assert row_of(page, "notes", "in Medications on Admission") == "in Medications on Admission 250 0"
    notes = page[page.index('id="notes"') :]
    assert notes.index("in Medications on Admission") < notes.index("in Social History")
    assert "990 examples of at most 3,072 tokens. 12 have" in notes
    assert "3 were dropped" in notes


def test_a_run_of_an_earlier_version_without_prompt_counts_has_a_report(report: Report) -> None:
    page = html(replace(report, prompts=None))
    assert "Not recorded." in page[page.index('id="notes"') : page.index('id="left-out"')]


def test_what_was_left_out_is_listed_with_reason_and_share(page: str) -> None:
    assert row_of(page, "left-out", "admissions") == "admissions coded in ICD-9 only 250 25.0 % 1,000"
    assert row_of(page, "left-out", "traces") == "traces a tag (&lt;think&gt;) inside 7 0.6 % 1,200"
    assert "1,100 traces had &lt;think&gt; tags around them, which were taken off" in page


@pytest.mark.parametrize(("left_out", "text"), [(None, "Not recorded."), ([], "Nothing: every admission")])
def test_a_run_that_left_nothing_out_or_did_not_record_it_says_so(
    report: Report, left_out: list[Any] | None, text: str
) -> None:
    page = html(replace(report, left_out=left_out))
    assert text in page[page.index('id="left-out"') : page.index('id="stages"')]


@pytest.mark.parametrize("as_text", [False, True])
def test_warnings_come_before_everything_but_the_title(report: Report, page: str, as_text: bool) -> None:
    settings: Any = {"spec": {"data": {"synthetic": {"admissions": 9}}}}
    warned = html(replace(report, settings=yaml.safe_dump(settings) if as_text else settings))
    head = warned[warned.index("<h1>") : warned.index("Research use only")]
    assert "Synthetic data" in head
    assert "Synthetic data" not in page


def save(report: Report, run_folder: Path) -> Path:
    folder = run_folder / "evaluate"
    folder.mkdir(parents=True)
    predictions.write(folder / "predictions.parquet", report.predictions)
    (folder / "metrics.json").write_text(json.dumps(report.metrics))
    (folder / "curves.jsonl").write_text("".join(json.dumps(row) + "\n" for row in report.curves))
    about = {
        "run": report.run,
        "settings": report.settings,
        "versions": report.versions,
        "stageSeconds": report.stage_seconds,
        "klName": report.kl_name,
        "prompts": report.prompts,
        "leftOut": report.left_out,
        "tracesUntagged": report.traces_untagged,
    }
    (folder / "about.json").write_text(json.dumps(about))
    return folder


def test_a_run_folder_is_read_back_whole(report: Report, tmp_path: Path) -> None:
    save(report, tmp_path)
    assert load(tmp_path) == report


@pytest.mark.parametrize("name", ["metrics.json", "about.json", "curves.jsonl", "predictions.parquet"])
def test_a_missing_file_is_named(report: Report, tmp_path: Path, name: str) -> None:
    (save(report, tmp_path) / name).unlink()
    with pytest.raises(UserError, match=f"{re.escape(name)}: does not exist: evaluate the run first"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("metrics.json", lambda text: text[:-9], "is not JSON"),
        ("metrics.json", lambda text: text.replace("metrics/v1", "metrics/v0"), "base: is not deepicd.io/metrics/v1"),
        ("metrics.json", lambda text: text.replace('"base"', '"vase"', 1), "hold different models"),
        ("about.json", lambda text: text.replace("klName", "kl"), "klName: is missing"),
        ("about.json", lambda text: "[]", "is not a JSON object"),
        ("curves.jsonl", lambda text: text + '{"step": 1}\n', "line 76: stage or step is missing"),
    ],
)
def test_a_broken_file_is_named(report: Report, tmp_path: Path, name: str, change: Callable[[str], str], message: str) -> None:
    path = save(report, tmp_path) / name
    path.write_text(change(path.read_text()))
    with pytest.raises(UserError, match=message):
        load(tmp_path)


JUDGE: dict[str, Any] = {
    "rubric": {"version": "7", "criteria": [{"name": "fits", "question": "Does it <fit>?", "negative": True, "weight": 2.0}]},
    "completions": 1600, "missing": 12, "agreement": {"outcome": -0.25, "format": None}, "alarm": None,
}  # fmt: skip


def test_the_judges_rubric_and_agreement_are_shown(report: Report) -> None:
    assert "Rubric, version" not in html(report)
    judged = html(replace(report, judge=JUDGE))
    assert "Rubric, version 7" in judged
    assert "Does it &lt;fit&gt;?" in judged
    assert "it judged 1,600 completions; 12 verdicts are missing" in judged
    assert "outcome −0.25, format –" in judged


def test_a_judge_that_is_pleased_without_better_answers_is_an_alarm(report: Report) -> None:
    found = "the judge's mean rose from 0.26 to 0.64"
    assert "may be pleased" not in html(replace(report, judge=JUDGE))
    assert "may be pleased without the answers getting better" in html(replace(report, judge={**JUDGE, "alarm": found}))


def test_a_reward_without_its_judge_is_called_so(report: Report) -> None:
    assert "Reward without judge" not in html(report)
    unjudged = {
        name: compute(records, bootstrap_samples=0, reward_name="reward_without_judge")
        for name, records in report.predictions.items()
    }
    assert html(replace(report, metrics=unjudged)).count("Reward without judge") == 3


def test_a_reasoning_term_that_was_off_is_reported(report: Report) -> None:
    assert "The term reasoning was off" not in html(report)
    off = html(replace(report, reasoning_off={"patients": 1200, "english": 3}))
    assert "The term reasoning was off, with weight 0: of 1,200 patients in the training set, 3 have a note in English." in off
