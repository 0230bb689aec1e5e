"""Train one baseline and write its answers: `python -m deepicd.evaluation.baseline_main PLAN`.

A separate process, because scikit-learn and its dependencies would slow down every process of the training stack.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deepicd import atomic, prompt
from deepicd.data.prompts import read_notes
from deepicd.errors import DeepICDError
from deepicd.evaluation.baselines import BASELINES, Notes, Splits
from deepicd.spec.evaluate import ENCODER


@dataclass(frozen=True)
class BaselinePlan:
    """One baseline; stored as JSON."""

    name: str
    """`majority`, `tfidf`, `neighbours` or `encoder`."""
    train: str
    """Parquet file of the cohort's split, with whole notes."""
    validation: str
    test: str
    max_admissions: int | None
    """Of the test split."""
    encoder: dict[str, Any] | None
    """Fields of `deepicd.evaluation.encoder.Settings`."""
    out: str
    """JSON file to write: see `Answered`."""


def run(plan: BaselinePlan) -> None:
    """Train the baseline and write its answers.

    Raises:
        UserError: the encoder's path is not an encoder.
    """
    splits = Splits(_read(plan.train), _read(plan.validation), _read(plan.test).texts[: plan.max_admissions])
    if plan.name == ENCODER:
        from deepicd.evaluation.encoder import Settings, encoder

        answered = encoder(splits, Settings(**(plan.encoder or {})))
    else:
        answered = BASELINES[plan.name](splits)
    atomic.write(Path(plan.out), json.dumps(asdict(answered)))


def _read(split: str) -> Notes:
    import pyarrow.parquet as pq

    notes = [note for _, note in read_notes(Path(split), prompt.DEEPICD)]
    return Notes(notes, pq.read_table(split, columns=["code"])["code"].to_pylist())


def main(plan_file: str) -> int:
    """Run the plan in a JSON file; returns the exit code. An error that the user can fix is the last line of the log."""
    try:
        run(BaselinePlan(**json.loads(Path(plan_file).read_text())))
    except DeepICDError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
