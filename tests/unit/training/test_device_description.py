"""What the report says about the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deepicd.training.cpu.device import Cpus, _cpu_name
from deepicd.training.device import Device


def answering(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put an nvidia-smi with this script first on the path."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_gpus_are_named_once_as_their_driver_calls_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(tmp_path, "printf 'NVIDIA H200\\nNVIDIA H200\\n'", monkeypatch)
    assert Device().describe(8) == {"name": "NVIDIA H200", "gpus": 8}


@pytest.mark.parametrize("script", ["exit 9", "true"])
def test_gpus_whose_driver_does_not_answer_are_still_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    answering(tmp_path, script, monkeypatch)
    assert Device().describe(2) == {"name": "GPU", "gpus": 2}


def test_cpus_have_their_name_and_the_cores_of_this_process(tmp_path: Path) -> None:
    assert Cpus().describe(4)["cores"] == len(os.sched_getaffinity(0))
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: A CPU @ 2 GHz\nprocessor\t: 1\nmodel name\t: A CPU @ 2 GHz\n")
    assert _cpu_name(cpuinfo) == "A CPU @ 2 GHz"
    assert _cpu_name(tmp_path / "none") == "CPU"
