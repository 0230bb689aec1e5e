from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path

import pytest

from deepicd.artifacts import latest
from deepicd.artifacts.layout import CheckpointRef, ModelRef, manifest_key
from deepicd.artifacts.publish import Origin, VanishedError, publish
from deepicd.artifacts.store.base import ChangedError, OnBytes, Transferred
from deepicd.artifacts.store.folder import FolderStore
from deepicd.artifacts.verify import matches, verify
from deepicd.errors import UserError

Save = Callable[..., Path]

REF = CheckpointRef(1, "grpo", 50)


class Interfering(FolderStore):
    """Runs a function once the files are uploaded."""

    def after_upload(self) -> None:
        raise NotImplementedError

    def upload(self, files: Iterable[tuple[Path, str]], on_bytes: OnBytes | None = None) -> Sequence[Transferred]:
        sent = super().upload(files, on_bytes)
        self.after_upload()
        return sent


def interfering(root: Path, act: object) -> Interfering:
    store = Interfering(root)
    store.after_upload = act  # type: ignore[assignment,method-assign]
    return store


def test_a_checkpoint_is_where_the_layout_says_with_its_manifest(
    store: FolderStore, origin: Origin, save: Save, tmp_path: Path
) -> None:
    made = publish(store, REF, save(tmp_path / "c", 50), origin, metrics=lambda: {"reward": 0.5}).manifest
    assert [item.key.removeprefix(f"{REF.folder}/") for item in store.list("attempts/")] == [
        "actor/model.pt",
        "data.pt",
        "manifest.json",
    ]
    assert [(file.path, file.size) for file in made.files] == [("actor/model.pt", 11), ("data.pt", 8)]
    assert made.files[1].sha256 == sha256(b"order 50").hexdigest()
    assert (made.run, made.spec_digest, made.versions, made.metrics) == (
        "quickstart",
        "digest",
        {"verl": "0.9.1"},
        {"reward": 0.5},
    )


def test_latest_names_it_and_its_manifests_digest(store: FolderStore, origin: Origin, save: Save, tmp_path: Path) -> None:
    publish(store, REF, save(tmp_path / "c", 50), origin)
    found, content = latest.read(store), store.read(manifest_key(REF))
    assert found is not None
    assert content is not None
    assert (found.ref, found.manifest_sha256) == (REF, sha256(content[0]).hexdigest())


def test_a_model_does_not_move_latest(store: FolderStore, origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    publish(store, ModelRef(1, "base"), tmp_path / "model", origin)
    assert latest.read(store) is None


def test_a_second_publish_sends_nothing(store: FolderStore, origin: Origin, save: Save, tmp_path: Path) -> None:
    folder = save(tmp_path / "c", 50)
    first = publish(store, REF, folder, origin)
    data = store.root / REF.folder / "data.pt"
    data.unlink()
    assert publish(store, REF, folder, origin) == first
    assert not data.exists()


def test_latest_moves_though_the_process_was_killed_after_the_manifest(
    store: FolderStore, origin: Origin, save: Save, tmp_path: Path
) -> None:
    folder = save(tmp_path / "c", 50)
    publish(store, REF, folder, origin)
    store.delete(["latest.json"])
    publish(store, REF, folder, origin)
    assert latest.read(store) is not None


def test_the_remains_of_a_killed_try_are_overwritten(store: FolderStore, origin: Origin, save: Save, tmp_path: Path) -> None:
    store.write(f"{REF.folder}/data.pt", b"half")
    publish(store, REF, save(tmp_path / "c", 50), origin)
    found = store.read(f"{REF.folder}/data.pt")
    assert found is not None
    assert found[0] == b"order 50"


@pytest.mark.parametrize("name", ["data.pt", "late.pt"])
def test_a_file_changed_or_added_during_the_upload_prevents_the_manifest(
    name: str, origin: Origin, save: Save, tmp_path: Path
) -> None:
    folder = save(tmp_path / "c", 50)
    store = interfering(tmp_path / "store", lambda: (folder / name).write_text("other order"))
    with pytest.raises(ChangedError):
        publish(store, REF, folder, origin)
    assert store.read(manifest_key(REF)) is None


def test_a_file_that_the_store_loses_during_the_upload_prevents_the_manifest(
    origin: Origin, save: Save, tmp_path: Path
) -> None:
    store: FolderStore = interfering(tmp_path / "store", lambda: store.delete([f"{REF.folder}/data.pt"]))
    with pytest.raises(ChangedError, match=r"data\.pt: was deleted from the store"):
        publish(store, REF, save(tmp_path / "c", 50), origin)
    assert store.read(manifest_key(REF)) is None


def test_a_folder_deleted_during_the_upload_has_its_own_error(origin: Origin, save: Save, tmp_path: Path) -> None:
    folder = save(tmp_path / "c", 50)
    store = interfering(tmp_path / "store", lambda: shutil.rmtree(folder))
    with pytest.raises(VanishedError):
        publish(store, REF, folder, origin)
    with pytest.raises(VanishedError):
        publish(store, REF, folder, origin)
    assert store.read(manifest_key(REF)) is None


def test_an_empty_folder_is_no_checkpoint(store: FolderStore, origin: Origin, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no files"):
        publish(store, REF, tmp_path, origin)


def test_a_name_that_cannot_be_listed_is_an_error_of_the_user(
    store: FolderStore, origin: Origin, save: Save, tmp_path: Path
) -> None:
    folder = save(tmp_path / "c", 50)
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match="rename it"):
        publish(store, REF, folder, origin)


def test_a_models_cards_are_no_part_of_it_and_may_change_during_its_upload(origin: Origin, save: Save, tmp_path: Path) -> None:
    folder = save(tmp_path / "m", 50)

    def evaluate() -> None:
        (folder / "README.md").write_text("a card")

    store = interfering(tmp_path / "store", evaluate)
    made = publish(store, ModelRef(1, "grpo"), folder, origin).manifest
    assert [file.path for file in made.files] == ["actor/model.pt", "data.pt"]
    assert verify(store, ModelRef(1, "grpo")) == made
    assert matches(made, folder)
    (folder / "else.md").write_text("not a card")
    assert not matches(made, folder)
