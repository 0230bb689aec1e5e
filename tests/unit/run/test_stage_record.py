from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deepicd.errors import UserError
from deepicd.run.stage_record import StageRecord, digest, first_difference, locked, seconds
from deepicd.run_layout import StageLayout


def test_a_second_run_on_the_same_folder_is_refused_and_the_holder_named(tmp_path: Path) -> None:
    hold = (
        "import sys, pathlib; from deepicd.run.stage_record import locked\n"
        "with locked(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=rf"uses it \(process {holder.pid}\)"), locked(tmp_path):
        pass
    holder.kill()
    holder.communicate()
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"), locked(tmp_path / "file" / "run"):
        pass


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_the_first_difference_is_named_by_its_field() -> None:
    before = {"stages": {"sft": {"learningRate": 1, "epochs": 1}}}
    after = {"stages": {"sft": {"learningRate": 2, "epochs": 1}}}
    assert first_difference(before, after) == "stages.sft.learningRate"


def test_a_stage_is_complete_only_for_the_inputs_it_was_made_from(tmp_path: Path) -> None:
    record = StageRecord(StageLayout(tmp_path / "stages" / "sft"), {"epochs": 1})
    record.begin()
    assert record.completed() is None
    record.complete(12.34)
    assert StageRecord(StageLayout(tmp_path / "stages" / "sft"), {"epochs": 1}).completed() == {
        "digest": record.digest,
        "seconds": 12.3,
    }
    assert StageRecord(StageLayout(tmp_path / "stages" / "sft"), {"epochs": 2}).completed() is None


def test_other_settings_on_a_finished_stage_are_refused_by_field(tmp_path: Path) -> None:
    record = StageRecord(StageLayout(tmp_path / "sft"), {"stages": {"sft": {"epochs": 1}}})
    record.begin()
    record.complete(1.0)
    with pytest.raises(UserError, match=r"stages\.sft\.epochs differs"):
        StageRecord(StageLayout(tmp_path / "sft"), {"stages": {"sft": {"epochs": 2}}}).check()


def test_other_settings_are_refused_where_there_is_a_checkpoint(tmp_path: Path) -> None:
    StageRecord(StageLayout(tmp_path / "sft"), {"epochs": 1}).begin()
    (tmp_path / "sft" / "checkpoints").mkdir(parents=True)
    (tmp_path / "sft" / "checkpoints" / "latest_checkpointed_iteration.txt").write_text("5")
    with pytest.raises(UserError, match="epochs differs"):
        StageRecord(StageLayout(tmp_path / "sft"), {"epochs": 2}).check()


def test_a_stage_with_nothing_to_lose_takes_other_settings(tmp_path: Path) -> None:
    StageRecord(StageLayout(tmp_path / "sft"), {"epochs": 1}).begin()
    StageRecord(StageLayout(tmp_path / "sft"), {"epochs": 2}).check()


def test_what_may_change_is_no_other_setting(tmp_path: Path) -> None:
    record = StageRecord(StageLayout(tmp_path / "sft"), {"stages": {"sft": {"epochs": 1, "microBatchSizePerGpu": 8}}})
    record.begin()
    record.complete(1.0)
    lowered = StageRecord(StageLayout(tmp_path / "sft"), {"stages": {"sft": {"epochs": 1}}})
    lowered.check()
    assert lowered.completed() is not None
    assert lowered.digest == record.digest


@pytest.mark.parametrize("damage", ["", '{"digest": ', "[]", "{}", "null", "\x00"])
def test_a_damaged_marker_is_named_and_not_taken_for_a_finished_stage(damage: str, tmp_path: Path) -> None:
    place = StageLayout(tmp_path / "sft")
    record = StageRecord(place, {"seed": 1})
    record.begin()
    record.complete(3.0)
    assert seconds(place.completed) == 3.0
    place.completed.write_text(damage)
    for read in (record.completed, lambda: seconds(place.completed)):
        with pytest.raises(UserError, match=r"sft\.completed\.json: is damaged: delete it"):
            read()


@pytest.mark.parametrize("damage", ["", "[]", '{"seed": '])
def test_damaged_inputs_are_named(damage: str, tmp_path: Path) -> None:
    place = StageLayout(tmp_path / "sft")
    StageRecord(place, {"seed": 1}).begin()
    place.inputs.write_text(damage)
    with pytest.raises(UserError, match=r"sft\.inputs\.json: is damaged"):
        StageRecord(place, {"seed": 1})
