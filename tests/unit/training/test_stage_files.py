from __future__ import annotations

from pathlib import Path

import pytest

from deepicd.errors import CrashError, DeepICDError, JudgeError, RewardCodeError, UserError
from deepicd.training.stage_files import StageFiles


@pytest.mark.parametrize("kind", [CrashError, JudgeError, RewardCodeError, UserError])
def test_a_failure_keeps_its_kind_and_text(kind: type[DeepICDError], tmp_path: Path) -> None:
    files = StageFiles(tmp_path)
    assert files.reported_failure() is None
    files.report_failure(kind("reward: is broken: fix it"))
    failure = files.reported_failure()
    assert (type(failure), str(failure)) == (kind, "reward: is broken: fix it")


def test_the_first_failure_counts(tmp_path: Path) -> None:
    files = StageFiles(tmp_path)
    files.report_failure(UserError("first"))
    files.report_failure(CrashError("second"))
    assert str(files.reported_failure()) == "first"


def test_a_half_written_failure_is_none_yet(tmp_path: Path) -> None:
    files = StageFiles(tmp_path)
    files.failure.write_text('{"message": "fir')
    assert files.reported_failure() is None
