from __future__ import annotations

import subprocess
import sys

LOOK = """
import os
from deepicd.training.cpu.vllm_plugin import register
register()
from vllm.model_executor.models import registry
print(registry._run_in_subprocess(os.getpid) == os.getpid())
"""


def test_what_vllm_asks_another_process_is_answered_in_this_one() -> None:
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "True"
