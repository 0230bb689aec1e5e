from __future__ import annotations

import sys
from pathlib import Path

import pytest

# `--import-mode=importlib` leaves sys.path alone; these tests share two helper modules.
sys.path.insert(0, str(Path(__file__).parent))

from runs import prepared_cohort  # noqa: E402


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small prepared cohort."""
    return prepared_cohort(tmp_path_factory.mktemp("cohort"))
