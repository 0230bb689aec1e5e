"""Reading the test split."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepicd.evaluation.engine import read_admissions


@pytest.mark.parametrize("key", ["id", "hadm_id"])
def test_admissions_have_their_id_whatever_the_cohort_calls_it(tmp_path: Path, key: str) -> None:
    table = pa.table(
        {key: [7, 8, 9], "subject_id": [1, 2, 3], "code": ["I10"] * 3, "prompt": [[]] * 3, "extra_info": [{"a": 1}] * 3}
    )
    pq.write_table(table, tmp_path / "test.parquet")
    assert [row["id"] for row in read_admissions(tmp_path / "test.parquet", 2)] == [7, 8]
