"""Upload and download, side by side on one S3 server: ours, s5cmd, rclone and boto3's own transfers.

    python benchmarks/s3_copy.py [--quick] [--rounds 3] [--dir FOLDER]

1 GiB as 8 files, 4 GiB as one file and 5,000 files of 4 KiB (`--quick`: a tenth of each) go to a SeaweedFS on loopback and
come back. Ours hashes what it sends, writes a manifest, and verifies what it fetches; the others run with their defaults, but
rclone with 16 transfers at once instead of 4. Each round takes the tools in another order; seconds are counted from the moment
a process is ready, so that Python's start-up, printed below, does not hide what a copy costs. The peak memory is the process's
own. Server and client share the machine: what is compared is the ratio.
Needs 25 GiB of free disk (`--quick`: 3 GiB), and SeaweedFS, s5cmd and rclone beside this Python.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

# The tests' server. It is loaded by its path: `tests` is no package, and installed packages may bring one of that name.
_SPEC = importlib.util.spec_from_file_location("seaweed", Path(__file__).parents[1] / "tests" / "storage" / "seaweed.py")
assert _SPEC is not None
assert _SPEC.loader is not None
seaweed = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(seaweed)

MIB = 2**20
BIN = Path(sys.executable).parent
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": seaweed.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": seaweed.SECRET_KEY, "AWS_REGION": "us-east-1"}
RCLONE = {
    "RCLONE_S3_ACCESS_KEY_ID": seaweed.ACCESS_KEY,
    "RCLONE_S3_SECRET_ACCESS_KEY": seaweed.SECRET_KEY,
    "RCLONE_CONFIG": os.devnull,
}
BUCKET: str = seaweed.BUCKET
TOOLS = ("ours", "s5cmd", "rclone", "boto3")


@dataclass(frozen=True)
class Case:
    """Files to copy."""

    name: str
    files: int
    size: int
    """Bytes of each."""


@dataclass(frozen=True)
class Cost:
    """What one copy took."""

    seconds: float
    cpu: float
    """Seconds of the process and its children."""
    peak: int
    """Largest resident size of the process, bytes."""
    start_up: float
    """Seconds from the command to being ready; 0 where a tool does not tell."""


def cases(quick: bool) -> list[Case]:
    part = 10 if quick else 1
    return [
        Case("1 GiB as 8 files", 8, 1024 * MIB // 8 // part),
        Case("4 GiB as one file", 1, 4096 * MIB // part),
        Case("5,000 files of 4 KiB", 5000 // part, 4096),
    ]


def make_files(folder: Path, case: Case) -> None:
    """Random bytes, no two mebibytes alike."""
    folder.mkdir(parents=True)
    block = bytearray(os.urandom(MIB))
    for number in range(case.files):
        with (folder / f"file-{number:05}").open("wb") as file:
            for start in range(0, case.size, MIB):
                block[:16] = os.urandom(16)
                file.write(memoryview(block)[: min(MIB, case.size - start)])


def command(tool: str, way: str, endpoint: str, folder: Path, prefix: str, scratch: Path) -> list[str]:
    """The command that copies a folder below a prefix (`up`), or back into a folder (`down`)."""
    if tool == "s5cmd":
        remote = f"s3://{BUCKET}/{prefix}/"
        pair = [f"{folder}/", remote] if way == "up" else [f"{remote}*", f"{folder}/"]
        return [str(BIN / "s5cmd"), "--log=error", f"--endpoint-url={endpoint}", "cp", *pair]
    if tool == "rclone":
        remote = f":s3:{BUCKET}/{prefix}"
        pair = [str(folder), remote] if way == "up" else [remote, str(folder)]
        options = ["--s3-provider=SeaweedFS", f"--s3-endpoint={endpoint}", "--s3-no-check-bucket", "--transfers=16"]
        return [str(BIN / "rclone"), "copy", *options, *pair]
    worker = [sys.executable, __file__, "--worker", tool, way]
    return [*worker, endpoint, str(folder), prefix, str(scratch / "ready")]


def run(arguments: list[str], scratch: Path) -> Cost:
    """Run one copy to its end."""
    ready = scratch / "ready"
    ready.unlink(missing_ok=True)
    began = time.monotonic()
    with (scratch / "log").open("wb") as log:
        process = subprocess.Popen(arguments, env={**os.environ, **ENVIRONMENT, **RCLONE}, stdout=log, stderr=log)
    peak = 0
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        peak = max(peak, resident_peak(process.pid))
        time.sleep(0.005)
    ended = time.monotonic()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{arguments[0]} failed: {(scratch / 'log').read_text()[-2000:]}")
    start, cpu = json.loads(ready.read_text()) if ready.exists() else (began, 0.0)
    return Cost(ended - start, usage.ru_utime + usage.ru_stime - cpu, peak, start - began)


def resident_peak(pid: int) -> int:
    """The largest resident size so far, bytes."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def worker(tool: str, way: str, endpoint: str, folder: Path, prefix: str, ready: Path) -> None:
    """One copy in this process, by our store or by boto3's transfer manager."""
    copy = {"ours": ours, "boto3": plain_boto3}[tool](way, endpoint, folder, prefix)
    ready.write_text(json.dumps([time.monotonic(), time.process_time()]))
    copy()


