"""`deepicd judge`: judges completions outside a run, and compares the verdicts with those of experts."""

from __future__ import annotations

import asyncio
import json
import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepicd.cli.judge_options import OPTIONS, errors_in_options, from_options
from deepicd.cli.lines import ON_ERROR_HELP, OnError, Skipped
from deepicd.errors import UserError
from deepicd.json_lines import read_object
from deepicd.rewards.judge.agreement import Kappa, by_criterion
from deepicd.rewards.judge.question import question
from deepicd.rewards.judge.rubric import Rubric
from deepicd.rewards.lines import read_samples
from deepicd.rewards.sample import Sample
from deepicd.spec.judge import JudgeSpec
from deepicd.spec.load import load

if TYPE_CHECKING:
    from deepicd.rewards.judge.judge import Judge, Verdict

_BATCH = 512


def judge(
    spec: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Use the judge of this run.yaml, which needs an endpoint.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="Server with the OpenAI API, such as http://127.0.0.1:8000/v1.")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The model's name there.")] = None,
    key_env: Annotated[str | None, typer.Option(metavar="VARIABLE", help="Environment variable with the server's key.")] = None,
    data_use: Annotated[
        str | None, typer.Option(metavar="TEXT", help="For an external server: who attests that notes may be sent there.")
    ] = None,
    rubric: Annotated[str | None, typer.Option(metavar="FILE", help="A rubric file; the built-in rubric by default.")] = None,
    timeout: Annotated[str | None, typer.Option(metavar="TIME", help="Time for one request; 60s by default.")] = None,
    max_failures: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="End when more of the last 256 verdicts are missing; 0.1 by default."),
    ] = None,
    verdicts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help='Compare with experts: lines {"id", "verdict": {criterion: true or false}}.'),
    ] = None,
    on_error: Annotated[OnError, typer.Option(help=ON_ERROR_HELP)] = OnError.STOP,
) -> None:
    """Judge completions by the rubric, JSON lines in and out.

    Takes {"id", "completion", "gold", "note"}; gives {"id", "judge", "verdict"}: the share of good answers in [0, 1], and
    true or false for each criterion; both are null if the verdict is missing. With --verdicts it prints Cohen's kappa of each
    criterion to stderr.

    Example: deepicd judge --endpoint http://127.0.0.1:8000/v1 --name judge < in.jsonl > out.jsonl
    """
    given = {
        "endpoint": endpoint, "name": name, "apiKey": None if key_env is None else {"env": key_env}, "dataUse": data_use,
        "rubric": rubric, "timeout": timeout, "maxFailures": max_failures,
    }  # fmt: skip
    chosen, opened_think = _chosen(spec, {field: value for field, value in given.items() if value is not None})
    with nullcontext() if spec is not None else errors_in_options():
        _judge(chosen, opened_think, verdicts, on_error)


def _judge(chosen: JudgeSpec, opened_think: bool | None, verdicts: Path | None, on_error: OnError) -> None:
    """Judge what comes in. `opened_think`: see `_chosen`."""
    from deepicd.rewards.judge.judge import Judge

    opened = Judge(chosen)
    experts = None if verdicts is None else _experts(verdicts, opened.rubric)
    found: dict[str, Verdict] = {}
    seen: set[str] = set()
    with Skipped(on_error) as skipped, asyncio.Runner() as runner:
        try:
            runner.run(_open(opened))
            read = read_samples(sys.stdin.buffer, skipped.on_fault, as_written=opened_think is None)
            while batch := list(islice(read, _BATCH)):
                samples = [sample for _, sample in batch]
                given = runner.run(_verdicts(opened, samples, opened_think=opened_think is not False))
                for (identity, _), verdict in zip(batch, given, strict=True):
                    if experts is not None and str(identity) in seen:
                        raise UserError(
                            f"id {str(identity)[:64]}: occurs twice: to compare with experts, give each completion its own"
                        )
                    seen.add(str(identity))
                    sys.stdout.write(json.dumps(_shown(identity, opened.rubric, verdict)) + "\n")
                    if verdict is not None:
                        found[str(identity)] = verdict
        finally:
            runner.run(opened.__aexit__(None, None, None))
    if not seen:
        raise UserError("standard input: has no completion: give lines with id, completion, gold and note")
    if missing := sum(opened.missing.values()):
        reasons = ", ".join(f"{reason} {count}" for reason, count in opened.missing.items())
        sys.stderr.write(f"{missing} verdicts are missing ({reasons})\n")
    if experts is not None:
        _print_agreement(opened.rubric, found, experts)


