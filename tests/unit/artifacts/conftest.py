"""A store in a folder, and a trainer that writes as verl does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deepicd.artifacts.publish import Origin
from deepicd.artifacts.store.folder import FolderStore

Save = Callable[..., Path]


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture
def origin() -> Origin:
    return Origin("quickstart", "digest", {"verl": "0.9.1"})


@pytest.fixture
def save() -> Save:
    """Writes `global_step_N` into a folder, and verl's tracker last."""

    def save(folder: Path, step: int, content: str = "", *, tracker: bool = True) -> Path:
        place = folder / f"global_step_{step}"
        (place / "actor").mkdir(parents=True)
        (place / "actor" / "model.pt").write_text(f"weights {step} {content}")
        (place / "data.pt").write_text(f"order {step}")
        if tracker:
            (folder / "latest_checkpointed_iteration.txt").write_text(str(step))
        return place

    return save
