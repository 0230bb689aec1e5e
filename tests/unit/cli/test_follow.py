"""`deepicd run --verbose` shows the logs of the training stack."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from deepicd.cli.follow import FollowedLogs
from deepicd.run_layout import RunLayout


def test_what_is_added_to_the_logs_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = RunLayout(tmp_path).stage("grpo").log
    log.parent.mkdir(parents=True)
    log.write_text("of an earlier launch\n")
    prepare = RunLayout(tmp_path).stage("prepare")
    with FollowedLogs(tmp_path):
        with log.open("a") as file:
            file.write("step 1\n")
        prepare.folder.mkdir()
        prepare.model_log.write_text("the model\n")
    printed = capsys.readouterr().err
    assert "step 1\n" in printed
    assert "the model\n" in printed
    assert "earlier" not in printed


def test_a_log_that_is_written_again_is_shown_from_where_it_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = RunLayout(tmp_path).stage("prepare")
    stage.folder.mkdir(parents=True)
    stage.model_log.write_text("a long line of an earlier launch\n")
    with FollowedLogs(tmp_path):
        shutil.rmtree(stage.folder)
    assert capsys.readouterr().err == ""
