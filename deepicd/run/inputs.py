"""What a run reads, looked at before it starts: what would end it an hour later is found in a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from deepicd.data import check, mimic, notes, sft
from deepicd.errors import UserError
from deepicd.rewards.judge.rubric import load_rubric
from deepicd.rewards.own_terms import OwnTerms
from deepicd.run import baselines
from deepicd.run.teacher_model import teacher_model
from deepicd.spec.environment import S3_SECRET_KEYS
from deepicd.spec.judge import DEFAULT_RUBRIC, JudgeSpec
from deepicd.spec.reward import RewardSpec
from deepicd.spec.run import DeepICDRun
from deepicd.spec.storage import S3Spec
from deepicd.training import base_model
from deepicd.training.check import check_overrides
from deepicd.training.model_limits import check_limits
from deepicd.training.model_shape import ModelShape


@dataclass
class Findings:
    """What a look at a run found."""

    problems: list[str] = field(default_factory=list)
    """Each `<field>: <finding>: <remedy>`; with one of them the run cannot succeed."""
    warnings: list[str] = field(default_factory=list)
    in_files: bool = False
    """Whether one of the problems is in a file, which may be another one on another machine."""

    def note(self, place: str, act: Callable[[], object]) -> None:
        """Note the UserError that `act` raises, as a problem of the field `place`."""
        try:
            act()
        except UserError as error:
            text = str(error)
            self.problems.append(text if not place or text.startswith(place) else f"{place}: {text}")

    def raise_any(self) -> None:
        """Raises: UserError: there are problems; names all of them."""
        if self.problems:
            raise UserError(*self.problems)


def look(run: DeepICDRun, *, paths: bool = True, verl: bool = True) -> Findings:
    """Look at what a run needs.

    Args:
        run: the run.
        paths: whether to look for the files that it names, which may be those of another machine.
        verl: whether to check its overrides against verl's configuration.
    """
    found = Findings()
    _look_at_reward(run.spec.reward, found, files=False)
    if (tiny := run.spec.model.tiny) is not None:
        layers = ModelShape.of_tiny(tiny).linear_layers
        found.note("", lambda: base_model.check_targets(run.spec.model.lora, layers))
    if verl:
        found.note("", lambda: check_overrides(run))
    if paths:
        before = len(found.problems)
        _look_at_files(run, found)
        found.in_files = len(found.problems) > before
    return found


def _check_second(judge: JudgeSpec) -> None:
    first, second = (None if one is None or one.model is None else Path(one.model) for one in (judge, judge.second))
    if first is not None and second is not None and first.is_dir() and first.resolve() == second.resolve():
        raise UserError(f"{second} is the folder of the judge itself: give a model of another family")


def _look_at_reward(reward: RewardSpec, found: Findings, *, files: bool) -> None:
    """Look at the parts of the reward that are files, or at those that are not."""
    terms = {name: term for name, term in (reward.terms or {}).items() if (term.file is not None) is files}
    found.note("", lambda: OwnTerms(terms).try_out())
    if (judge := reward.judge) is not None and (judge.rubric != DEFAULT_RUBRIC) is files:
        found.note("spec.reward.judge.rubric", lambda: load_rubric(judge.rubric))


def _look_at_files(run: DeepICDRun, found: Findings) -> None:
    data, model, storage = run.spec.data, run.spec.model, run.spec.storage
    _look_at_reward(run.spec.reward, found, files=True)
    if (tables := data.mimic) is not None:
        found.note("spec.data.mimic.hosp", lambda: mimic.look_at_hosp(Path(tables.hosp)))
        found.note("spec.data.mimic.note", lambda: mimic.look_at_note(Path(tables.note)))
    if (source := data.notes) is not None:
        found.note("spec.data.notes", lambda: notes.look(source))
    if (prepared := data.prepared) is not None:
        found.note("spec.data.prepared", lambda: check.look(Path(prepared)))
    if (traces := data.traces) is not None and run.spec.stages.sft is not None:
        found.note("spec.data.traces", lambda: sft.look(Path(traces)))
    if (judge := run.spec.reward.judge) is not None:
        found.note("spec.reward.judge.second.model", lambda: _check_second(judge))
    if (chosen := run.spec.stages.distill) is not None:
        found.note("spec.stages.distill.teacher", lambda: teacher_model(chosen.teacher))
    if model.path is not None:
        before = len(found.problems)
        found.note("spec.model", lambda: found.warnings.extend(base_model.look(str(model.path), model.lora)))
        if len(found.problems) == before and (folder := Path(model.path)).is_dir():
            found.note("", lambda: check_limits(run.spec, folder))
    _look_at_evaluation(run, found)
    if storage is not None and (s3 := storage.s3) is not None:
        found.note("spec.storage.s3", lambda: _look_at_s3(s3))


def _look_at_evaluation(run: DeepICDRun, found: Findings) -> None:
    settings = run.spec.stages.evaluate
    if settings is None:
        return
    found.note("spec.stages.evaluate.baselines", lambda: baselines.require(settings))
    for name, other in settings.models.items():
        place = f"spec.stages.evaluate.models.{name}.path"
        found.note(place, partial(_look_at_model, found, other.path, place))
    if (encoder := settings.encoder) is not None:
        place = "spec.stages.evaluate.encoder.path"
        found.note(place, partial(_look_at_model, found, encoder.path, place))


def _look_at_model(found: Findings, path: str, place: str) -> None:
    found.warnings.extend(base_model.look(path, place=place))


def _look_at_s3(s3: S3Spec) -> None:
    if s3.ca_bundle is not None and not Path(s3.ca_bundle).is_file():
        raise UserError(f"spec.storage.s3.caBundle: no file {s3.ca_bundle}: give the file with the store's CA certificates")
    folder = None if s3.credentials is None else s3.credentials.secret_folder
    if folder is not None and not Path(folder).is_dir():
        raise UserError(
            f"spec.storage.s3.credentials.secretFolder: no folder {folder}: give the folder with the files "
            f"{' and '.join(S3_SECRET_KEYS)}"
        )
