"""`deepicd predict`: codes for notes, from a trained model."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from deepicd import extras
from deepicd.completion import TRACE_WARNING
from deepicd.errors import CrashError, DeepICDError, UserError
from deepicd.json_lines import check_names, read_object
from deepicd.prompt import STORED, Asked, of, stored
from deepicd.spec.data import Sections
from deepicd.spec.load import read_prompt


def predict(
    model: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of a trained model.", show_default=False)],
    sections: Annotated[
        Sections,
        typer.Option(
            help="none: a note holds what was known at admission. admission: it is a discharge summary; use only that part."
        ),
    ] = "none",
    prompt: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="YAML file with the prompt: user, and optionally system.", show_default="the model's own"
        ),
    ] = None,
    traces: Annotated[
        bool,
        typer.Option(
            "--traces", help="Also print reasoning traces. They repeat the note, and a convincing trace can be wrong."
        ),
    ] = False,
    max_prompt_tokens: Annotated[
        int | None,
        typer.Option(
            min=16,
            help="Maximum length of a prompt, in tokens; a longer note is shortened by section.",
            show_default="as trained, or 2048",
        ),
    ] = None,
    max_response_tokens: Annotated[
        int | None,
        typer.Option(min=4, help="Maximum length of an answer with its trace, in tokens.", show_default="as trained, or 1024"),
    ] = None,
    opened_think: Annotated[
        bool | None,
        typer.Option(
            "--opened-think/--no-opened-think",
            help="Whether the prompt ends in an opened `<think>`.",
            show_default="the model's own",
        ),
    ] = None,
    constrained: Annotated[
        bool, typer.Option("--constrained", help="Let the model name only codes that were billable in some fiscal year.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show vLLM's output, on stderr.")] = False,
) -> None:
    """Predict the principal ICD-10-CM code of each note. Research use only.

    Reads lines {"id": …, "note": …} and prints a line with id, code, display (the code with its dot), description, faults
    and shortened for each. code is null if the model named none.

    faults says what is wrong with the answer, such as a code that was billable in no release of ICD-10-CM; shortened counts
    the characters left out of a long note, by section.

    Example: `deepicd predict --model runs/quickstart/stages/grpo/model < notes.jsonl > codes.jsonl`
    """
    if not (model / "config.json").is_file():
        raise UserError(f"--model: {model} is not a model folder (it has no config.json): give a stage's model/ folder")
    asked = how_to_ask(model, prompt, max_prompt_tokens, max_response_tokens)
    requests = [read_request(number, line) for number, line in enumerate(sys.stdin.buffer, 1) if line.strip()]
    if not requests:
        raise UserError('standard input: is empty: give lines {"id": …, "note": …}')
    notes = [admission_note(note, sections) for _, note in requests]
    extras.require("deepicd predict", ("torch", "transformers", "vllm"))
    from deepicd.training.device import device
    from deepicd.training.launch import offline_environment

    level = "INFO" if verbose else "ERROR"
    os.environ.update(offline_environment() | {"VLLM_LOGGING_LEVEL": level, "VLLM_LOGGING_STREAM": "ext://sys.stderr"})
    os.environ.update(device().engine_environment)
    with _output_of_vllm(shown=verbose):
        from deepicd.evaluation.predict import predict_notes

        answers = predict_notes(
            model, notes, asked, opened_think=opened_think, engine=device().engine, with_traces=traces, constrained=constrained
        )
    if traces:
        typer.echo(TRACE_WARNING, err=True)
    for (identity, _), found in zip(requests, answers, strict=True):
        typer.echo(json.dumps({"id": identity, **found}))
    if shortened := sum(bool(found["shortened"]) for found in answers):
        typer.echo(f"{shortened} of {len(answers)} notes were shortened to {asked.max_prompt_tokens} tokens", err=True)


def how_to_ask(model: Path, prompt: Path | None, max_prompt_tokens: int | None, max_response_tokens: int | None) -> Asked:
    """The prompt and budgets that the model was trained with, or those of the options; prints a note if they are unknown.

    Raises:
        UserError: the prompt file holds no prompt, or the model's own is damaged.
    """
    known = stored(model)
    if known is None and prompt is None:
        typer.echo(
            f"{model}: has no {STORED}, so it was trained elsewhere or by an earlier version: using the preset "
            "'deepicd'; give --prompt for another",
            err=True,
        )
    asked = known or Asked()
    return Asked(
        prompt=asked.prompt if prompt is None else of(read_prompt(prompt)),
        max_prompt_tokens=max_prompt_tokens or asked.max_prompt_tokens,
        max_response_tokens=max_response_tokens or asked.max_response_tokens,
    )


def admission_note(note: str, sections: Sections) -> str | None:
    """What of a note the model is asked about, as the cohort has it; None where nothing is left."""
    from deepicd.data import extracted

    found: str | None = (extracted.whole if sections == "none" else extracted.cut)(note)["note"]
    return found


@contextmanager
def _output_of_vllm(*, shown: bool) -> Iterator[None]:
    """Send what vLLM and its processes print to stderr, or to a log that is kept if they fail.

    Raises:
        CrashError: they failed; names the log.
    """
    with tempfile.NamedTemporaryFile(prefix="deepicd-predict-", suffix=".log", delete=False) as log:
        kept = [os.dup(number) for number in (1, 2)]
        _flush()
        os.dup2(2 if shown else log.fileno(), 1)
        os.dup2(2 if shown else log.fileno(), 2)
        failure: Exception | None = None
        try:
            yield
        except DeepICDError:
            raise
        except Exception as error:
            traceback.print_exc()
            failure = error
        finally:
            _flush()
            for number, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, number)
                os.close(copy)
            if shown or failure is None:
                Path(log.name).unlink()
        if failure is not None:
            where = "see above" if shown else f"see {log.name}, or give --verbose"
            raise CrashError(f"the model gave no answers ({type(failure).__name__}): {where}")


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def read_request(number: int, line: bytes) -> tuple[Any, str]:
    """Id and note of a line.

    Raises:
        UserError: it is no such object in UTF-8. The message quotes nothing of it.
    """
    where = f"standard input line {number}"
    content = read_object(line, where, 'give {"id": …, "note": "…"}')
    check_names(content, ("id", "note"), where)
    for name in ("id", "note"):
        if name not in content:
            raise UserError(f'{where}: {name}: is missing: give {{"id": …, "note": "…"}}')
    note = content["note"]
    if not isinstance(note, str):
        raise UserError(f"{where}: note: is not text: put it in quotes")
    try:
        note.encode()
    except UnicodeEncodeError:
        raise UserError(f"{where}: note: has half of a character (a lone surrogate): write the note again, in UTF-8") from None
    return content["id"], note
