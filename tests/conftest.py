from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.storage.seaweed import Seaweed

# A busy machine is no failure.
settings.register_profile("deepicd", deadline=None)
settings.load_profile("deepicd")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """PyTorch draws the same numbers whatever ran before. It is not imported for that."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """The S3 server of all tests."""
    server = Seaweed(tmp_path_factory.mktemp("seaweed"))
    server.start()
    yield server
    server.kill()
