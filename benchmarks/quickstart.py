"""Time and peak memory of the quickstart, from nothing to its report.

    python benchmarks/quickstart.py

Memory is the proportional set size (PSS) of the whole process tree, sampled every second: shared pages count once.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

QUICKSTART = Path(__file__).parents[1] / "manifests" / "samples" / "quickstart.yaml"


def pss(pid: int) -> int:
    """Proportional set size of a process in bytes, 0 once it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        command = [str(Path(sys.executable).with_name("deepicd")), "run", str(QUICKSTART), "--dir", folder]
        with (Path(folder) / "log").open("w+") as log:
            process = psutil.Popen(command, stdout=log, stderr=subprocess.STDOUT)
            peak = 0
            while process.poll() is None:
                with contextlib.suppress(psutil.NoSuchProcess):
                    peak = max(peak, sum(pss(child.pid) for child in (process, *process.children(recursive=True))))
                time.sleep(1)
            seconds = time.monotonic() - began
            log.seek(0)
            lines = log.read().splitlines()
    print("\n".join(line for line in lines if "[info" not in line))
    print(f"quickstart: {seconds / 60:.1f} min, {peak / 2**30:.1f} GiB at its peak, exit code {process.returncode}")


if __name__ == "__main__":
    main()
