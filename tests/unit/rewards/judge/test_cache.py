from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deepicd.rewards.judge.cache import FILE, Cache

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


def test_verdicts_are_there_again(tmp_path: Path) -> None:
    Cache(tmp_path / "judge").add({A: (True, False), B: (False, False)})
    again = Cache(tmp_path / "judge")
    assert (again.get(A, 2), again.get(B, 2), again.get(C, 2)) == ((True, False), (False, False), None)


def test_without_a_folder_verdicts_stay_in_memory() -> None:
    cache = Cache(None)
    cache.add({A: (True,)})
    assert cache.get(A, 1) == (True,)


def test_a_verdict_of_another_length_is_unknown(tmp_path: Path) -> None:
    Cache(tmp_path).add({A: (True, False)})
    assert Cache(tmp_path).get(A, 3) is None


@pytest.mark.parametrize("torn", ['{"key": "' + C, '{"key": "' + C + '", "answers": "yn', "\x00\x00\x00", "\xff"])
def test_a_torn_line_costs_only_itself(torn: str, tmp_path: Path) -> None:
    Cache(tmp_path).add({A: (True, False)})
    with (tmp_path / FILE).open("a", encoding="latin-1") as file:
        file.write(torn)
    cache = Cache(tmp_path)
    assert cache.get(C, 2) is None
    cache.add({B: (True, True)})
    again = Cache(tmp_path)
    assert (again.get(A, 2), again.get(B, 2), again.get(C, 2)) == ((True, False), (True, True), None)


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    Cache(tmp_path).add({A: (True,)})
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


WRITER = """
import sys
from hashlib import sha256
from pathlib import Path
from deepicd.rewards.judge.cache import Cache
cache = Cache(Path(sys.argv[1]))
for number in range(10**9):
    cache.add({sha256(f"{number} {place}".encode()).hexdigest(): (True, False) * 4 for place in range(64)})
    print(number, flush=True)
"""


def test_a_killed_process_loses_no_verdict_that_it_kept(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    kept = 0
    for line in writer.stdout:
        kept = int(line) + 1
        if kept == 20:
            os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    assert len(Cache(tmp_path)) >= 64 * kept
