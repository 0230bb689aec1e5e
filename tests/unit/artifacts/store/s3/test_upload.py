from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepicd.artifacts.store.base import ChangedError
from deepicd.artifacts.store.s3.parallel import PART_BYTES
from deepicd.artifacts.store.s3.upload import MOST_PARTS, part_size, read_exactly

TIB = 2**40


@given(st.integers(min_value=1, max_value=5 * TIB))
def test_a_file_of_any_size_has_few_enough_parts_and_no_larger_ones_than_it_must(size: int) -> None:
    part = part_size(size)
    assert part * MOST_PARTS >= size
    assert part == PART_BYTES or (part - 2**20) * MOST_PARTS < size


def test_a_file_that_became_shorter_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"123")
    with path.open("rb") as file, pytest.raises(ChangedError, match="file"):
        read_exactly(file, 4)
