"""Throughput and peak memory of `deepicd data mimic`.

    python benchmarks/data_mimic.py --admissions 331793    # as many as MIMIC-IV-Note has summaries: 4 GB on disk

Synthetic tables of a tenth, a half and all of the admissions are made, each summary padded to the length of real ones
(about 10 kB), and extracted in a process of its own. Peak memory side by side shows whether it grows with the tables. CPU
time per MB of summaries is what to compare on a machine with other work. Tokens are not counted here.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LATER_WORDS = 1500
SHARES = (0.1, 0.5, 1.0)


def unpacked(path: Path) -> int:
    """Bytes of a packed file's content."""
    with gzip.open(path) as file:
        return sum(len(part) for part in iter(lambda: file.read(1 << 20), b""))


def extract(folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--extract", str(folder)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    measured: dict[str, float] = json.loads(result.stdout)
    return measured


def measure(folder: Path) -> None:
    from deepicd.data.mimic import extract as run
    from deepicd.spec.data import SplitSpec

    started, spent = time.perf_counter(), time.process_time()
    cohort = run(folder / "hosp", folder / "note", folder / "cohort", SplitSpec())
    seconds = time.perf_counter() - started
    cpu = time.process_time() - spent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps({"seconds": seconds, "cpu": cpu, "peak": peak, "kept": cohort.kept}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--admissions", type=int, default=100_000)
    parser.add_argument("--codes", type=int, default=500)
    parser.add_argument("--extract", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.extract is not None:
        measure(options.extract)
        return
    from deepicd.data.synthetic import write_tables
    from deepicd.spec.data import SyntheticSource

    print("admissions  generated     notes  extracted  per second  CPU per MB  peak memory")
    for share in SHARES:
        number = max(1, round(options.admissions * share))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            started = time.perf_counter()
            source = SyntheticSource(admissions=number, codes=options.codes)
            write_tables(source, folder, later_words=LATER_WORDS)
            generated = time.perf_counter() - started
            size = unpacked(folder / "note" / "discharge.csv.gz") / 1e6
            found = extract(folder)
        rate = number / found["seconds"]
        print(
            f"{number:>10,} {generated:>8.1f} s {size:>6.0f} MB {found['seconds']:>8.1f} s {rate:>9,.0f}/s "
            f"{1000 * found['cpu'] / size:>8.1f} ms {found['peak']:>8.0f} MiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
