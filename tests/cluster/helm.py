"""The chart, through helm."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "charts" / "deepicd"


class Helm:
    """helm with separate folders and a kubeconfig."""

    def __init__(self, program: Path, folder: Path, kubeconfig: Path | None = None) -> None:
        self._program = program
        places = {f"HELM_{name}_HOME": str(folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        self._environment = {**os.environ, **places, "KUBECONFIG": str(kubeconfig or folder / "none")}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run helm; it may fail."""
        command = [str(self._program), *arguments]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=180, check=False)

    def must(self, *arguments: str) -> str:
        """Run helm, which must succeed, and return its output."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def objects(self, *values: str, namespace: str = "deepicd-system", admission: bool = True) -> list[dict[str, Any]]:
        """The chart's objects with these `--set` values, with or without ValidatingAdmissionPolicies in the cluster; not the
        objects of its test.
        """
        chosen = [each for value in values for each in ("--set-json" if "=[" in value or "={" in value else "--set", value)]
        known = ("--api-versions", "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy") if admission else ()
        text = self.must("template", "deepicd", str(CHART), "--namespace", namespace, "--no-hooks", *known, *chosen)
        return [each for each in yaml.safe_load_all(text) if each]
