from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepicd.artifacts import latest
from deepicd.artifacts.latest import Latest
from deepicd.artifacts.layout import CheckpointRef, ModelRef, manifest_key
from deepicd.artifacts.prune import delete_proposed, propose
from deepicd.artifacts.publish import Origin, publish
from deepicd.artifacts.retention import Keep, apply, committed, delete, garbage, plan, read_manifests
from deepicd.artifacts.store.base import StoredObject
from deepicd.artifacts.store.folder import FolderStore

Save = Callable[..., Path]

refs = st.builds(CheckpointRef, st.integers(1, 3), st.sampled_from(["sft", "grpo"]), st.integers(1, 30))
rewards = st.dictionaries(refs, st.none() | st.floats(-10, 10))
NOW = datetime(2026, 1, 31, tzinfo=UTC)


def grpo(*steps: int, attempt: int = 1) -> list[CheckpointRef]:
    return [CheckpointRef(attempt, "grpo", step) for step in steps]


def test_the_newest_and_the_best_stay() -> None:
    known = dict(zip(grpo(10, 20, 30, 40), [0.9, 0.2, 0.1, None], strict=True))
    assert plan(known, Keep(last=2, best=1)) == grpo(20)


def test_stages_are_counted_apart() -> None:
    known = {CheckpointRef(1, "sft", 100): None, **dict.fromkeys(grpo(10, 20))}
    assert plan(known, Keep(last=1, best=0)) == grpo(10)


@given(known=rewards, last=st.integers(0, 5), best=st.integers(0, 3), named=st.none() | refs)
def test_what_a_run_may_resume_from_always_stays(
    known: dict[CheckpointRef, float | None], last: int, best: int, named: CheckpointRef | None
) -> None:
    gone = set(plan(known, Keep(last, best), [named] if named else []))
    assert gone <= set(known)
    assert named not in gone
    for stage in ("sft", "grpo"):
        here = [ref for ref in known if ref.stage == stage]
        stay = [ref for ref in here if ref not in gone]
        assert set(sorted(here)[-max(last, 1) :]) <= set(stay)
        measured = [reward for ref in here if (reward := known[ref]) is not None]
        if measured and best:
            assert max(measured) in [known[ref] for ref in stay]
        assert len(stay) <= max(last, 1) + best + (named in here)


@given(known=rewards, keep=st.builds(Keep, st.integers(1, 5), st.integers(0, 3)))
def test_a_second_pass_deletes_nothing_more(known: dict[CheckpointRef, float | None], keep: Keep) -> None:
    gone = set(plan(known, keep))
    assert plan({ref: reward for ref, reward in known.items() if ref not in gone}, keep) == []


class Killed(FolderStore):
    """A store whose process ends after some deletions."""

    left = 0

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            super().delete([key])


def test_an_interrupted_deletion_leaves_no_manifest_without_its_files(origin: Origin, save: Save, tmp_path: Path) -> None:
    folder = save(tmp_path / "c", 50)
    (ref,) = grpo(50)
    for left in range(3):
        store = Killed(tmp_path / str(left))
        publish(store, ref, folder, origin)
        store.left = left
        with pytest.raises(KeyboardInterrupt):
            delete(store, [ref])
        made = read_manifests(store, [ref]).get(ref)
        there = {item.key for item in store.list()}
        assert made is None or {file.key for file in made.transfers()} <= there
        store.left = 100
        delete_proposed(store, propose(store, Keep(), timedelta()), timedelta())
        assert committed(store.list()) == ([ref] if left == 0 else [])
        assert left == 0 or list(store.list("attempts/")) == []


def test_the_store_keeps_what_the_plan_says_and_what_latest_names(
    store: FolderStore, origin: Origin, save: Save, tmp_path: Path
) -> None:
    for ref in grpo(10, 20, 30, 40):
        publish(store, ref, save(tmp_path / "c", ref.step), origin, metrics=lambda: {"reward": 0.0})
    current = store.read("latest.json")
    assert current is not None
    store.write("latest.json", Latest(CheckpointRef(1, "grpo", 20), "x").to_json())
    assert apply(store, Keep(last=1, best=0), may=lambda ref: True) == grpo(10, 30)
    assert committed(store.list()) == grpo(20, 40)
    assert latest.read(store) is not None


def test_an_attempt_may_leave_newer_ones_alone(store: FolderStore, origin: Origin, save: Save, tmp_path: Path) -> None:
    for number, attempt in enumerate((1, 2, 2)):
        ref = CheckpointRef(attempt, "grpo", 10 + number)
        publish(store, ref, save(tmp_path / "c", ref.step), origin)
    assert apply(store, Keep(1, 0), may=lambda ref: ref.attempt <= 1) == [CheckpointRef(1, "grpo", 10)]


def stored(key: str, *, age: timedelta = timedelta(hours=2)) -> StoredObject:
    return StoredObject(key, 1, NOW - age)


def test_files_without_a_manifest_are_garbage_once_the_folder_is_idle() -> None:
    ref, model = CheckpointRef(1, "grpo", 50), ModelRef(1, "sft")
    left = [stored(f"{ref.folder}/a"), stored(f"{model.folder}/b")]
    assert garbage(left, {}, NOW - timedelta(hours=1)) == left


def test_an_upload_in_progress_is_left_alone() -> None:
    ref = CheckpointRef(1, "grpo", 50)
    at_work = [stored(f"{ref.folder}/a"), stored(f"{ref.folder}/b", age=timedelta(minutes=1))]
    assert garbage(at_work, {}, NOW - timedelta(hours=1)) == []


def test_a_folder_whose_manifest_cannot_be_read_is_left_alone() -> None:
    ref = CheckpointRef(1, "grpo", 50)
    assert garbage([stored(f"{ref.folder}/a"), stored(manifest_key(ref))], {}, NOW) == []


def test_logs_claims_and_results_are_not_garbage() -> None:
    others = ["latest.json", "attempts/1/writer.json", "attempts/1/logs/grpo/training.log", "attempts/1/evaluation/report.html"]
    assert garbage([stored(key) for key in others], {}, NOW) == []


def test_files_that_a_manifest_does_not_list_are_garbage(
    store: FolderStore, origin: Origin, save: Save, tmp_path: Path
) -> None:
    (ref,) = grpo(50)
    store.write(f"{ref.folder}/of-an-earlier-try.pt", b"x")
    publish(store, ref, save(tmp_path / "c", 50), origin)
    proposal = propose(store, Keep(), timedelta())
    assert [item.key for item in proposal.leftovers] == [f"{ref.folder}/of-an-earlier-try.pt"]


def test_what_was_committed_since_the_look_is_not_deleted(
    store: FolderStore, origin: Origin, save: Save, tmp_path: Path
) -> None:
    (ref,) = grpo(50)
    store.write(f"{ref.folder}/data.pt", b"x")
    proposal = propose(store, Keep(), timedelta())
    publish(store, ref, save(tmp_path / "c", 50), origin)
    delete_proposed(store, proposal, timedelta())
    assert store.read(f"{ref.folder}/data.pt") is not None
