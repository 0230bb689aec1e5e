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
    raise ValueError("an unexpected response")
except ValueError:
    logging.getLogger("kopf").exception("the watch failed")
"""


@pytest.mark.parametrize(("level", "traceback"), [("info", False), ("debug", True)])
def test_a_librarys_traceback_is_logged_only_at_debug(level: str, traceback: bool) -> None:
    output = subprocess.run([sys.executable, "-c", PROGRAM, level], check=True, capture_output=True, text=True).stderr
    line = json.loads(output)
    assert line["event"] == "the watch failed"
    assert ("Traceback" in output) == traceback
    assert traceback or line["error"] == "ValueError: an unexpected response"
