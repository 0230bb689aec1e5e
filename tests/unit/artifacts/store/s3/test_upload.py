from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepicd.artifacts.store.base import ChangedError
from deepicd.artifacts.store.s3 import upload as module
from deepicd.artifacts.store.s3.client import Bucket
from deepicd.artifacts.store.s3.upload import MOST_PARTS, PART_BYTES, Uploader, fill, ignore, part_size

TIB = 2**40
MIB = 2**20


@given(st.integers(min_value=1, max_value=5 * TIB))
def test_a_file_of_any_size_has_few_enough_parts_and_no_larger_ones_than_it_must(size: int) -> None:
    part = part_size(size)
    assert part * MOST_PARTS >= size
    assert part == PART_BYTES or (part - 2**20) * MOST_PARTS < size


def test_a_file_that_became_shorter_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"123")
    with path.open("rb") as file, pytest.raises(ChangedError, match="file"):
        fill(memoryview(bytearray(4)), file)


class SlowBucket:
    """Answers no part before a number of parts are in flight together."""

    url = "s3://bucket"

    def __init__(self, awaited: int) -> None:
        self.most = self._now = 0
        self._awaited = awaited
        self._change = threading.Condition()

    def call(self, operation: str, **_: Any) -> dict[str, Any]:
        return {"UploadId": "1"} if operation == "create_multipart_upload" else {}

    def request(self, name: str, act: Callable[[Any], str], stop: threading.Event) -> str:
        with self._change:
            self._now += 1
            self.most = max(self.most, self._now)
            self._change.notify_all()
            assert self._change.wait_for(lambda: self.most >= self._awaited, 30)
        time.sleep(0.02)  # one too many would arrive in this time
        with self._change:
            self._now -= 1
        return '"etag"'


def most_at_once(files: list[Path], awaited: int) -> int:
    bucket = SlowBucket(awaited)
    Uploader(cast("Bucket", bucket), ignore).upload([(path, path.name) for path in files], ignore)
    return bucket.most


def sparse(folder: Path, number: int, size: int) -> Path:
    path = folder / str(number)
    with path.open("wb") as file:
        file.truncate(size)
    return path


def test_all_files_together_hold_no_more_parts_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART_BYTES", MIB)
    monkeypatch.setattr(module, "MEMORY_BYTES", 12 * MIB)
    assert most_at_once([sparse(tmp_path, number, 20 * MIB) for number in range(8)], awaited=12) == 12


@pytest.mark.parametrize(("parts", "most"), [(32, 8), (8, 3), (1, 1)])
def test_a_file_of_larger_parts_has_fewer_on_their_way(
    parts: int, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """32 MiB in 32, 8 or 1 parts, and 12 MiB of memory."""
    monkeypatch.setattr(module, "PART_BYTES", MIB)
    monkeypatch.setattr(module, "MEMORY_BYTES", 12 * MIB)
    monkeypatch.setattr(module, "MOST_PARTS", parts)
    assert most_at_once([sparse(tmp_path, 0, 32 * MIB)], awaited=most) == most
