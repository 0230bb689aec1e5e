from __future__ import annotations

import subprocess
import sys


def test_the_operator_imports_nothing_heavy() -> None:
    code = (
        "import sys, deepicd_operator.main, deepicd_operator.process, deepicd_operator.crd\n"
        "print(*sorted({'torch', 'boto3', 'botocore', 'duckdb', 'pyarrow', 'numpy', 'verl', 'matplotlib'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
