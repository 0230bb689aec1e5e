"""Where the binaries of Kubernetes, kwok and helm are."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

NEEDED = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kwok", "helm")
SCRIPT = Path(__file__).parent / "tools" / "cluster-tools.sh"


class BinariesMissingError(Exception):
    """One line: what is missing and the remedy."""


def find_binaries() -> dict[str, Path]:
    """Return the paths of the binaries: from KUBEBUILDER_ASSETS (and the PATH), otherwise as built by `make cluster-tools`.

    Raises:
        BinariesMissingError: they are in neither.
    """
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets:
        found = _in(f"{assets}{os.pathsep}{os.environ.get('PATH', '')}")
        missing = [name for name in NEEDED if name not in found]
        if not missing:
            return found
        reason = f"KUBEBUILDER_ASSETS={assets} and the PATH lack {', '.join(missing)}"
    else:
        folder = subprocess.run(["bash", str(SCRIPT), "where"], check=True, capture_output=True, text=True).stdout.strip()
        found = _in(folder)
        if len(found) == len(NEEDED):
            return found
        reason = f"no Kubernetes binaries in {folder}, and KUBEBUILDER_ASSETS is not set"
    remedy = "run 'make cluster-tools'" if shutil.which("go") else "install Go, then run 'make cluster-tools'"
    raise BinariesMissingError(f"{reason}: {remedy}")


def _in(path: str) -> dict[str, Path]:
    found = {name: shutil.which(name, path=path) for name in NEEDED}
    return {name: Path(place) for name, place in found.items() if place is not None}