def ours(way: str, endpoint: str, folder: Path, prefix: str) -> Callable[[], None]:
    from deepicd.artifacts.store import Transferred, open_store

    store = open_store(f"s3://{BUCKET}/{prefix}", endpoint_url=endpoint)

    def up() -> None:
        sent = store.upload([(path, path.name) for path in sorted(folder.iterdir())])
        store.write("manifest.json", json.dumps([asdict(item) for item in sent]).encode(), if_absent=True)

    def down() -> None:
        manifest = store.read("manifest.json")
        assert manifest is not None
        items = [Transferred(**item) for item in json.loads(manifest[0])]
        store.download([(item.key, folder / item.key, item) for item in items])

    return up if way == "up" else down


def plain_boto3(way: str, endpoint: str, folder: Path, prefix: str) -> Callable[[], None]:
    import boto3
    from boto3.s3.transfer import TransferConfig, create_transfer_manager
    from botocore.config import Config

    config = Config(s3={"addressing_style": "path"}, max_pool_connections=10)
    client = boto3.client("s3", endpoint_url=endpoint, config=config)

    def up() -> None:
        with create_transfer_manager(client, TransferConfig()) as manager:
            futures = [manager.upload(str(path), BUCKET, f"{prefix}/{path.name}") for path in sorted(folder.iterdir())]
            for future in futures:
                future.result()

    def down() -> None:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        with create_transfer_manager(client, TransferConfig()) as manager:
            futures = [manager.download(BUCKET, key, str(folder / Path(key).name)) for key in keys]
            for future in futures:
                future.result()

    return up if way == "up" else down


def compare(case: Case, rounds: int, server: Any, scratch: Path) -> Iterator[tuple[str, str, Cost]]:
    """Each tool's copies of one case: `up` and `down`, its name, what it took."""
    source = scratch / "source"
    make_files(source, case)
    for number in range(rounds):
        for tool in TOOLS[number % len(TOOLS) :] + TOOLS[: number % len(TOOLS)]:
            prefix, target = f"{tool}-{number}", scratch / "target"
            target.mkdir()
            yield "up", tool, run(command(tool, "up", server.endpoint, source, prefix, scratch), scratch)
            yield "down", tool, run(command(tool, "down", server.endpoint, target, prefix, scratch), scratch)
            same = [(target / path.name).stat().st_size == case.size for path in source.iterdir()]
            assert all(same), f"{tool} fetched something else"
            shutil.rmtree(target)
    shutil.rmtree(source)


def show(case: Case, way: str, costs: dict[str, list[Cost]]) -> None:
    gib = case.files * case.size / 2**30
    seconds = {tool: median(cost.seconds for cost in costs[tool]) for tool in TOOLS}
    # Rounds are compared pairwise: another load on the machine weighs on all tools of a round.
    fastest = [min(costs[tool][number].seconds for tool in TOOLS[1:]) for number in range(len(costs["ours"]))]
    print(f"\n{case.name}, {'upload' if way == 'up' else 'download'} ({case.files} × {case.size:,} bytes)")
    print(f"  {'':8}{'seconds':>9}{'MiB/s':>9}{'files/s':>9}{'CPU s/GiB':>11}{'peak MiB':>10}{'against the fastest other':>27}")
    for tool in TOOLS:
        ratio = median(cost.seconds / best for cost, best in zip(costs[tool], fastest, strict=True))
        cpu = median(cost.cpu for cost in costs[tool]) / gib
        peak = max(cost.peak for cost in costs[tool]) / MIB
        rate, files = gib * 1024 / seconds[tool], case.files / seconds[tool]
        print(f"  {tool:8}{seconds[tool]:9.2f}{rate:9.1f}{files:9.1f}{cpu:11.1f}{peak:10.0f}{ratio:26.2f}×", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", type=Path, default=None, help="where files and the server's data are made")
    parser.add_argument("--case", type=int, action="append", choices=range(3), help="only these cases, by number")
    parser.add_argument("--worker", nargs=6, help=argparse.SUPPRESS)
    options: Any = parser.parse_args()
    if options.worker:
        tool, way, endpoint, folder, prefix, ready = options.worker
        worker(tool, way, endpoint, Path(folder), prefix, Path(ready))
        return
    start_up: list[float] = []
    for number, case in enumerate(cases(options.quick)):
        if options.case and number not in options.case:
            continue
        # A server for each case: what it holds of deleted objects does not add up on the disk.
        with tempfile.TemporaryDirectory(prefix="s3-copy-", dir=options.dir) as made:
            server = seaweed.Seaweed(Path(made) / "seaweed")
            server.start()
            try:
                costs: dict[str, dict[str, list[Cost]]] = defaultdict(lambda: defaultdict(list))
                for way, tool, cost in compare(case, options.rounds, server, Path(made)):
                    costs[way][tool].append(cost)
                    start_up += [cost.start_up] if tool == "ours" else []
                for way in ("up", "down"):
                    show(case, way, costs[way])
            finally:
                server.kill()
    print(f"\nours is ready {median(start_up):.2f} s after the command")


if __name__ == "__main__":
    main()
