"""Starts a process for each vLLM engine, so that all GPUs generate."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence


def run_engines(module: str, plan_file: str, engines: Sequence[Mapping[str, str]]) -> None:
    """Run `python -m MODULE PLAN NUMBER` for each engine; if one fails, end the others.

    Args:
        module: what to run.
        plan_file: its plan.
        engines: variables of the process of each, which say which GPUs it has.

    Raises:
        SystemExit: the process of an engine failed; it has written why, unless a signal ended it: then 128 and its number.
    """
    command = [sys.executable, "-m", module, plan_file]
    running = [
        subprocess.Popen([*command, str(number)], env={**os.environ, **variables}) for number, variables in enumerate(engines)
    ]
    try:
        while any(process.poll() is None for process in running):
            if any(process.poll() for process in running):
                break
            time.sleep(0.5)
    finally:
        for process in running:
            if process.poll() is None:
                process.terminate()
        codes = [process.wait() for process in running]
    if failed := [code for code in codes if code]:
        # One that was terminated failed after another one.
        code = max(failed)
        raise SystemExit(code if code > 0 else 128 - code)
