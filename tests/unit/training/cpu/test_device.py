from __future__ import annotations

import pytest

from deepicd.training.cpu.device import Cpus


@pytest.mark.parametrize(("given", "threads"), [(None, "2"), ("4", "4")])
def test_forks_have_as_many_threads_as_the_user_says(given: str | None, threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert f"OMP_NUM_THREADS={threads}" in Cpus().python("/scratch", threads=2)
