"""An exported model's folder is opened and compared; each fault is one that a broken export would have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from deepicd.errors import CrashError
from deepicd.training import export
from deepicd.training.export import check_export, export_from_now_on
from deepicd.training.stage_files import FOLDER_VARIABLE, SPEC_VARIABLE, StageFiles
from tests.training.runs import write_run
from tests.unit.training.test_lora import adapted

Weights = dict[str, torch.Tensor]


def exported(folder: Path, *, tied: bool = True) -> Path:
    adapted(tied=tied).merge_and_unload().to(torch.bfloat16).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("tied", [True, False])
def test_a_whole_model_passes(tied: bool, tmp_path: Path) -> None:
    check_export(exported(tmp_path, tied=tied), "bfloat16")


def lost(weights: Weights) -> None:
    del weights["model.layers.1.mlp.up_proj.weight"]


def left_over(weights: Weights) -> None:
    weights["model.layers.0.self_attn.q_proj.lora_A.default.weight"] = torch.ones(2, 2, dtype=torch.bfloat16)


def renamed(weights: Weights) -> None:
    weights["base_model.model.model.norm.weight"] = weights.pop("model.norm.weight")


def reshaped(weights: Weights) -> None:
    weights["model.norm.weight"] = torch.ones(7, dtype=torch.bfloat16)


def widened(weights: Weights) -> None:
    weights["model.norm.weight"] = weights["model.norm.weight"].float()


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (lost, r"model\.layers\.1\.mlp\.up_proj\.weight missing"),
        (left_over, r"model\.layers\.0\.self_attn\.q_proj\.lora_A\.default\.weight left over"),
        (renamed, r"model\.norm\.weight missing; base_model\.model\.model\.norm\.weight left over"),
        (reshaped, r"model\.norm\.weight of another shape"),
        (widened, "F32 not bfloat16"),
    ],
)
def test_a_broken_model_is_refused(fault: Callable[[Weights], None], says: str, tmp_path: Path) -> None:
    path = exported(tmp_path) / "model.safetensors"
    weights = load_file(path)
    fault(weights)
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(CrashError, match=f"the exported model is incomplete: {says}"):
        check_export(tmp_path, "bfloat16")


def test_a_model_cut_off_while_it_was_written_is_refused(tmp_path: Path) -> None:
    path = exported(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CrashError, match="no readable weights"):
        check_export(tmp_path, "bfloat16")


class Manager:
    """As much of verl's as saving needs."""

    rank = 0
    checkpoint_save_contents = ("model",)

    def __init__(self, model: Any) -> None:
        self._model = model

    def save_checkpoint(self, local_path: str, global_step: int = 0) -> None:
        from verl.utils.checkpoint import fsdp_checkpoint_manager

        folder = Path(local_path) / "huggingface"
        state = fsdp_checkpoint_manager.get_fsdp_full_state_dict(self._model)
        state.pop("lm_head.weight", None)  # the model is tied: verl leaves it out
        self._model.base_model.model.save_pretrained(folder, state_dict=state)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "attn_implementation": "ours"}))


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A model with adapters, in a process of a run that has such ones."""
    from verl.utils.checkpoint import fsdp_checkpoint_manager

    found = adapted(tied=True)
    monkeypatch.setattr(fsdp_checkpoint_manager, "get_fsdp_full_state_dict", lambda model: model.state_dict())
    model = {"tiny": {}, "dtype": "bfloat16", "lora": {"rank": 4, "alpha": 8}}
    run = write_run(tmp_path / "run.yaml", "x", {"synthetic": {"admissions": 100}}, {"sft": {}}, model=model)
    monkeypatch.setenv(SPEC_VARIABLE, str(run))
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return found


def test_a_checkpoint_with_adapters_gets_a_merged_model(model: Any, tmp_path: Path) -> None:
    manager: Any = Manager(model)
    export_from_now_on(manager)
    manager.save_checkpoint(str(tmp_path), global_step=3)
    assert "hf_model" in manager.checkpoint_save_contents
    found = load_file(tmp_path / "huggingface" / "model.safetensors")
    expected = model.merge_and_unload().state_dict()
    name = "model.layers.1.self_attn.v_proj.weight"
    torch.testing.assert_close(found[name], expected[name].to(torch.bfloat16))
    assert "attn_implementation" not in json.loads((tmp_path / "huggingface" / "config.json").read_text())


def test_a_broken_export_is_reported_before_the_checkpoint_counts(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager: Any = Manager(model)
    monkeypatch.setattr(export, "merged", lambda state, scaling: dict(state))
    export_from_now_on(manager)
    with pytest.raises(CrashError, match="left over"):
        manager.save_checkpoint(str(tmp_path))
    assert isinstance(StageFiles(tmp_path).reported_failure(), CrashError)


def test_another_rank_does_not_look(model: Any, tmp_path: Path) -> None:
    manager = SimpleNamespace(rank=1, checkpoint_save_contents=[], save_checkpoint=lambda path: None)
    export_from_now_on(manager)
    manager.save_checkpoint(str(tmp_path))
