from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "verl", "vllm", "ray", "transformers", "vl_convert", "duckdb", "pyarrow", "pandas", "hydra"}


@pytest.mark.parametrize("module", ["deepicd.spec", "deepicd.cli.main", "deepicd.rewards", "deepicd.evaluation.metrics"])
def test_importing_a_light_module_pulls_in_nothing_heavy(module: str) -> None:
    show = f"import {module}, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True).stdout.split()
    assert HEAVY & set(loaded) == set()
