from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.runs import prepared_cohort


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small prepared cohort."""
    return prepared_cohort(tmp_path_factory.mktemp("cohort"))
