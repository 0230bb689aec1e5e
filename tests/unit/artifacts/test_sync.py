from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepicd.artifacts import latest, sync
from deepicd.artifacts.layout import CheckpointRef, manifest_key
from deepicd.artifacts.local_layout import Complete, VerlFolder
from deepicd.artifacts.publish import Origin
from deepicd.artifacts.restore import restore_checkpoint
from deepicd.artifacts.retention import Keep, committed, read_manifests
from deepicd.artifacts.store.base import ChangedError, OnBytes, Transferred
from deepicd.artifacts.store.folder import FolderStore
from deepicd.artifacts.sync import MissingError, Sync, next_upload
from deepicd.errors import StoreError, UserError

Save = Callable[..., Path]
SECONDS = 60.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(sync, "_LONGEST_WAIT", 0.01)


def item(stage: str, step: int | None) -> Complete:
    return Complete(Path(f"{stage}-{step}"), stage, step)


items = st.builds(item, st.sampled_from(["sft", "grpo"]), st.none() | st.integers(1, 50)) | st.just(item("base", None))


def test_models_go_first_then_the_newest_checkpoint() -> None:
    order = [item("base", None), item("sft", None), item("grpo", 20), item("grpo", 9), item("sft", 100)]
    done: set[Complete] = set()
    for expected in order:
        assert next_upload(reversed(order), done) == expected
        done.add(expected)
    assert next_upload(order, done) is None


@given(complete=st.sets(items), durable=st.sets(items), retry_at=st.dictionaries(items, st.floats(0, 10)))
def test_everything_that_is_complete_goes_up_once(
    complete: set[Complete], durable: set[Complete], retry_at: dict[Complete, float]
) -> None:
    done = set(durable)
    while chosen := next_upload(complete, done, retry_at, now=11):
        assert chosen in complete - done
        done.add(chosen)
    assert complete <= done
    waiting = next_upload(complete, durable, retry_at, now=-1)
    assert waiting is None or waiting not in retry_at


