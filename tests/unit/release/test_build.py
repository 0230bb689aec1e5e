from __future__ import annotations

import io
import re
import subprocess
import tarfile
import time
from pathlib import Path

import pytest
import yaml

from release.build import ReleaseError, check, check_changelog, repacked, sums, version_of

ROOT = Path(__file__).parents[3]


def packed(names: list[str], at: int) -> bytes:
    """A .tgz as helm packs one: entries and gzip's head have the time."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.uname = len(name), at, "somebody"
            archive.addfile(entry, io.BytesIO(name.encode()))
    return target.getvalue()


def test_an_archive_packed_at_another_time_in_another_order_has_the_same_bytes() -> None:
    first = repacked(packed(["deepicd/Chart.yaml", "deepicd/values.yaml"], 1), 1_700_000_000)
    second = repacked(packed(["deepicd/values.yaml", "deepicd/Chart.yaml"], int(time.time())), 1_700_000_000)
    assert first == second
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        assert {entry.name: archive.extractfile(entry).read().decode() for entry in archive} == {  # type: ignore[union-attr]
            name: name for name in ("deepicd/Chart.yaml", "deepicd/values.yaml")
        }
        assert {(entry.mtime, entry.uname, entry.mode) for entry in archive} == {(1_700_000_000, "", 0o644)}


def test_sums_are_those_that_sha256sum_checks(tmp_path: Path) -> None:
    for name in ("b.whl", "a.tgz", "SHA256SUMS"):
        (tmp_path / name).write_text(name)
    (tmp_path / "SHA256SUMS").write_text(sums(tmp_path))
    checked = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert checked.stdout == "a.tgz: OK\nb.whl: OK\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# Changelog\n## [0.1.0] - 2026-01-01\nFirst.\n", r"has no entry for 0\.2\.0"),
        ("## [0.2.0]\nWithout a date.\n", r"has no entry for 0\.2\.0"),
        ("## [0.2.0] - 2026-01-01\n\n## [0.1.0] - 2026-01-01\nFirst.\n", r"has no entry for 0\.2\.0"),
        ("## [0x2x0] - 2026-01-01\nOther.\n", r"has no entry for 0\.2\.0"),
        ("## [Unreleased]\n- New.\n## [0.2.0] - 2026-01-01\nMore.\n", r"has changes under \[Unreleased\]"),
    ],
)
def test_a_changelog_that_does_not_describe_the_version_is_refused(text: str, message: str) -> None:
    with pytest.raises(ReleaseError, match=message):
        check_changelog(text, "0.2.0")


def test_the_changelog_describes_this_version() -> None:
    check_changelog((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version_of(ROOT))


def test_a_tree_with_changes_is_refused(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / "CHANGELOG.md").write_text("")
    with pytest.raises(ReleaseError, match="changes that are not committed"):
        check(tmp_path)


def test_the_version_is_the_same_everywhere() -> None:
    version = version_of(ROOT)
    chart = yaml.safe_load((ROOT / "charts/deepicd/Chart.yaml").read_text())
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {chart["version"], chart["appVersion"], citation["version"]} == {version}
    assert f"## [{version}] - {citation['date-released']}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    files = (
        "charts/deepicd/values.yaml", "manifests/install.yaml", "manifests/upload-the-rest.yaml",
        "operator/deepicd_operator/settings.py", "images/operator/Dockerfile", "images/trainer/Dockerfile",
        "docs/guide/platform.md",
    )  # fmt: skip
    tag = re.compile(r"deepicd/(?:operator|trainer|\$name):(\d[\w.]*)|^ARG VERSION=(.+)$", re.MULTILINE)
    images = {path: tag.findall((ROOT / path).read_text()) for path in files}
    assert all(images.values())
    assert {one or other for found in images.values() for one, other in found} == {version}
