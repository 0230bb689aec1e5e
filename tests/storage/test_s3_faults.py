"""A network and a server that fail: each operation succeeds, or fails with a clear error; never wrong bytes."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import pytest

from deepicd.artifacts.store.base import ChangedError, ConflictError, Transferred
from deepicd.artifacts.store.s3 import upload
from deepicd.errors import StoreError, UserError
from tests.storage.conftest import MakeS3
from tests.storage.fault_proxy import FAULTS, KINDS, FaultProxy
from tests.storage.seaweed import SECRET_KEY, STRANGER_KEY, STRANGER_SECRET, Seaweed

MIB = 2**20


def made_sources(folder: Path, large: int) -> list[Path]:
    for name, size in (("large", large), ("small", 1000)):
        (folder / name).write_bytes(os.urandom(size))
    return [folder / "large", folder / "small"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A file of three parts, which is fetched in two ranges, and a small one."""
    return made_sources(tmp_path_factory.mktemp("sources"), 17 * MIB)


@pytest.fixture(scope="module")
def two_parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A file of two parts and a small one."""
    return made_sources(tmp_path_factory.mktemp("two-parts"), 8 * MIB + 1)


@pytest.mark.parametrize("how", FAULTS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_at_each_request_is_overcome(
    kind: str, how: str, proxy: FaultProxy, make_s3: MakeS3, two_parts: list[Path], tmp_path: Path
) -> None:
    store = make_s3(proxy.endpoint)
    if kind in {"list-parts"}:
        leave_unfinished(proxy, make_s3, two_parts)
    proxy.fail(kind, how, times=2)
    sent = store.upload([(path, path.name) for path in two_parts])
    store.write("manifest.json", b"{}", if_absent=True)
    first_list = [item.key for item in store.list()]
    if (kind, how) == ("list", "corrupt-answer"):
        # Only TLS can detect it: a listing is only ever compared with a manifest.
        assert len(first_list) == 3
        proxy.fail(kind, how, times=0)
        proxy.failed = 1
    else:
        assert first_list == ["large", "manifest.json", "small"]
    store.download([(item.key, tmp_path / "out" / item.key, item) for item in sent])
    for path in two_parts:
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    assert store.read("manifest.json") is not None
    store.delete(["manifest.json"])
    assert [item.key for item in store.list()] == ["large", "small"]
    assert proxy.failed >= 1, f"no request of the kind {kind}: {proxy.seen}"


@pytest.mark.parametrize("kind", ["put", "create"])
def test_a_request_is_retried_while_the_server_starts_or_stops_and_does_not_know_the_bucket(
    kind: str, proxy: FaultProxy, make_s3: MakeS3, sources: list[Path]
) -> None:
    store = make_s3(proxy.endpoint)
    proxy.fail(kind, "404", times=2)
    store.upload([(path, path.name) for path in sources])
    proxy.fail("put", "404", times=2)
    store.write("training.log", b"1")
    assert [item.key for item in store.list()] == ["large", "small", "training.log"]


def leave_unfinished(proxy: FaultProxy, make_s3: MakeS3, sources: list[Path]) -> None:
    """Begin an upload of the large file that never completes."""
    proxy.fail("complete", "503", times=10_000)
    with pytest.raises(StoreError):
        make_s3(proxy.endpoint, retry_seconds=0).upload([(sources[0], "large")])


def test_parts_that_the_store_has_are_not_sent_again(proxy: FaultProxy, make_s3: MakeS3, sources: list[Path]) -> None:
    leave_unfinished(proxy, make_s3, sources)
    assert proxy.seen["part"] == 3
    proxy.fail("complete", "delay", times=0)
    make_s3(proxy.endpoint).upload([(sources[0], "large")])
    assert proxy.seen["part"] == 0
    assert proxy.seen["complete"] == 1


def test_a_part_that_is_not_the_files_is_sent_again(
    proxy: FaultProxy, make_s3: MakeS3, sources: list[Path], tmp_path: Path
) -> None:
    leave_unfinished(proxy, make_s3, sources)
    changed = tmp_path / "large"
    content = bytearray(sources[0].read_bytes())
    content[9 * MIB] ^= 1
    changed.write_bytes(content)
    proxy.fail("complete", "delay", times=0)
    store = make_s3(proxy.endpoint)
    (item,) = store.upload([(changed, "large")])
    assert proxy.seen["part"] == 1
    store.download([("large", tmp_path / "out", item)])
    assert (tmp_path / "out").read_bytes() == bytes(content)


def test_an_interrupted_download_fetches_only_what_is_missing(
    proxy: FaultProxy, make_s3: MakeS3, sources: list[Path], tmp_path: Path
) -> None:
    store = make_s3(proxy.endpoint)
    (item,) = store.upload([(sources[0], "large")])
    come: list[int] = []

    def interrupt(count: int) -> None:
        come.append(count)
        if len(come) == 2:
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        store.download([("large", tmp_path / "out", item)], on_bytes=interrupt)
    assert not (tmp_path / "out").exists()
    proxy.seen.clear()
    counted: list[int] = []
    store.download([("large", tmp_path / "out", item)], on_bytes=counted.append)
    assert proxy.seen["get"] == 1
    assert sum(counted) == 17 * MIB
    assert (tmp_path / "out").read_bytes() == sources[0].read_bytes()


def test_data_behind_a_hole_of_a_killed_download_is_fetched_again(proxy: FaultProxy, make_s3: MakeS3, tmp_path: Path) -> None:
    content = os.urandom(40 * MIB)
    (tmp_path / "source").write_bytes(content)
    store = make_s3(proxy.endpoint)
    (item,) = store.upload([(tmp_path / "source", "file")])
    with (tmp_path / f".out.{item.sha256[:16]}.part").open("wb") as partial:
        partial.write(content[: 16 * MIB + 2**18])  # the first range, and the beginning of the second
        partial.seek(32 * MIB)
        partial.write(content[32 * MIB :])
    counted: list[int] = []
    proxy.seen.clear()
    store.download([("file", tmp_path / "out", item)], on_bytes=counted.append)
    assert proxy.seen["get"] == 2
    assert sum(counted) == 40 * MIB
    assert (tmp_path / "out").read_bytes() == content


def test_what_an_interruption_damaged_is_fetched_again(make_s3: MakeS3, sources: list[Path], tmp_path: Path) -> None:
    store = make_s3()
    (item,) = store.upload([(sources[0], "large")])
    partial = tmp_path / f".out.{item.sha256[:16]}.part"
    partial.write_bytes(bytes(item.size))
    store.download([("large", tmp_path / "out", item)])
    assert (tmp_path / "out").read_bytes() == sources[0].read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".out")) == []


def test_a_lost_answer_to_a_conditional_write_is_no_conflict(proxy: FaultProxy, make_s3: MakeS3) -> None:
    store = make_s3(proxy.endpoint)
    proxy.fail("put", "lost-answer")
    store.write("claim", b"mine", if_absent=True)
    with pytest.raises(ConflictError):
        store.write("claim", b"other", if_absent=True)


def test_the_server_killed_and_started_again_during_an_upload(
    make_s3: MakeS3, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = Seaweed(tmp_path_factory.mktemp("killed"))
    server.start()
    try:
        source = tmp_path / "source"
        source.write_bytes(os.urandom(48 * MIB))
        store = make_s3(server.endpoint, retry_seconds=120)
        store.write("first", b"contact")
        sent: list[Transferred] = []
        upload = threading.Thread(
            target=lambda: sent.extend(store.upload([(source, "file")], on_bytes=lambda _: time.sleep(0.2)))
        )
        upload.start()
        time.sleep(0.4)
        server.kill()
        time.sleep(1)
        server.start()
        upload.join(timeout=120)
        store.download([("file", tmp_path / "out", sent[0])])
        assert (tmp_path / "out").read_bytes() == source.read_bytes()
    finally:
        server.kill()


def test_a_server_that_never_answered_is_given_up(make_s3: MakeS3) -> None:
    began = time.monotonic()
    with pytest.raises(StoreError, match=r"http://127.0.0.1:9: list_objects_v2 failed .* check that the store is up"):
        list(make_s3("http://127.0.0.1:9", retry_seconds=1).list())
    assert time.monotonic() - began < 10


def test_a_wrong_secret_is_for_the_user_to_fix_and_not_shown(make_s3: MakeS3) -> None:
    with pytest.raises(UserError, match="the secret key does not belong to the access key") as found:
        make_s3(secret="not-the-secret").write("key", b"")
    assert "not-the-secret" not in str(found.value)


def test_an_unknown_access_key_is_for_the_user_to_fix(make_s3: MakeS3) -> None:
    with pytest.raises(UserError, match="does not know this access key"):
        make_s3(key="nobody").write("key", b"")


def test_a_bucket_without_permission_is_for_the_user_to_fix(make_s3: MakeS3) -> None:
    with pytest.raises(UserError, match="access denied: let these credentials"):
        make_s3(key=STRANGER_KEY, secret=STRANGER_SECRET).write("key", b"")


def test_a_missing_bucket_is_for_the_user_to_fix(make_s3: MakeS3) -> None:
    with pytest.raises(UserError, match="s3://no-such-bucket: "):
        make_s3(bucket="no-such-bucket").write("key", b"")


def test_a_clock_that_is_wrong_is_for_the_user_to_fix(make_s3: MakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    import datetime

    import botocore.auth

    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: datetime.datetime(2020, 1, 1))  # noqa: DTZ001
    with pytest.raises(UserError, match="this machine's clock is wrong"):
        make_s3().write("key", b"")


def test_a_rotated_secret_is_read_again(make_s3: MakeS3, tmp_path: Path) -> None:
    store = make_s3()
    store.write("key", b"1")
    folder = next(tmp_path.glob("secret-*"))
    (folder / "AWS_SECRET_ACCESS_KEY").write_text("old")
    old = make_s3(secret="old")
    (folder / "AWS_SECRET_ACCESS_KEY").write_text("writer-secret")
    assert old.read("key") is not None


def test_a_missing_secret_file_is_named(make_s3: MakeS3) -> None:
    with pytest.raises(UserError, match="AWS_SECRET_ACCESS_KEY: is missing or empty"):
        make_s3(secret="")


def test_a_full_disk_while_downloading_is_for_the_user_to_fix(
    make_s3: MakeS3, sources: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_s3()
    (item,) = store.upload([(sources[0], "large")])

    def full(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(UserError, match="the disk is full: free space"):
        store.download([("large", tmp_path / "out", item)])
    assert not (tmp_path / "out").exists()


def test_a_file_that_fails_is_named_whatever_the_others_do(
    make_s3: MakeS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = []
    for name, size in (("long", 64 * MIB), ("changing", 20 * MIB)):
        (tmp_path / name).write_bytes(bytes(size))
        files.append((tmp_path / name, name))
    fill = upload.fill

    def fails(buffer: memoryview, file: BinaryIO) -> None:
        if Path(file.name).name == "changing":
            raise ChangedError("changing")
        fill(buffer, file)

    monkeypatch.setattr(upload, "fill", fails)
    with pytest.raises(ChangedError, match="changing"):
        make_s3().upload(files)


def test_an_upload_that_another_client_aborts_is_retried(make_s3: MakeS3, sources: list[Path], tmp_path: Path) -> None:
    """Aborted before its last request, with an older object of the same size under its key."""
    store, other = make_s3(), make_s3()
    old = tmp_path / "old"
    old.write_bytes(os.urandom(17 * MIB))
    store.upload([(old, "large")])
    sent = 0

    def give_up(count: int) -> None:
        nonlocal sent
        sent += count
        if sent == 17 * MIB:
            assert other.abort_uploads(datetime.now(UTC) + timedelta(minutes=1)) == 1

    (item,) = store.upload([(sources[0], "large")], on_bytes=give_up)
    store.download([("large", tmp_path / "out", item)])
    assert (tmp_path / "out").read_bytes() == sources[0].read_bytes()


def test_many_threads_continue_with_a_rotated_secret(make_s3: MakeS3, tmp_path: Path) -> None:
    files = []
    for number in range(32):
        (tmp_path / f"file-{number}").write_bytes(bytes([number]))
        files.append((tmp_path / f"file-{number}", f"file-{number}"))
    old = make_s3(secret="old")
    (next(tmp_path.glob("secret-*")) / "AWS_SECRET_ACCESS_KEY").write_text(SECRET_KEY)
    assert len(old.upload(files)) == 32


def test_a_link_is_signed_in_the_way_that_every_bucket_takes(make_s3: MakeS3) -> None:
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in make_s3().link("key", 60)


def test_the_upload_rate_is_limited(make_s3: MakeS3, tmp_path: Path) -> None:
    files = []
    for number in range(4):
        path = tmp_path / str(number)
        path.write_bytes(bytes(MIB))
        files.append((path, path.name))
    began = time.monotonic()
    make_s3(limit=2 * MIB).upload(files)
    assert time.monotonic() - began > 1.4
