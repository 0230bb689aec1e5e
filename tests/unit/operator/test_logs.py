from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import logging, sys
from deepicd_operator import logs
logs.configure(sys.argv[1])
try:
    raise ValueError("an answer that nobody knows")
except ValueError:
    logging.getLogger("kopf").exception("the watch failed")
"""


@pytest.mark.parametrize(("level", "traceback"), [("info", False), ("debug", True)])
def test_a_traceback_of_a_library_is_for_debugging(level: str, traceback: bool) -> None:
    told = subprocess.run([sys.executable, "-c", PROGRAM, level], check=True, capture_output=True, text=True).stderr
    line = json.loads(told)
    assert line["event"] == "the watch failed"
    assert ("Traceback" in told) == traceback
    assert traceback or line["error"] == "ValueError: an answer that nobody knows"
