from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

MAKEFILE = Path(__file__).parents[3] / "Makefile"
MODULES = {"vl-convert-python": "vl_convert"}


def test_the_operator_imports_nothing_heavy_and_nothing_that_its_image_lacks() -> None:
    (listed,) = re.findall(r"UNUSED_BY_OPERATOR := \$\(foreach name,([^,]+),", MAKEFILE.read_text())
    left_out = {MODULES.get(name, name) for name in listed.replace("\\", " ").split()}
    assert len(left_out) > 5
    code = (
        "import sys, deepicd_operator.main, deepicd_operator.process, deepicd_operator.crd\n"
        "print(*(name for name in sys.argv[1:] if name in sys.modules))"
    )
    heavy = sorted(left_out | {"torch", "boto3", "botocore", "verl", "vllm", "ray"})
    found = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