class Unsteady(FolderStore):
    """Fails on request, and records what was uploaded."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.failures: list[Exception] = []
        self.uploaded: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

    def upload(self, files: Iterable[tuple[Path, str]], on_bytes: OnBytes | None = None) -> Sequence[Transferred]:
        self.gate.wait(SECONDS)
        chosen = list(files)
        if self.failures:
            raise self.failures.pop(0)
        self.uploaded += [key for _, key in chosen]
        return super().upload(chosen, on_bytes)


@pytest.fixture
def unsteady(tmp_path: Path) -> Unsteady:
    return Unsteady(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "checkpoints"
    place.mkdir()
    return place


@pytest.fixture
def at_work(unsteady: Unsteady, origin: Origin, folder: Path) -> Iterator[Sync]:
    work = Sync(unsteady, 1, VerlFolder(folder), origin)
    yield work
    unsteady.gate.set()
    unsteady.failures.clear()
    work.request_end()


def steps(store: FolderStore) -> list[int]:
    return [ref.step for ref in committed(store.list()) if isinstance(ref, CheckpointRef)]


def eventually(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_once_uploads_what_is_complete(unsteady: Unsteady, at_work: Sync, save: Save, folder: Path) -> None:
    save(folder, 5)
    save(folder, 10)
    save(folder, 15, tracker=False)
    (folder / "training.log").write_text("x")
    at_work.once()
    assert steps(unsteady) == [5, 10]
    assert unsteady.read("attempts/1/logs/training.log") is not None
    assert sorted(path.name for path in folder.glob("*.durable")) == ["global_step_10.durable", "global_step_5.durable"]


def test_a_damaged_manifest_is_for_the_user_to_delete(unsteady: Unsteady, at_work: Sync, save: Save, folder: Path) -> None:
    save(folder, 5)
    at_work.once()
    key = manifest_key(CheckpointRef(1, "grpo", 5))
    unsteady.write(key, b"{")
    again = Sync(unsteady, 1, VerlFolder(folder), at_work.origin)
    with pytest.raises(UserError, match=f"{key}: is not JSON: delete that folder"):
        again.once()


def test_the_newest_goes_first(unsteady: Unsteady, at_work: Sync, save: Save, folder: Path) -> None:
    for step in (5, 10, 15):
        save(folder, step)
    at_work.once()
    assert [key.split("/")[3] for key in unsteady.uploaded[::2]] == ["step-000015", "step-000010", "step-000005"]


def test_latest_is_the_newest_though_older_ones_are_stored_later(
    unsteady: Unsteady, at_work: Sync, save: Save, folder: Path
) -> None:
    save(folder, 5)
    save(folder, 10)
    at_work.once()
    found = latest.read(unsteady)
    assert found is not None
    assert found.ref.step == 10


def test_once_reports_a_failing_store(unsteady: Unsteady, at_work: Sync, save: Save, folder: Path) -> None:
    save(folder, 5)
    unsteady.failures = [StoreError("the store does not answer")]
    with pytest.raises(StoreError, match="does not answer"):
        at_work.once()


def test_once_tries_a_changed_folder_again(unsteady: Unsteady, at_work: Sync, save: Save, folder: Path) -> None:
    save(folder, 5)
    unsteady.failures = [ChangedError("data.pt")]
    at_work.once()
    assert steps(unsteady) == [5]


def test_once_names_what_kept_changing(unsteady: Unsteady, at_work: Sync, save: Save, folder: Path) -> None:
    save(folder, 5)
    save(folder, 10)
    unsteady.failures = [ChangedError("data.pt"), *[ChangedError("data.pt")] * 5]
    with pytest.raises(MissingError, match=r"not stored: grpo step 10, grpo step 5") as caught:
        at_work.once()
    assert caught.value.exit_code == 75


def test_it_follows_a_trainer(unsteady: Unsteady, at_work: Sync, save: Save, folder: Path) -> None:
    at_work.start()
    for step in (5, 10):
        save(folder, step)
        eventually((folder / f"global_step_{step}.durable").exists)
    (folder / "run-finished").touch()
    assert at_work.join(SECONDS)
    assert steps(unsteady) == [5, 10]


def test_it_ends_after_the_last_byte(unsteady: Unsteady, at_work: Sync, save: Save, folder: Path) -> None:
    unsteady.gate.clear()
    save(folder, 5)
    (folder / "training.log").write_text("last line")
    at_work.start()
    (folder / "run-finished").touch()
    assert not at_work.join(0.2)
    assert at_work.missing()[0] == "grpo step 5"
    unsteady.gate.set()
    assert at_work.join(SECONDS)
    assert at_work.missing() == []


@pytest.mark.parametrize("error", [StoreError("down"), UserError("secret"), ChangedError("data.pt"), OSError(5, "read error")])
def test_a_failure_does_not_end_it(unsteady: Unsteady, at_work: Sync, save: Save, folder: Path, error: Exception) -> None:
    unsteady.failures = [error, error]
    save(folder, 5)
    at_work.start()
    eventually((folder / "global_step_5.durable").exists)
    at_work.request_end()
    assert at_work.join(SECONDS)


def test_trouble_is_reported_until_it_is_over(unsteady: Unsteady, at_work: Sync, save: Save, folder: Path) -> None:
    unsteady.failures = [StoreError("the store is down")]
    save(folder, 5)
    at_work.start()
    eventually(lambda: at_work.trouble == "the store is down")
    eventually((folder / "global_step_5.durable").exists)
    eventually(lambda: at_work.trouble == "")
    assert at_work.missing() == []


def test_missing_names_only_the_kind_of_growing_files(at_work: Sync, save: Save, folder: Path) -> None:
    save(folder, 5)
    for name in ("sft.log", "grpo.log"):
        (folder / name).write_text("x")
    assert at_work.missing() == ["grpo step 5", "logs"]


def test_an_unexpected_error_ends_it(unsteady: Unsteady, at_work: Sync, save: Save, folder: Path) -> None:
    unsteady.failures = [ZeroDivisionError("mistake")]
    save(folder, 5)
    at_work.start()
    with pytest.raises(ZeroDivisionError, match="mistake"):
        at_work.join(SECONDS)


def test_a_checkpoint_that_training_deletes_is_no_failure(unsteady: Unsteady, at_work: Sync, save: Save, folder: Path) -> None:
    unsteady.gate.clear()
    gone = save(folder, 5)
    at_work.start()
    shutil.rmtree(gone)
    unsteady.gate.set()
    save(folder, 10)
    (folder / "run-finished").touch()
    assert at_work.join(SECONDS)
    assert steps(unsteady) == [10]


def test_logs_go_up_beside_a_long_upload(unsteady: Unsteady, at_work: Sync, save: Save, folder: Path) -> None:
    unsteady.gate.clear()
    save(folder, 5)
    at_work.start()
    (folder / "training.log").write_text("x")
    eventually(lambda: unsteady.read("attempts/1/logs/training.log"))
    assert steps(unsteady) == []


def test_another_process_does_not_send_again_what_is_durable(
    unsteady: Unsteady, at_work: Sync, origin: Origin, save: Save, folder: Path
) -> None:
    save(folder, 5)
    at_work.once()
    Sync(unsteady, 1, VerlFolder(folder), origin).once()
    assert len(unsteady.uploaded) == 2


def test_a_restored_checkpoint_is_not_sent_again(
    unsteady: Unsteady, at_work: Sync, origin: Origin, save: Save, folder: Path, tmp_path: Path
) -> None:
    save(folder, 5)
    at_work.once()
    restore_checkpoint(unsteady, "grpo", tmp_path / "another-machine")
    Sync(unsteady, 2, VerlFolder(tmp_path / "another-machine"), origin).once()
    assert len(unsteady.uploaded) == 2
    assert committed(unsteady.list()) == [CheckpointRef(1, "grpo", 5)]


def test_a_marker_of_another_store_does_not_count(
    unsteady: Unsteady, at_work: Sync, origin: Origin, save: Save, folder: Path, tmp_path: Path
) -> None:
    save(folder, 5)
    at_work.once()
    other = FolderStore(tmp_path / "other")
    Sync(other, 1, VerlFolder(folder), origin).once()
    assert steps(other) == [5]


def test_a_checkpoint_that_is_deleted_after_it_was_listed_and_made_again_gets_its_marker_again(
    at_work: Sync, save: Save, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = save(folder, 5)
    at_work.once()
    listed = at_work.source.complete()
    shutil.rmtree(place)
    answers = iter([listed])
    with monkeypatch.context() as patched:
        patched.setattr(VerlFolder, "complete", lambda _: next(answers, []))
        at_work.once()
    save(folder, 5)
    at_work.once()
    assert (folder / "global_step_5.durable").exists()


def test_a_checkpoint_that_is_made_again_gets_its_marker_again(at_work: Sync, save: Save, folder: Path) -> None:
    marker = folder / "global_step_5.durable"
    place = save(folder, 5)
    at_work.start()
    eventually(marker.exists)
    shutil.rmtree(place)
    eventually(lambda: not marker.exists())
    save(folder, 5)
    eventually(marker.exists)
    assert at_work.missing() == []


def test_its_metrics_are_asked_for_at_the_end(unsteady: Unsteady, origin: Origin, save: Save, folder: Path) -> None:
    save(folder, 5)
    known = {("grpo", 5): {"reward": 0.25}}
    Sync(unsteady, 1, VerlFolder(folder), origin, lambda stage, step: known.get((stage, step))).once()
    (made,) = read_manifests(unsteady, committed(unsteady.list())).values()
    assert made is not None
    assert made.metrics == {"reward": 0.25}


def test_old_checkpoints_leave_the_store(unsteady: Unsteady, origin: Origin, save: Save, folder: Path) -> None:
    work = Sync(unsteady, 1, VerlFolder(folder), origin, keep=Keep(last=2, best=0))
    for step in (5, 10, 15):
        save(folder, step)
        work.once()
    assert steps(unsteady) == [10, 15]
    assert unsteady.read(manifest_key(CheckpointRef(1, "grpo", 5))) is None
