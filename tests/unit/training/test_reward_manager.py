from __future__ import annotations

import asyncio
import traceback
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from verl import DataProto

from deepicd import prompt
from deepicd.errors import RewardCodeError
from deepicd.rewards import Sample
from deepicd.spec.load import parse
from deepicd.training import reward_manager as module
from deepicd.training.reward_manager import RewardManager
from deepicd.training.stage_files import FOLDER_VARIABLE, SPEC_VARIABLE, StageFiles
from tests.unit.spec.test_load import quickstart

NOTE = "Chief Complaint: zanzibarcanary"


class Tokenizer:
    eos_token_id = 2

    def decode(self, tokens: torch.Tensor, skip_special_tokens: bool) -> str:
        return "pain.</think><diagnosis>M5116</diagnosis>"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StageFiles:
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(quickstart()))
    folder = tmp_path / "run" / "stages" / "grpo"
    folder.mkdir(parents=True)
    monkeypatch.setenv(SPEC_VARIABLE, str(tmp_path / "run.yaml"))
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    return StageFiles(folder)


def completion() -> DataProto:
    fields = {
        "raw_prompt": prompt.of(parse(quickstart(), "run.yaml").spec.model.prompt).messages(NOTE),
        "reward_model": {"ground_truth": "M5116"}, "extra_info": {"split": "train", "id": "a"}, "uid": "a",
    }  # fmt: skip
    objects = {}
    for name, value in fields.items():
        objects[name] = np.empty(1, dtype=object)
        objects[name][0] = value
    tokens = {"responses": torch.tensor([[5, 2]]), "attention_mask": torch.tensor([[1, 1, 1]])}
    return DataProto.from_dict(tensors=tokens, non_tensors=objects)


def test_a_raising_reward_fails_every_waiting_completion_without_the_note_it_raised_with(
    files: StageFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(samples: list[Sample]) -> NoReturn:
        raise KeyError(samples[0].note)

    monkeypatch.setattr(module, "make_scorer", lambda *_, **__: raises)

    (files.folder / "config.json").write_text('{"eos_token_id": 2}')
    config = OmegaConf.create({"actor_rollout_ref": {"model": {"path": str(files.folder)}}, "data": {"max_response_length": 8}})

    async def score() -> list[Any]:
        manager = RewardManager(config, Tokenizer(), None)
        return list(await asyncio.gather(*(manager.run_single(completion()) for _ in range(3)), return_exceptions=True))

    errors = asyncio.run(score())
    assert [type(error) for error in errors] == [RewardCodeError] * 3
    assert "the reward code raised KeyError at " in str(errors[0])
    shown = "".join("".join(traceback.format_exception(error)) for error in errors)
    assert "zanzibarcanary" not in shown
    failure = files.reported_failure()
    assert isinstance(failure, RewardCodeError)
    assert str(failure) == str(errors[0])
