"""What the plugin changes in a process of verl that Ray has started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Ray puts the working folder first before it loads an actor's code, which imports verl and so the plugin.
PROGRAM = """
import os, sys
sys.path.insert(0, os.getcwd())
import deepicd.training.grpo_plugin
print(os.getcwd() in sys.path)
"""


@pytest.mark.parametrize(("wanted", "stays"), [(False, "False"), (True, "True")], ids=["not asked for", "on PYTHONPATH"])
def test_rays_workers_do_not_look_in_the_working_folder(wanted: bool, stays: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": str(tmp_path) if wanted else ""}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == stays, done.stderr
