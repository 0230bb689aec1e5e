"""Predictions for single notes, outside a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepicd import completion, icd10
from deepicd.completion import TRACE_WARNING, Completion
from deepicd.data.chat_template import check_template, open_think, opens_think, settle
from deepicd.data.prompts import ChatTokens, shorten_notes
from deepicd.data.shorten import Shortened
from deepicd.errors import UserError
from deepicd.evaluation.constraint import structural_tag
from deepicd.prompt import Asked

NO_ADMISSION_NOTE = "no_admission_note"
"""Fault of an empty note, or a discharge summary without complaint, present illness and history. The model is not asked."""


def predict_notes(
    model: Path,
    notes: Sequence[str | None],
    asked: Asked,
    *,
    opened_think: bool | None,
    engine: Mapping[str, Any],
    with_traces: bool,
    constrained: bool = False,
) -> list[dict[str, Any]]:
    """The greedy answer for each note: see `show`.

    Imports vLLM.

    Args:
        model: folder of a Hugging Face model.
        notes: admission notes; None for a summary without one (NO_ADMISSION_NOTE).
        asked: the prompt and the budgets.
        opened_think: whether the prompt ends in an opened `<think>`; None: as the model's chat template does.
        engine: arguments of vLLM's engine.
        with_traces: whether the answers include the reasoning traces, which repeat content of the note.
        constrained: whether the diagnosis tag can contain only codes of the table.

    Raises:
        UserError: the model has no chat template, or one that rejects the prompt; the prompt alone exceeds its budget.
    """
    tokenizer = load_tokenizer(model, asked, opened_think)
    present = [note for note in notes if note is not None]
    shortened = shorten_notes(present, asked.prompt, asked.max_prompt_tokens, ChatTokens(tokenizer), "--max-prompt-tokens")
    answers = iter(_answer(model, tokenizer, shortened, asked, engine, constrained=constrained) if present else [])
    found = []
    for note in notes:
        if note is None:
            found.append(show(Completion(None, None, ()), Shortened(""), with_traces) | {"faults": [NO_ADMISSION_NOTE]})
        else:
            found.append(show(*next(answers), with_traces))
    return found


def load_tokenizer(model: Path, asked: Asked, opened_think: bool | None) -> Any:
    """The tokenizer of a model's folder, with a chat template that opens `<think>` if `opened_think` requires it.

    Raises:
        UserError: see `predict_notes`.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(model)
    except Exception:
        # Which exceptions it raises depends on the file that is missing or damaged.
        problem = f"--model: {model} has no tokenizer that can be loaded: give the folder of a Hugging Face model"
        raise UserError(problem) from None
    settle(tokenizer, f"--model: the tokenizer of {model}", asked.prompt)
    check_template(tokenizer, asked.prompt, "--prompt")
    if opened_think is False and opens_think(tokenizer, asked.prompt):
        raise UserError("--no-opened-think: the model's chat template always opens <think>: leave the option out")
    if opened_think and not open_think(tokenizer, asked.prompt):
        raise UserError("--opened-think: the model's chat template closes <think> itself: leave the option out")
    return tokenizer


def _answer(
    model: Path, tokenizer: Any, shortened: Sequence[Shortened], asked: Asked, engine: Mapping[str, Any], *, constrained: bool
) -> list[tuple[Completion, Shortened]]:
    from deepicd.evaluation.generate import GREEDY, Generator, Sampling

    generator = Generator(
        model, max_prompt_tokens=asked.max_prompt_tokens, max_response_tokens=asked.max_response_tokens, engine=engine, seed=0,
        chat_template=tokenizer.chat_template,
    )  # fmt: skip
    sampling = Sampling(structural_tag=structural_tag()) if constrained else GREEDY
    [generated] = generator.generate([asked.prompt.messages(one.note) for one in shortened], sampling)
    generator.close()
    opened = opens_think(tokenizer, asked.prompt)
    return [
        (completion.parse(best.text, opened_think=opened, truncated=best.truncated), one)
        for [best], one in zip(generated, shortened, strict=True)
    ]


def show(parsed: Completion, note: Shortened, with_trace: bool) -> dict[str, Any]:
    """One answer as `deepicd predict` prints it.

    Fields: code, display, description, faults, shortened (characters removed from the note, by section); if requested, trace,
    and trace_warning where there is one.
    """
    code = parsed.code
    known = code is not None and icd10.is_valid(code)
    shown: dict[str, Any] = {
        "code": code,
        "display": icd10.display(code) if code is not None else None,
        "description": icd10.description(code) if code is not None and known else None,
        "faults": [str(fault) for fault in parsed.faults],
        "shortened": note.removed,
    }
    if with_trace:
        shown["trace"] = parsed.trace
        if parsed.trace is not None:
            shown["trace_warning"] = TRACE_WARNING
    return shown
