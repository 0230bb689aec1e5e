"""What rewards, traces, difficulty and a judge's noise do to the quickstart: one change at a time, several seeds each.

    python benchmarks/ablation.py [--seeds 3] [--dir FOLDER] [--most NUMBER] [--steps 12] [--admissions 300]

Each arm is the quickstart with GRPO of `--steps` steps and one change against the arm `deepicd`. Arms with the same traces
share their SFT, and all arms of a seed share cohort and base model. Traces: half of the training admissions have a planted
fault (`ablation_traces`); `filtered` is what the rules of `stages.distill` keep, `unfiltered` has all, `bare` says nothing.
The greedy answers of all arms to the same held-out notes are compared with those of `deepicd`.

FOLDER keeps each trained model and, in results/seed-N/ARM.json, each arm's answers: an interrupted call resumes there. A seed's
models answer once all are trained. `--most NUMBER` trains at most that many models; with 0 those that exist answer. The table
is printed at the end, with what has finished.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import ablation_table, ablation_traces, seeds
from benchmarks.ablation_answers import Plan
from benchmarks.noise_judge import MODEL as NOISE
from benchmarks.noise_judge import noise_judge
from deepicd import atomic, prompt
from deepicd.data import mimic, sft, synthetic
from deepicd.run_layout import RunLayout, StageLayout
from deepicd.spec.load import parse
from deepicd.training.device import device
from deepicd.training.launch import offline_environment

REFERENCE = "deepicd"


@dataclass(frozen=True)
class Arm:
    """One change."""

    title: str
    traces: str | None = "filtered"
    """Of SFT; None: GRPO starts from the base model."""
    grpo: bool = True
    reward: dict[str, Any] = field(default_factory=dict)
    difficulty: dict[str, Any] | None = None
    judge: dict[str, Any] | None = None
    """Fields of a judge whose verdicts are random."""


def _weights(**given: float) -> dict[str, Any]:
    return {"weights": {"outcome": 0, "format": 0, "hierarchy": 0, "reasoning": 0, **given}}


_WITH_JUDGE = {"weights": {"judge": 0.1}}
_SAMPLES = 4

ARMS = {
    REFERENCE: Arm("reward `deepicd`, filtered traces"),
    "sft": Arm("SFT only, filtered traces", grpo=False),
    "outcome": Arm("reward: outcome only", reward=_weights(outcome=1)),
    "outcome-format": Arm("reward: outcome 0.8 and format 0.2", reward=_weights(outcome=0.8, format=0.2)),
    "strict": Arm("reward `strict`", reward={"preset": "strict"}),
    "deepicd-r1": Arm("reward `deepicd-r1`", reward={"preset": "deepicd-r1"}),
    "unfiltered": Arm("unfiltered traces", traces="unfiltered"),
    "sft-unfiltered": Arm("SFT only, unfiltered traces", traces="unfiltered", grpo=False),
    "none": Arm("no traces: GRPO from the base model", traces=None),
    "drop-solved": Arm("difficulty: `dropSolved: 1`", difficulty={"samples": _SAMPLES, "dropSolved": 1}),
    "drop-unsolved": Arm("difficulty: `dropUnsolved: 0`", difficulty={"samples": _SAMPLES, "dropUnsolved": 0}),
    "noise": Arm("judge of pure noise, weight 0.1", reward=_WITH_JUDGE, judge={}),
    "noise-varies": Arm(
        "judge of pure noise, `onlyWhereOutcomeVaries`", reward=_WITH_JUDGE, judge={"onlyWhereOutcomeVaries": True}
    ),
    "bare": Arm("bare diagnoses: one sentence as every trace", traces="bare"),
    "sft-bare": Arm("SFT only, bare diagnoses", traces="bare", grpo=False),
}
"""By name, in the order of training."""


class Seed:
    """All arms with one seed."""

    def __init__(self, home: Path, seed: int, steps: int) -> None:
        """`home`: folder of all seeds; `steps`: of GRPO."""
        self.folder, self.results = home / f"seed-{seed}", home / "results" / f"seed-{seed}"
        self._seed, self._steps = seed, steps
        self.results.mkdir(parents=True, exist_ok=True)

    def train(self, name: str) -> bool:
        """Train an arm's model; returns whether there was something to do."""
        arm = ARMS[name]
        if self.is_trained(name):
            return False
        self._prepare()
        began = time.monotonic()
        if not arm.grpo:
            self._sft(str(arm.traces))
        else:
            self._grpo(name, arm)
        atomic.write(self.folder / f"{name}.seconds.json", json.dumps(round(time.monotonic() - began)))
        return True

    def is_trained(self, name: str) -> bool:
        """Whether an arm's model exists."""
        return self._place(name).completed.exists()

    def _place(self, name: str) -> StageLayout:
        """The stage that makes an arm's model."""
        arm = ARMS[name]
        run = RunLayout(self.folder / (name if arm.grpo else f"sft-of-{arm.traces}"))
        return run.stage("grpo" if arm.grpo else "sft")

    def _prepare(self) -> None:
        """Cohort, traces and base model, the same for all arms."""
        if (self.folder / "traces.json").exists():
            return
        from deepicd.training.base_model import make

        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        run = parse(seeds.quickstart(self._seed), seeds.QUICKSTART.name)
        source = run.spec.data.synthetic
        assert source is not None
        tables, cohort = self.folder / "tables", self.folder / "cohort"
        synthetic.write_tables(source, tables)
        mimic.extract(tables / "hosp", tables / "note", cohort, run.spec.data.split)
        counts = ablation_traces.write(tables, cohort, source.codes, source.seed, self.folder)
        examples = self.folder / "clean.parquet"
        sft.write(cohort / "train.parquet", self.folder / "clean.jsonl", examples)
        base = self.folder / "base"
        base.mkdir()
        make(run.spec.model, examples, base)
        atomic.write(self.folder / "traces.json", json.dumps(counts, indent=2))

    def _content(self, name: str, traces: str | None) -> dict[str, Any]:
        content = seeds.quickstart(self._seed)
        content["metadata"]["name"] = name
        spec = content["spec"]
        spec["model"] = {**spec["model"], "path": str(self.folder / "base")}
        del spec["model"]["tiny"]
        spec["data"] = {"prepared": str(self.folder / "cohort")}
        if traces is None:
            del spec["stages"]["sft"]
        else:
            spec["data"]["traces"] = str(self.folder / f"{traces}.jsonl")
        del spec["stages"]["evaluate"]
        spec["recovery"] = {"stallAfter": "20m"}  # it may share its cores
        grpo = {"maxSteps": self._steps, "saveEverySteps": self._steps, "validateEverySteps": 1000}
        spec["stages"]["grpo"] |= {**grpo, "maxValidationAdmissions": 8}
        return content

    def _sft(self, traces: str) -> Path:
        name = f"sft-of-{traces}"
        if RunLayout(self.folder / name).stage("sft").completed.exists():
            return self.folder / name
        return seeds.run(self._content(name, traces), self.folder, "sft")

    def _grpo(self, name: str, arm: Arm) -> None:
        folder = self.folder / name
        content = self._content(name, arm.traces)
        # The noise judge has another address in each call, so nothing of an interrupted arm is kept.
        shutil.rmtree(folder, ignore_errors=True)
        if arm.traces is not None:
            shutil.copytree(self._sft(arm.traces), folder, symlinks=True)
        content["spec"]["reward"] = dict(arm.reward)
        if arm.difficulty is not None:
            content["spec"]["stages"]["grpo"]["difficulty"] = arm.difficulty
            self._reuse_samples(folder)
        with ExitStack() as stack:
            if arm.judge is not None:
                endpoint = stack.enter_context(noise_judge(self._seed))
                content["spec"]["reward"]["judge"] = {"endpoint": endpoint, "name": NOISE, **arm.judge}
            seeds.run(content, self.folder, "grpo")

    def _reuse_samples(self, folder: Path) -> None:
        """Both arms of difficulty sample the same model on the same prompts: once is enough."""
        for other, arm in ARMS.items():
            known = RunLayout(self.folder / other).stage("grpo").difficulty
            if arm.difficulty is not None and known.exists():
                own = RunLayout(folder).stage("grpo").difficulty
                own.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(known.with_name("solved.jsonl"), own.with_name("solved.jsonl"))

    def answer(self, admissions: int) -> None:
        """Ask the trained models that have not answered yet."""
        models = {name: str(self._place(name).model) for name in ARMS if self.is_trained(name)}
        left = {name: folder for name, folder in models.items() if not (self.results / f"{name}.json").exists()}
        if not left:
            return
        run = parse(self._content("answers", "filtered"), seeds.QUICKSTART.name)
        sampling = run.spec.stages.grpo
        assert sampling is not None
        stages = RunLayout(self.folder / "sft-of-filtered").stages
        plan = Plan(
            models=left,
            test=str(RunLayout(self.folder / "sft-of-filtered").stage("prepare").prompts / "test.parquet"),
            admissions=admissions,
            prompt=asdict(prompt.of(run.spec.model.prompt)),
            max_prompt_tokens=sampling.max_prompt_tokens,
            max_response_tokens=sampling.max_response_tokens,
            seed=run.spec.seed,
            stages=str(stages),
            engine=device().generator(run.spec.model.dtype, sampling.tensor_parallel),
            out=str(self.results),
        )
        file = self.folder / "answers.plan.json"
        atomic.write(file, json.dumps(asdict(plan)))
        environment = {**os.environ, **offline_environment(), **device().engine_environment}
        with (self.folder / "answers.log").open("wb") as log:
            command = [sys.executable, "-m", "benchmarks.ablation_answers", str(file)]
            subprocess.run(command, check=True, stdout=log, stderr=log, env=environment)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=3, choices=[1, *sorted(seeds.T_95)])
    parser.add_argument("--dir", type=Path, default=Path("runs/benchmark-ablation"))
    parser.add_argument("--most", type=int, metavar="NUMBER", help="train at most this many models")
    parser.add_argument("--steps", type=int, default=12, help="steps of GRPO")
    parser.add_argument("--admissions", type=int, default=300, help="held-out notes")
    options = parser.parse_args()
    home = options.dir.resolve()
    left = options.most
    for number in range(options.seeds):
        seed = Seed(home, number, options.steps)
        for name in ARMS:
            if left == 0:
                break
            began = time.monotonic()
            if seed.train(name):
                left = None if left is None else left - 1
                print(f"seed {number}  {name:15} {time.monotonic() - began:4.0f} s", flush=True)
        if options.most == 0 or all(seed.is_trained(name) for name in ARMS):
            seed.answer(options.admissions)
    titles = {name: arm.title for name, arm in ARMS.items()}
    print("\n".join(ablation_table.rows(home / "results", titles, REFERENCE, options.seeds)))


if __name__ == "__main__":
    main()
