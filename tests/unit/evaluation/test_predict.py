"""Answers as `deepicd predict` shows them, and the tokenizer that asks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from deepicd import completion, prompt
from deepicd.completion import TRACE_WARNING, Completion
from deepicd.data.chat_template import opens_think
from deepicd.data.shorten import Shortened
from deepicd.errors import UserError
from deepicd.evaluation.predict import NO_ADMISSION_NOTE, load_tokenizer, predict_notes, show
from deepicd.prompt import Asked, Prompt
from deepicd.spec.model import ModelSpec
from deepicd.training.base_model import make

TINY = {"vocabulary": 400, "hiddenSize": 32, "intermediateSize": 32, "layers": 1, "heads": 1}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose template does not open `<think>`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    home = tmp_path_factory.mktemp("tiny")
    pq.write_table(
        pa.table({"prompt": [prompt.messages(f"Pain for {days} days.") for days in range(50)]}), home / "train.parquet"
    )
    (home / "model").mkdir()
    make(ModelSpec.model_validate({"tiny": TINY, "openedThink": False}), home / "train.parquet", home / "model")
    return home / "model"


WHOLE = Shortened("note")


def shown(answer: str, note: Shortened = WHOLE) -> dict[str, Any]:
    return show(completion.parse(f"because</think><diagnosis>{answer}</diagnosis>", opened_think=True), note, False)


def test_a_code_that_was_billable_in_any_release_has_no_fault() -> None:
    assert shown("M5116") == {
        "code": "M5116", "display": "M51.16", "description": "Intervertebral disc disorders with radiculopathy, lumbar region",
        "faults": [], "shortened": {},
    }  # fmt: skip


@pytest.mark.parametrize(("code", "fault"), [("M51", "not_billable"), ("Z9999", "unknown_code"), ("pneumonia", "not_a_code")])
def test_any_other_answer_has_its_fault(code: str, fault: str) -> None:
    assert fault in shown(code)["faults"]


def test_a_shortened_note_is_reported_by_section() -> None:
    assert shown("M5116", Shortened("note", {"Social History": 12}))["shortened"] == {"Social History": 12}


def test_a_trace_comes_with_its_warning_and_only_on_request() -> None:
    parsed = Completion("It fits.", "I10", ())
    found = show(parsed, Shortened("note"), with_trace=True)
    assert (found["trace"], found["trace_warning"]) == ("It fits.", TRACE_WARNING)
    assert not {"trace", "trace_warning"} & set(show(parsed, Shortened("note"), with_trace=False))


def test_a_summary_without_an_admission_note_is_not_asked_about(tiny: Path) -> None:
    [answer] = predict_notes(tiny, [None], Asked(), opened_think=None, engine={}, with_traces=True)
    assert answer == {
        "code": None, "display": None, "description": None, "faults": [NO_ADMISSION_NOTE], "shortened": {}, "trace": None
    }  # fmt: skip


@pytest.mark.parametrize("wanted", [None, True, False])
def test_the_think_is_opened_if_requested(tiny: Path, wanted: bool | None) -> None:
    assert opens_think(load_tokenizer(tiny, Asked(), wanted), prompt.DEEPICD) is (wanted is True)


CLOSES = (
    "{% for turn in messages %}{{ turn['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}{% if SWITCH %}<think>\n{% else %}<think>\n\n</think>{% endif %}{% endif %}"
)


def closing(tiny: Path, folder: Path, switch: str) -> Path:
    """A copy of the model, whose template closes the think unless its switch is on."""
    shutil.copytree(tiny, folder)
    (folder / "chat_template.jinja").write_text(CLOSES.replace("SWITCH", switch))
    return folder


def test_a_template_that_closes_the_think_by_default_is_switched(tiny: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(closing(tiny, tmp_path / "model", "enable_thinking"), Asked(), True)
    text = tokenizer.apply_chat_template(prompt.messages("note"), add_generation_prompt=True, tokenize=False)
    assert text.endswith("<|im_end|><think>\n")


def test_a_template_that_always_closes_the_think_is_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^--opened-think: the model's chat template closes <think> itself"):
        load_tokenizer(closing(tiny, tmp_path / "model", "false"), Asked(), True)


def test_a_budget_below_the_prompts_own_length_names_the_option(tiny: Path) -> None:
    asked = Asked(Prompt("word " * 50 + "{note}"), max_prompt_tokens=20)
    with pytest.raises(UserError, match=r"^--max-prompt-tokens: 20 tokens are less than the prompt's own \d+"):
        predict_notes(tiny, ["a note"], asked, opened_think=None, engine={}, with_traces=False)
