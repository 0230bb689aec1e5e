from __future__ import annotations

import pytest

from deepicd.training.cpu.device import Cpus


@pytest.mark.parametrize(("said", "threads"), [(None, "2"), ("4", "4")])
def test_forks_have_as_many_threads_as_the_user_says(said: str | None, threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert f"OMP_NUM_THREADS={threads}" in Cpus().python("/scratch", threads=2)
