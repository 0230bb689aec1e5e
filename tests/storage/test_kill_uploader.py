"""An uploader that is killed at any point, and restarted: nothing is lost, nothing half-written, no garbage stays."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest

from deepicd.artifacts import latest
from deepicd.artifacts.claim import choose_attempt, sole_writer
from deepicd.artifacts.layout import CheckpointRef, manifest_key, parse_committed
from deepicd.artifacts.local_layout import VerlFolder
from deepicd.artifacts.prune import delete_proposed, propose
from deepicd.artifacts.publish import Origin, publish
from deepicd.artifacts.restore import restore_checkpoint
from deepicd.artifacts.retention import Keep, committed
from deepicd.artifacts.store.base import Store
from deepicd.artifacts.store.folder import FolderStore
from deepicd.artifacts.sync import Sync
from deepicd.artifacts.verify import verify
from deepicd.errors import UserError
from tests.storage.conftest import MakeS3
from tests.storage.seaweed import BUCKET, Seaweed

KILLS = [10, pytest.param(100, marks=pytest.mark.long)]
"""With each kind of store."""
ORIGIN = Origin("killed", versions={})
MIB = 2**20


class Trainer:
    """Writes checkpoints as verl does, and deletes old ones as soon as they are durable."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.step = 0
        self._large = folder.parent / "large"
        self._large.write_bytes(os.urandom(9 * MIB))

    def save(self) -> None:
        self.step += 1
        place = self.folder / f"global_step_{self.step}"
        (place / "actor").mkdir(parents=True)
        for name in ("actor/model.pt", "actor/optim.pt", "data.pt"):
            (place / name).write_bytes(os.urandom(2000))
        if self.step % 4 == 0:  # large enough for an upload in parts
            (place / "actor" / "large.pt").hardlink_to(self._large)
        (self.folder / "latest_checkpointed_iteration.txt").write_text(str(self.step))

    def clean_up(self) -> None:
        for step in range(1, self.step - 1):
            if (self.folder / f"global_step_{step}.durable").exists():
                shutil.rmtree(self.folder / f"global_step_{step}", ignore_errors=True)


def upload(store: Store, folder: Path, *, daemon: bool) -> None:
    with sole_writer(folder) as writer:
        work = Sync(store, choose_attempt(store, folder, writer, 1, {}), VerlFolder(folder), ORIGIN)
        if daemon:
            work.start()
            work.join()
        work.once()


def in_child(act: Callable[[], None]) -> int:
    """Fork: a process that has everything imported begins to upload within a millisecond."""
    child = os.fork()
    if child:
        return child
    try:
        act()
    except BaseException:
        os._exit(1)
    os._exit(0)


def kill(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def unlisted(store: Store) -> list[str]:
    """Keys below a checkpoint's folder that its manifest does not list."""
    listed = {
        key
        for ref in committed(store.list())
        for key in (manifest_key(ref), *(file.key for file in verify(store, ref).transfers()))
    }
    return [item.key for item in store.list() if parse_committed(item.key) and item.key not in listed]


@pytest.fixture
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """A new store object on the same place: a child's store object is not shared."""
    if request.param == "folder":
        return lambda: FolderStore(tmp_path / "store")
    make_s3: MakeS3 = request.getfixturevalue("make_s3")
    return make_s3


@pytest.mark.parametrize("kills", KILLS)
@pytest.mark.parametrize("make_store", ["folder", "s3"], indirect=True)
def test_killed_at_random_points_and_started_again(make_store: Callable[[], Store], tmp_path: Path, kills: int) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    trainer, chance = Trainer(folder), random.Random(0)
    store, unused = make_store(), make_store()
    reach, cut_off, half_written = 0.1, 0, 0
    for number in range(kills):
        trainer.save()
        newest = CheckpointRef(1, "grpo", trainer.step)
        child = in_child(lambda daemon=number % 2 == 0: upload(unused, folder, daemon=daemon))  # type: ignore[misc]
        time.sleep(chance.uniform(0, reach))
        kill(child)
        if store.read(manifest_key(newest)) is None:
            cut_off += 1
            half_written += any(store.list(f"{newest.folder}/"))
            reach *= 1.1
        else:
            reach /= 1.1  # most kills should come before the end
        trainer.clean_up()
        if found := latest.read(store):
            verify(store, found.ref)
    if kills >= 100:  # a few may all come too late
        assert cut_off > kills / 4
        assert half_written
    upload(store, folder, daemon=False)
    finished = [CheckpointRef(1, "grpo", step) for step in range(1, trainer.step + 1)]
    assert committed(store.list()) == finished
    for ref in finished:
        verify(store, ref)
    found = latest.read(store)
    assert found is not None
    assert found.ref == finished[-1]
    delete_proposed(store, propose(store, Keep(last=10**6), timedelta()), timedelta())
    assert committed(store.list()) == finished
    assert unlisted(store) == []


def test_killed_for_good_leaves_nothing_after_a_clean_up(make_s3: MakeS3, seaweed: Seaweed, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    trainer, chance = Trainer(folder), random.Random(1)
    store, unused = make_s3(), make_s3()
    for _ in range(20):
        trainer.step += 3 - trainer.step % 4  # each one has a large file
        trainer.save()
        child = in_child(lambda: upload(unused, folder, daemon=False))
        time.sleep(chance.uniform(0.02, 0.15))
        kill(child)
        shutil.rmtree(folder / f"global_step_{trainer.step}")  # this one never comes again
    delete_proposed(store, propose(store, Keep(last=10**6), timedelta()), timedelta(seconds=-1))
    assert unlisted(store) == []
    left = seaweed.client().list_multipart_uploads(Bucket=BUCKET, Prefix=f"{tmp_path.name}/")
    assert left.get("Uploads", []) == []


@pytest.mark.parametrize("make_store", ["folder", "s3"], indirect=True)
def test_one_of_the_writers_that_start_together_with_one_attempt_wins(make_store: Callable[[], Store], tmp_path: Path) -> None:
    for number in range(4):
        Path(tmp_path, str(number)).mkdir()
        Trainer(tmp_path / str(number)).save()
    stores = [make_store() for _ in range(4)]

    def contend(number: int) -> NoReturn:
        try:
            upload(stores[number], tmp_path / str(number), daemon=False)
        except UserError as error:
            os._exit(64 if "attempt 1 is being written by another process" in str(error) else 1)
        os._exit(0)

    children = [in_child(lambda number=number: contend(number)) for number in range(4)]  # type: ignore[misc]
    codes = sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
    assert codes == [0, 64, 64, 64]
    assert committed(make_store().list()) == [CheckpointRef(1, "grpo", 1)]


@pytest.mark.parametrize("make_store", ["folder", "s3"], indirect=True)
def test_an_old_attempt_that_wakes_up_changes_nothing_of_a_newer_one(make_store: Callable[[], Store], tmp_path: Path) -> None:
    store = make_store()
    trainer = Trainer(tmp_path / "old")
    for _ in range(3):
        trainer.save()
    old, new = CheckpointRef(1, "grpo", 3), CheckpointRef(2, "grpo", 2)
    publish(store, new, trainer.folder / "global_step_2", ORIGIN)
    before = {item.key: store.read(item.key) for item in store.list()}
    publish(store, old, trainer.folder / "global_step_3", ORIGIN)
    assert {key: store.read(key) for key in before} == before
    assert restore_checkpoint(store, "grpo", tmp_path / "machine") == new
