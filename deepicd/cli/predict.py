"""`deepicd predict`: codes for notes, from a trained model."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from deepicd.errors import UserError


def predict(
    model: Annotated[Path, typer.Option(help="Folder of a trained model.", show_default=False)],
    traces: Annotated[bool, typer.Option("--traces", help="Print reasoning traces too; they retell the note.")] = False,
    max_prompt_tokens: Annotated[int, typer.Option(min=16, help="Longer notes are cut at their end.")] = 2048,
    max_response_tokens: Annotated[int, typer.Option(min=4, help="Longest completion.")] = 1024,
) -> None:
    """Predict a code for each note: lines `{"id": …, "note": …}` in, lines `{"id": …, "code": …}` out. Research use only.

    Example: `deepicd predict --model runs/quickstart/stages/grpo/model < notes.jsonl > codes.jsonl`
    """
    if not (model / "config.json").is_file():
        raise UserError(f"--model: {model} is no model folder (it has no config.json): give a stage's model/ folder")
    requests = [_request(number, line) for number, line in enumerate(sys.stdin, 1) if line.strip()]
    if not requests:
        raise UserError('standard input: is empty: give lines {"id": …, "note": …}')
    from deepicd.training.device import device
    from deepicd.training.launch import offline_environment

    os.environ.update(offline_environment() | {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_LOGGING_STREAM": "ext://sys.stderr"})
    os.environ.update(device().engine_environment)
    with _results_only_on_stdout():
        from deepicd.evaluation.predict import predict_notes

        answers = predict_notes(
            model, [note for _, note in requests], max_prompt_tokens=max_prompt_tokens, max_response_tokens=max_response_tokens,
            engine=device().engine, with_traces=traces,
        )  # fmt: skip
    for (identity, _), found in zip(requests, answers, strict=True):
        typer.echo(json.dumps({"id": identity, **found}))


@contextmanager
def _results_only_on_stdout() -> Iterator[None]:
    """Send to stderr what vLLM and its processes print to standard output."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _request(number: int, line: str) -> tuple[Any, str]:
    try:
        content = json.loads(line)
        identity, note = content["id"], content["note"]
    except (ValueError, TypeError, KeyError):
        note = None
    if not isinstance(note, str):
        raise UserError(f'standard input line {number}: is not {{"id": …, "note": "…"}}: mend the line')
    return identity, note
