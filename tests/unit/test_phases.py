from __future__ import annotations

import json
from pathlib import Path

from deepicd.phases import Phase, PhaseFile, PhaseStart


def test_each_phase_is_read_once_with_the_log_of_its_process(tmp_path: Path) -> None:
    log = tmp_path / "training.log"
    reader, writer = PhaseFile(tmp_path / "phases.jsonl", log), PhaseFile(tmp_path / "phases.jsonl")
    assert list(reader.new()) == []
    writer.enter(Phase.RAY)
    assert list(reader.new()) == [PhaseStart(Phase.RAY, None, log)]
    writer.enter(Phase.VLLM, of="sft")
    assert list(reader.new()) == [PhaseStart(Phase.VLLM, "sft", log)]
    assert list(reader.new()) == []


def test_a_phase_that_goes_on_is_written_once(tmp_path: Path) -> None:
    file = PhaseFile(tmp_path / "phases.jsonl")
    for phase in (Phase.STEPS, Phase.STEPS, Phase.SAVING, Phase.STEPS):
        file.enter(phase)
    written = [json.loads(line)["phase"] for line in file.path.read_text().splitlines()]
    assert written == ["steps", "saving", "steps"]


def test_a_line_that_is_not_complete_is_read_later(tmp_path: Path) -> None:
    file = PhaseFile(tmp_path / "phases.jsonl")
    file.enter(Phase.RAY)
    whole = file.path.read_text()
    file.path.write_text(whole[:-5])
    assert list(file.new()) == []
    file.path.write_text(whole)
    assert [str(start) for start in file.new()] == ["Ray"]


def test_a_phase_of_a_model_names_it() -> None:
    assert str(PhaseStart(Phase.ANSWERS, "grpo")) == "answers of grpo"
