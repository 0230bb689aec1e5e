"""The files of `make release`: wheel, sdist, the packaged chart and SHA256SUMS; `make sbom` adds the bills of materials.

Everything is built from the files of the commit, with the commit's time, so the same commit gives the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
SUMS = "SHA256SUMS"


class ReleaseError(Exception):
    """Why there can be no release, and what to do."""


def main() -> None:
    """Run `check`, or `build` into a folder."""
    try:
        match sys.argv[1:]:
            case ["check"]:
                check(ROOT)
            case ["build", folder]:
                build(ROOT, Path(folder).resolve())
            case _:
                raise ReleaseError("usage: release/build.py check, or release/build.py build FOLDER")
    except ReleaseError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(64)


def check(root: Path) -> None:
    """Refuse a release that could not be built again, or that says nothing about itself.

    Raises:
        ReleaseError: the working tree differs from the commit, the changelog has no entry for the version, or helm is missing.
    """
    if git(root, "status", "--porcelain"):
        raise ReleaseError("git: the working tree has changes that are not committed: commit them, or run 'git stash -u'")
    check_changelog((root / "CHANGELOG.md").read_text(encoding="utf-8"), version_of(root))
    helm()


def check_changelog(text: str, version: str) -> None:
    """Refuse a changelog without a dated entry for the version, or with changes that belong to none.

    Raises:
        ReleaseError: it is one of these.
    """
    _, *entries = re.split(r"^## ", text, flags=re.MULTILINE)
    found = {head.strip(): body.strip() for head, _, body in (entry.partition("\n") for entry in entries)}
    if found.get("[Unreleased]"):
        raise ReleaseError(f"CHANGELOG.md: has changes under [Unreleased]: move them to the entry of {version}")
    if not any(re.fullmatch(rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d", head) and body for head, body in found.items()):
        raise ReleaseError(f"CHANGELOG.md: has no entry for {version}: add '## [{version}] - YYYY-MM-DD' with what changed")


def build(root: Path, out: Path) -> None:
    """Build all files into an existing folder, and the sums of everything in it.

    Raises:
        ReleaseError: helm is missing.
        subprocess.CalledProcessError: a tool failed; its own output says why.
    """
    time = int(git(root, "log", "-1", "--format=%ct"))
    with tempfile.TemporaryDirectory() as scratch:
        tree, packed = Path(scratch) / "tree", Path(scratch) / "packed"
        with tarfile.open(fileobj=io.BytesIO(git_bytes(root, "archive", "HEAD"))) as files:
            files.extractall(tree, filter="data")
        environment = os.environ | {"SOURCE_DATE_EPOCH": str(time)}
        subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", out], cwd=tree, env=environment, check=True)
        chart = [helm(), "package", str(tree / "charts" / "deepicd"), "--destination", str(packed)]
        subprocess.run(chart, check=True, stdout=subprocess.DEVNULL)
        [archive] = packed.iterdir()
        # helm's own name differs from the sdist's by two letters.
        (out / f"deepicd-chart-{version_of(root)}.tgz").write_bytes(repacked(archive.read_bytes(), time))
    (out / SUMS).write_text(sums(out))


def repacked(archive: bytes, time: int) -> bytes:
    """The .tgz with its entries in the order of their names, and no trace of when and by whom it was packed.

    helm package writes the present time.

    Args:
        archive: a gzipped tar of regular files.
        time: modification time of each entry, in seconds since 1970.
    """
    target = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as source,
        gzip.GzipFile(filename="", fileobj=target, mode="wb", compresslevel=9, mtime=time) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as written,
    ):
        for entry in sorted(source.getmembers(), key=lambda one: one.name):
            content = source.extractfile(entry)
            assert content is not None, entry.name  # noqa: S101 - helm packs regular files only
            plain = tarfile.TarInfo(entry.name)
            plain.size, plain.mtime, plain.mode = entry.size, time, 0o644
            written.addfile(plain, content)
    return target.getvalue()


def sums(folder: Path) -> str:
    """The SHA-256 sum of each file, as `sha256sum --check` reads them, without those of the sums themselves."""
    files = sorted(path for path in folder.iterdir() if path.name != SUMS)
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)


def version_of(root: Path) -> str:
    """The version of the package."""
    return str(tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def helm() -> str:
    """The helm to use: on PATH, or beside the control plane of the tests.

    Raises:
        ReleaseError: there is none.
    """
    places = os.pathsep.join(filter(None, (os.environ.get("PATH"), os.environ.get("KUBEBUILDER_ASSETS"))))
    found = shutil.which("helm", path=places)
    if found is None:
        raise ReleaseError("helm: is not on PATH: install helm 3 or newer, which packages the chart")
    return found


def git(root: Path, *arguments: str) -> str:
    """The output of a git command, without surrounding space."""
    return git_bytes(root, *arguments).decode().strip()


def git_bytes(root: Path, *arguments: str) -> bytes:
    """The output of a git command."""
    return subprocess.run(["git", *arguments], cwd=root, check=True, stdout=subprocess.PIPE).stdout


if __name__ == "__main__":
    main()
