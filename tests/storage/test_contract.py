"""What every store does, a folder and a bucket alike."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from deepicd.artifacts.store.base import ChangedError, ConflictError, DamagedError, Store, Transferred

MIB = 2**20


def make_file(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    return path


def fetch(store: Store, item: Transferred, path: Path) -> bytes:
    store.download([(item.key, path, item)])
    return path.read_bytes()


@pytest.mark.parametrize("size", [0, 1, 4096, 8 * MIB, 8 * MIB + 1, 20 * MIB])
def test_a_file_comes_back_as_it_was_sent(store: Store, tmp_path: Path, size: int) -> None:
    source = make_file(tmp_path / "source", size)
    (item,) = store.upload([(source, "a/b/file.bin")])
    assert item == Transferred("a/b/file.bin", size, sha256(source.read_bytes()).hexdigest())
    assert fetch(store, item, tmp_path / "out" / "file.bin") == source.read_bytes()


def test_many_files_keep_their_order_and_names(store: Store, tmp_path: Path) -> None:
    files = [(make_file(tmp_path / f"{number}", number * 100), f"many/{number:03}") for number in range(60)]
    sent = store.upload(files)
    assert [item.key for item in sent] == [key for _, key in files]
    assert [item.key for item in store.list("many/")] == [key for _, key in files]
    assert [item.size for item in store.list("many/")] == [number * 100 for number in range(60)]


@pytest.mark.parametrize("size", [10, 9 * MIB])
def test_a_key_may_have_any_characters(store: Store, tmp_path: Path, size: int) -> None:
    key = "a b+c/d=e&f%20/ü~'(!*);:@,$#?[x].bin"
    (item,) = store.upload([(make_file(tmp_path / "source", size), key)])
    assert [found.key for found in store.list()] == [key]
    assert fetch(store, item, tmp_path / "out" / "file") == (tmp_path / "source").read_bytes()


def test_every_byte_is_counted_once(store: Store, tmp_path: Path) -> None:
    counted: list[int] = []
    sizes = (0, 10, 9 * MIB)
    sent = store.upload(
        [(make_file(tmp_path / f"s{size}", size), f"s{size}") for size in sizes], on_bytes=lambda count: counted.append(count)
    )
    assert sum(counted) == sum(sizes)
    counted.clear()
    store.download(
        [(item.key, tmp_path / "out" / item.key, item) for item in sent], on_bytes=lambda count: counted.append(count)
    )
    assert sum(counted) == sum(sizes)


def test_a_list_holds_only_what_begins_with_the_prefix(store: Store) -> None:
    for key in ("a/1", "a/2", "ab/3", "b"):
        store.write(key, b"x")
    assert [item.key for item in store.list("a/")] == ["a/1", "a/2"]
    assert [item.key for item in store.list("a")] == ["a/1", "a/2", "ab/3"]
    assert [item.key for item in store.list()] == ["a/1", "a/2", "ab/3", "b"]


def test_reading_a_missing_object_gives_none(store: Store) -> None:
    assert store.read("nothing/here") is None


def test_a_small_object_is_read_as_written(store: Store) -> None:
    version = store.write("note.json", b"{}")
    assert store.read("note.json") == (b"{}", version)


def test_if_absent_refuses_to_replace(store: Store) -> None:
    store.write("claim", b"one", if_absent=True)
    with pytest.raises(ConflictError):
        store.write("claim", b"two", if_absent=True)
    assert (store.read("claim") or (b"",))[0] == b"one"


def test_writing_the_same_again_is_no_conflict(store: Store) -> None:
    version = store.write("claim", b"one", if_absent=True)
    assert store.write("claim", b"one", if_absent=True) == version


def test_if_version_replaces_only_that_version(store: Store) -> None:
    first = store.write("latest", b"1")
    store.write("latest", b"2", if_version=first)
    with pytest.raises(ConflictError):
        store.write("latest", b"3", if_version=first)
    assert (store.read("latest") or (b"",))[0] == b"2"


def test_if_version_of_a_missing_object_is_a_conflict(store: Store) -> None:
    with pytest.raises(ConflictError):
        store.write("latest", b"3", if_version='"0123"')


def test_one_of_many_concurrent_writers_wins(store: Store) -> None:
    def claim(number: int) -> bool:
        try:
            store.write("claim", str(number).encode(), if_absent=True)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(claim, range(16)))
    assert sum(won) == 1
    assert store.read("claim") is not None
    assert (store.read("claim") or (b"",))[0] == str(won.index(True)).encode()


def test_deleted_objects_are_gone_and_deleting_again_is_no_error(store: Store) -> None:
    for key in ("a/1", "a/2", "b"):
        store.write(key, b"x")
    store.delete(["a/1", "a/2"])
    store.delete(["a/1"])
    assert [item.key for item in store.list()] == ["b"]


def test_a_missing_object_is_damage(store: Store, tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match="gone: is missing"):
        store.download([("gone", tmp_path / "gone", Transferred("gone", 1, "0" * 64))])
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("size", [100, 9 * MIB])
@pytest.mark.parametrize("change", ["shorter", "longer", "altered"])
def test_an_object_that_is_not_as_the_manifest_says_is_damage(store: Store, tmp_path: Path, size: int, change: str) -> None:
    source = make_file(tmp_path / "source", size)
    (item,) = store.upload([(source, "file")])
    content = source.read_bytes()
    changed = {
        "shorter": content[:-1],
        "longer": content + b"x",
        "altered": content[:50] + bytes([content[50] ^ 1]) + content[51:],
    }[change]
    assert changed != content
    source.write_bytes(changed)
    store.upload([(source, "file")])
    with pytest.raises(DamagedError, match="file: "):
        store.download([("file", tmp_path / "out", item)])
    assert not (tmp_path / "out").exists()


def test_a_file_that_changes_while_it_is_read_is_refused(store: Store, tmp_path: Path) -> None:
    source = make_file(tmp_path / "source", 20 * MIB)

    def append(count: int) -> None:
        with source.open("ab") as file:
            file.write(b"more")

    with pytest.raises(ChangedError):
        store.upload([(source, "file")], on_bytes=append)


def test_a_link_opens_the_object_without_credentials(store: Store) -> None:
    from urllib.request import urlopen

    store.write("report.html", b"<html>")
    with urlopen(store.link("report.html", 60)) as answer:
        assert answer.read() == b"<html>"


def test_nothing_unfinished_is_left_of_finished_uploads(store: Store, tmp_path: Path) -> None:
    store.upload([(make_file(tmp_path / "source", 20 * MIB), "file")])
    assert store.abort_uploads(datetime.now(UTC) + timedelta(minutes=1)) == 0
