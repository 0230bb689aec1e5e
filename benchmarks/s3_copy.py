"""Uploads and downloads compared with the best copy tools, on one S3 server on this machine.

    python benchmarks/s3_copy.py [--quick] [--rounds 3] [--dir FOLDER] [--tools deepicd,s5cmd]

Ours uploads with SHA-256 of every file and puts a manifest; it verifies what it downloads. The others (s5cmd, rclone, boto3's
transfer manager) copy to keys as long as ours with their defaults, and as many connections. Each tool is a process of its own,
in turn, on random data: 5,000 files of 4 KiB, 1 GiB as 8 files, 4 GiB as one file (--quick: an eighth of it all). Printed:
median seconds and their ratio to ours, CPU seconds of the tool, and its peak memory (RSS).
"""

from __future__ import annotations

import argparse
import os
import resource
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

GIB = 2**30

# By its path: verl installs a package `tests` that hides ours.
_seaweed = runpy.run_path(str(Path(__file__).parents[1] / "tests" / "storage" / "seaweed.py"))
Seaweed, BUCKET = _seaweed["Seaweed"], str(_seaweed["BUCKET"])
ACCESS_KEY, SECRET_KEY = str(_seaweed["ACCESS_KEY"]), str(_seaweed["SECRET_KEY"])

OURS = """
import sys
from pathlib import Path
from deepicd.artifacts.store import open_store
from deepicd.artifacts.layout import CheckpointRef
from deepicd.artifacts.publish import Origin, publish
from deepicd.artifacts.restore import fetch, read_manifest
direction, endpoint, prefix, folder = sys.argv[1:]
store = open_store("s3://BUCKET/" + prefix, endpoint_url=endpoint)
ref = CheckpointRef(1, "grpo", 1)
if direction == "up":
    publish(store, ref, Path(folder), Origin("benchmark"))
else:
    fetch(store, read_manifest(store, ref), Path(folder) / "checkpoint")
""".replace("BUCKET", BUCKET)

BOTO3 = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
direction, endpoint, prefix, folder = sys.argv[1:]
client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1",
                      config=Config(s3={"addressing_style": "path"}, max_pool_connections=16))
settings = TransferConfig(max_concurrency=8)
def up(path):
    client.upload_file(str(path), "BUCKET", prefix + "/" + path.name, Config=settings)
def down(key):
    client.download_file("BUCKET", key, str(Path(folder) / key.rpartition("/")[2]), Config=settings)
with ThreadPoolExecutor(8) as pool:
    if direction == "up":
        list(pool.map(up, Path(folder).iterdir()))
    else:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket="BUCKET", Prefix=prefix + "/")
        list(pool.map(down, [item["Key"] for page in pages for item in page["Contents"]]))
""".replace("BUCKET", BUCKET)


def commands(tool: str, direction: str, endpoint: str, prefix: str, folder: Path) -> list[str]:
    """The command of a tool for one direction."""
    programs = Path(sys.executable).parent
    remote = f"s3://{BUCKET}/{prefix}/"
    if tool in {"deepicd", "boto3"}:
        return [sys.executable, "-c", OURS if tool == "deepicd" else BOTO3, direction, endpoint, prefix, str(folder)]
    if tool == "s5cmd":
        pair = [f"{folder}/", remote] if direction == "up" else [f"{remote}*", f"{folder}/"]
        return [str(programs / "s5cmd"), "--log", "error", "--endpoint-url", endpoint, "cp", *pair]
    store = f":s3,provider=Other,env_auth=true,endpoint='{endpoint}',force_path_style=true:{BUCKET}/{prefix}"
    pair = [str(folder), store] if direction == "up" else [store, str(folder)]
    return [str(programs / "rclone"), "copy", "--config", os.devnull, "--transfers", "8", "--s3-no-check-bucket", *pair]


def measured(command: list[str]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak MiB of one process."""
    environment = {
        **os.environ, "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": "us-east-1",
    }  # fmt: skip
    began = time.monotonic()
    process = subprocess.Popen(command, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{command[0]} failed")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def fill(folder: Path, sizes: list[int]) -> None:
    folder.mkdir()
    for number, size in enumerate(sizes):
        with (folder / f"file-{number:05}").open("wb") as file:
            # In small pieces: a child's peak memory is never less than what its parent had.
            for start in range(0, size, 2**20):
                file.write(os.urandom(min(2**20, size - start)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tools", default="deepicd,s5cmd,rclone,boto3")
    parser.add_argument("--dir", type=Path, default=None, help="where 12 GiB fit")
    options = parser.parse_args()
    share = 8 if options.quick else 1
    # Many files come first: ext4 takes milliseconds to make a file for some minutes after thousands were deleted.
    cases = {
        "5,000 files of 4 KiB": [4096] * (5000 // share),
        "1 GiB as 8 files": [GIB // 8 // share] * 8,
        "4 GiB as one file": [4 * GIB // share],
    }
    tools = options.tools.split(",")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory(dir=options.dir) as name:
        place = Path(name)
        for case, sizes in cases.items():
            server = Seaweed(place / "server")
            server.start()
            fill(place / "source", sizes)
            found: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
            for number in range(options.rounds):
                # In a different order each round: the first tool meets the coldest server.
                for tool in tools[number % len(tools) :] + tools[: number % len(tools)]:
                    prefix, out = f"{tool}-{number}", place / f"out-{tool}-{number}"
                    keys = prefix if tool == "deepicd" else f"{prefix}/attempts/1/checkpoints/step-000001"
                    up = measured(commands(tool, "up", server.endpoint, keys, place / "source"))
                    out.mkdir()
                    down = measured(commands(tool, "down", server.endpoint, keys, out))
                    if len(sizes) < 100:
                        shutil.rmtree(out)
                    found.setdefault((tool, "up"), []).append(up)
                    found.setdefault((tool, "down"), []).append(down)
                    if len(sizes) > 100:
                        continue
                    client = server.client("admin", "admin-secret")
                    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/"):
                        client.delete_objects(
                            Bucket=BUCKET, Delete={"Objects": [{"Key": item["Key"]} for item in page["Contents"]]}
                        )
            server.kill()
            shutil.rmtree(place / "server")
            shutil.rmtree(place / "source")
            for out in place.glob("out-*"):
                shutil.rmtree(out)
            for direction in ("up", "down"):
                ours = median(wall for wall, _, _ in found["deepicd", direction])
                for tool in tools:
                    wall, cpu, memory = (median(values) for values in zip(*found[tool, direction], strict=True))
                    figures = f"{wall:6.2f} s  x{wall / ours:.2f}  {cpu:6.2f} CPU s  {memory:5.0f} MiB"
                    print(f"{case:22} {direction:4} {tool:8} {figures}", flush=True)


if __name__ == "__main__":
    main()
