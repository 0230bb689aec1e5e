"""The model behind a teacher of `stages.distill`."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from deepicd.errors import UserError
from deepicd.run_layout import MODELS, RunLayout, usual_folder
from deepicd.spec.distill import TeacherSpec

_FIELD = "spec.stages.distill.teacher"


def teacher_model(teacher: TeacherSpec) -> str | None:
    """The folder or hub name of a teacher that the run serves; None for an endpoint.

    Raises:
        UserError: the other run has no trained model.
    """
    if teacher.run is None:
        return teacher.model
    named = Path(teacher.run)
    folder = named if named.is_dir() else usual_folder(teacher.run)
    layout = RunLayout(folder)
    for name in reversed(MODELS):
        made = layout.maker(name)
        if name != "base" and made.completed.exists() and made.model.is_dir():
            return str(made.model.resolve())
    raise UserError(
        f"{_FIELD}.run: {folder} is not a run with a trained model: give the folder of a finished run, or its name below runs/"
    )


def identity_of(teacher: TeacherSpec, model: str | None) -> str:
    """What an answer's key says of the model: its name at any endpoint, or its folder's path and the state of its files."""
    if model is None:
        return str(teacher.name)
    folder = Path(model)
    if not folder.is_dir():
        return model
    files = sorted(path for path in folder.iterdir() if path.is_file())
    state = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return f"{model} {sha256(json.dumps(state).encode()).hexdigest()}"