def _chosen(spec: Path | None, given: Mapping[str, Any]) -> tuple[JudgeSpec, bool | None]:
    """The judge, and whether prompts end in an opened `<think>` (None: unknown). `given`: fields of its section."""
    if spec is None and {"endpoint", "name"} <= given.keys():
        return from_options(given), None
    if spec is None or {"endpoint", "name"} & given.keys():
        raise UserError("give --spec, or --endpoint and --name, such as: deepicd judge --spec run.yaml < in.jsonl")
    if given:
        options = " and ".join(OPTIONS[field] for field in given)
        raise UserError(f"{options}: run.yaml says that about its judge: change it there")
    run = load(spec).spec
    if run.reward.judge is None:
        raise UserError(f"{spec}: spec.reward.judge: is missing: add it, or give --endpoint and --name")
    return run.reward.judge, run.model.opened_think


async def _open(judge: Judge) -> None:
    await judge.__aenter__()
    await judge.client.check()


async def _verdicts(judge: Judge, samples: Sequence[Sample], *, opened_think: bool) -> list[Verdict | None]:
    asked = [question(judge.rubric, sample, opened_think=opened_think) for sample in samples]
    given = iter(await judge.verdicts([one for one in asked if one is not None]))
    return [None if one is None else next(given) for one in asked]


def _shown(identity: str | int, rubric: Rubric, verdict: Sequence[bool] | None) -> dict[str, Any]:
    if verdict is None:
        return {"id": identity, "judge": None, "verdict": None}
    return {"id": identity, "judge": rubric.score(verdict), "verdict": dict(zip(rubric.names, verdict, strict=True))}


def _experts(path: Path, rubric: Rubric) -> dict[str, dict[str, bool]]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: give a file of experts' verdicts") from None
    found: dict[str, dict[str, bool]] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            identity, verdict = _expert(f"{path} line {number}", line, rubric)
            if identity in found:
                raise UserError(f"{path} line {number}: id: already has a verdict: give one line per completion")
            found[identity] = verdict
    if not found:
        raise UserError(f"{path}: has no verdicts: give lines with id and verdict")
    return found


def _expert(where: str, line: bytes, rubric: Rubric) -> tuple[str, dict[str, bool]]:
    record = read_object(line, where, "give an object with id and verdict")
    verdict = record.get("verdict")
    if not isinstance(verdict, dict) or not isinstance(record.get("id"), str | int):
        raise UserError(f"{where}: has no id or no verdict: give an object with both")
    for name, answer in verdict.items():
        if name not in rubric.names:
            raise UserError(f"{where}: verdict: has an unknown criterion: the rubric has {', '.join(rubric.names)}")
        if not isinstance(answer, bool):
            raise UserError(f"{where}: verdict.{name}: is neither true nor false: give one of them")
    return str(record["id"]), verdict


def _print_agreement(rubric: Rubric, judged: Mapping[str, Sequence[bool]], experts: Mapping[str, Mapping[str, bool]]) -> None:
    for name, one in by_criterion(rubric, judged, experts).items():
        sys.stderr.write(f"{name}: {_agreement(one)}\n")


def _agreement(found: Kappa) -> str:
    if not found.answers:
        return "no answer of both judge and experts"
    constant = "undefined (both gave the same answer throughout)"
    kappa = constant if math.isnan(found.kappa) else f"{found.kappa:.2f}"
    return f"kappa {kappa}, {found.agreed:.2f} of {found.answers} answers agree"
