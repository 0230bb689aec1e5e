"""Runs the baselines of an evaluation, each in a process with scikit-learn. One that is done is not done again."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from deepicd import atomic
from deepicd.errors import CrashError, ExitCode, TerminatedError, UserError
from deepicd.evaluation.baseline_main import BaselinePlan
from deepicd.evaluation.predictions import Prediction
from deepicd.phases import Phase, PhaseStart
from deepicd.run.context import Context
from deepicd.run_layout import StageLayout
from deepicd.spec.evaluate import ENCODER, EvaluateSpec
from deepicd.training.device import device
from deepicd.training.launch import GuardedProcess, last_line, offline_environment

FOLDER = Path(sys.prefix) / "reference"
"""Where scikit-learn is installed apart from the training stack: `make setup` and the trainer's image fill it."""
_POLL_SECONDS = 0.2


def wanted(settings: EvaluateSpec) -> list[str]:
    """Names of the baselines, in the order of the table."""
    return [*settings.baselines, *([ENCODER] if settings.encoder is not None else [])]


def require(settings: EvaluateSpec) -> None:
    """Check that the baselines can run here.

    Raises:
        UserError: scikit-learn is not installed.
    """
    needs = [name for name in settings.baselines if name != "majority"]
    if needs and not (FOLDER / "sklearn").is_dir() and find_spec("sklearn") is None:
        raise UserError(
            f"spec.stages.evaluate.baselines: {', '.join(needs)} needs scikit-learn, which is not in {FOLDER}: "
            f"pip install --target {FOLDER} scikit-learn, or remove it from the list"
        )


def baselines(context: Context, settings: EvaluateSpec, like: Sequence[Prediction]) -> dict[str, list[Prediction]]:
    """The predictions of each baseline, for the admissions of `like`, the predictions of another model.

    Raises:
        UserError: scikit-learn is not installed, or the encoder's path is not an encoder.
        CrashError: a baseline's process failed; names its log.
        TerminatedError: a stop was requested.
    """
    require(settings)
    found = {}
    for name in wanted(settings):
        content = _answers(context, settings, name)
        found[name] = [
            replace(
                record, prediction=code, faults=None, reward=None, terms={}, samples=None, variants={}, confidence=confidence
            )
            for record, code, confidence in zip(like, content["codes"], content["confidence"], strict=True)
        ]
    return found


def _answers(context: Context, settings: EvaluateSpec, name: str) -> Mapping[str, Any]:
    """The content of the baseline's file of answers; trains it if the file is missing or of other inputs."""
    place = context.layout.stage("evaluate")
    place.baselines.mkdir(parents=True, exist_ok=True)
    plan = BaselinePlan(
        name=name,
        train=str(context.split("train")),
        validation=str(context.split("validation")),
        test=str(context.split("test")),
        max_admissions=settings.max_admissions,
        encoder=_encoder(context, settings) if name == ENCODER else None,
        out=str(place.baselines / f"{name}.json"),
    )
    key = _key(plan)
    done, mark = Path(plan.out), place.baselines / f"{name}.key"
    known = _read(done) if mark.exists() and mark.read_text() == key else None
    if known is None:
        done.unlink(missing_ok=True)
        _train(context, place, plan)
        atomic.write(mark, key)
        known = _read(done)
    if known is None:
        raise CrashError(f"the baseline {name} left no answers: see {place.log}")
    return known


def _read(path: Path) -> Mapping[str, Any] | None:
    """A baseline's answers; None if the file is missing or damaged."""
    try:
        content: Any = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) and {"codes", "confidence"} <= set(content) else None


def _key(plan: BaselinePlan) -> str:
    stamps = [(path.stat().st_size, path.stat().st_mtime_ns) for path in map(Path, (plan.train, plan.validation, plan.test))]
    return sha256(json.dumps([asdict(plan), stamps], sort_keys=True).encode()).hexdigest()


def _encoder(context: Context, settings: EvaluateSpec) -> dict[str, Any]:
    chosen = settings.encoder
    return {} if chosen is None else {**chosen.model_dump(), "seed": context.run.spec.seed}


def _train(context: Context, place: StageLayout, plan: BaselinePlan) -> None:
    context.on_phase(PhaseStart(Phase.BASELINE, of=plan.name, log=place.log))
    plan_file = place.baselines / f"{plan.name}.plan.json"
    atomic.write(plan_file, json.dumps(asdict(plan)))
    environment = {**offline_environment(), **device().engine_environment, "PYTHONPATH": _python_path(plan.name)}
    command = [sys.executable, "-m", "deepicd.evaluation.baseline_main", str(plan_file)]
    process = GuardedProcess(command, environment, place.log)
    try:
        while (code := process.poll()) is None:
            if context.stop.requested:
                raise TerminatedError(f"stopped on request during the baseline {plan.name}: run again to resume")
            time.sleep(_POLL_SECONDS)
    finally:
        process.end()
    if code == ExitCode.USER_ERROR:
        raise UserError(last_line(place.log))
    if code:
        raise CrashError(f"the baseline {plan.name} ended with exit code {code}: see {place.log}")


def _python_path(name: str) -> str:
    """The encoder needs only the training stack, which imports faster without scikit-learn."""
    known = os.environ.get("PYTHONPATH", "")
    return known if name == ENCODER else os.pathsep.join(filter(None, (str(FOLDER), known)))
