"""Asks models about the test split. Completions are parsed into codes immediately and never written to disk.

Runs in a separate process (`python -m deepicd.evaluation.answer PLAN`), because it imports vLLM. With several engines it
starts a process for each (`… PLAN ENGINE`) and puts their answers together. An interrupted evaluation resumes after its last
batch, and makes up for batches that were answered while the judge was not available.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from deepicd import atomic
from deepicd.errors import DeepICDError, UserError
from deepicd.evaluation import predictions
from deepicd.evaluation.engine import Engine, open_parts, read_admissions
from deepicd.evaluation.engines import run_engines
from deepicd.evaluation.parts import Parts, to_predictions
from deepicd.evaluation.plan import EvaluationPlan, chunks
from deepicd.rewards.judge.judging import Judging
from deepicd.run_layout import RunLayout
from deepicd.spec.reward import RewardSpec


def answer(plan: EvaluationPlan, plan_file: str) -> None:
    """Ask all models with all engines, and write predictions.parquet and the seconds.

    Raises:
        UserError: a model cannot be asked.
        SystemExit: the process of an engine failed; it has written why.
    """
    admissions = read_admissions(Path(plan.test), plan.max_admissions)
    batches = len(chunks(len(admissions), plan.batch))
    parts = open_parts(plan)
    for own in parts.values():
        own.begin()
    _drop_unjudged(plan, parts, batches)
    Path(plan.total).write_text(str(len(parts) * batches))
    if len(plan.engines) == 1:
        Engine(plan, 0, admissions).run()
    else:
        run_engines("deepicd.evaluation.answer", plan_file, plan.engines)
    found = {name: own.read(batches) for name, own in parts.items()}
    predictions.write(Path(plan.out), to_predictions(admissions, {name: answers for name, (answers, _) in found.items()}))
    atomic.write(Path(plan.seconds), json.dumps({name: seconds for name, (_, seconds) in found.items()}))


def _drop_unjudged(plan: EvaluationPlan, parts: Mapping[str, Parts], batches: int) -> None:
    """Delete the batches that were answered without the reward's judge, if the judge is available now.

    They are answered again, because completions are not kept. Verdicts are kept, and reused for completions that come out the
    same.
    """
    reward = RewardSpec.model_validate(plan.reward)
    left = {} if reward.judge is None else {name: own.unjudged(batches) for name, own in parts.items()}
    if not any(left.values()):
        return
    with Judging(reward, RunLayout(Path(plan.stages).parent).judge, opened_think=plan.opened_think) as judging:
        failure = judging.failure
    number = sum(map(len, left.values()))
    if failure is not None:
        sys.stderr.write(f"{number} batches stay without the judge: {failure}\n")
        return
    sys.stderr.write(f"{number} batches were answered without the judge, and are answered again\n")
    for name, chosen in left.items():
        for batch in chosen:
            parts[name].drop(batch)


def main(plan_file: str, engine: str | None = None) -> None:
    """Run the plan in a JSON file, or the share of one of its engines."""
    plan = EvaluationPlan(**json.loads(Path(plan_file).read_text()))
    try:
        if engine is None:
            answer(plan, plan_file)
        else:
            Engine(plan, int(engine), read_admissions(Path(plan.test), plan.max_admissions)).run()
    except UserError as error:
        _report(plan, error)
        sys.exit(error.exit_code)


def _report(plan: EvaluationPlan, error: DeepICDError) -> None:
    """Report to the process that follows this one; the first report is kept."""
    sys.stderr.write(f"{error}\n")
    try:
        with Path(plan.failure).open("x", encoding="utf-8") as file:
            json.dump({"message": str(error), "code": error.code}, file)
    except FileExistsError:
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
