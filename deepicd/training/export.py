"""Makes verl write a complete final Hugging Face model: adapters merged, in the run's number format, opened and compared."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from deepicd.errors import CrashError
from deepicd.spec.load import load
from deepicd.spec.model import ModelSpec
from deepicd.training.lora import merged
from deepicd.training.stage_files import SPEC_VARIABLE, StageFiles
from deepicd.training.weights import tensors_in

_MARK = "deepicd_makes_whole"
_FORMATS = {"bfloat16": "BF16", "float32": "F32"}
_OURS = "attn_implementation"
"""A name that verl's setting leaves in config.json and that exists only while training."""


def export_from_now_on(manager: Any) -> None:
    """From now on, checkpoints that this verl manager saves contain the Hugging Face model.

    Saving raises a CrashError if that model is incomplete.
    """
    model = load(Path(os.environ[SPEC_VARIABLE])).spec.model
    _make_exports_whole(model)
    manager.checkpoint_save_contents = [*manager.checkpoint_save_contents, "hf_model"]
    save = manager.save_checkpoint

    def save_and_check(local_path: str, *arguments: Any, **options: Any) -> None:
        save(local_path, *arguments, **options)
        if manager.rank == 0:
            folder = Path(local_path) / "huggingface"
            _forget_attention(folder)
            try:
                check_export(folder, model.dtype)
            except CrashError as error:
                StageFiles.from_environment().report_failure(error)
                raise

    manager.save_checkpoint = save_and_check


def _make_exports_whole(model: ModelSpec) -> None:
    """In this process, the weights that verl gathers for a Hugging Face model are merged and have the format of `model.dtype`.

    verl leaves adapters separate, under names that nothing can load, and writes float32.
    """
    from verl.utils.checkpoint import fsdp_checkpoint_manager as module

    gather = module.get_fsdp_full_state_dict
    if hasattr(gather, _MARK):
        return
    wanted = getattr(torch, model.dtype)

    def gather_whole(*arguments: Any, **options: Any) -> dict[str, torch.Tensor]:
        found = gather(*arguments, **options)
        if model.lora is not None:
            found = merged(found, model.lora.alpha / model.lora.rank)
        return {name: tensor.to(wanted) if tensor.is_floating_point() else tensor for name, tensor in found.items()}

    setattr(gather_whole, _MARK, True)
    module.get_fsdp_full_state_dict = gather_whole


def _forget_attention(folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    if config.pop(_OURS, None) is not None:
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def check_export(folder: Path, dtype: str) -> None:
    """Compare a Hugging Face model's folder with its architecture, without reading the weights themselves.

    Args:
        folder: of the model.
        dtype: `bfloat16` or `float32`, which all its weights have.

    Raises:
        CrashError: a tensor is missing, is left over, or has another shape or format.
    """
    import transformers

    tensors = tensors_in(folder)
    if tensors is None:
        raise CrashError(f"{folder}: the exported model has no readable weights: resume the run to write it again")
    formats = {tensor.dtype for tensor in tensors.values()}
    (architecture,) = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"]
    _, found = getattr(transformers, architecture, transformers.AutoModelForCausalLM).from_pretrained(
        folder, device_map={"": "meta"}, output_loading_info=True, ignore_mismatched_sizes=True, dtype=getattr(torch, dtype)
    )
    problems = {
        "missing": sorted(found["missing_keys"]),
        "left over": sorted(found["unexpected_keys"]),
        "of another shape": sorted(str(each[0] if isinstance(each, tuple) else each) for each in found["mismatched_keys"]),
        f"not {dtype}": sorted(formats - {_FORMATS[dtype]}),
    }
    said = [f"{', '.join(names[:3])}{' …' if len(names) > 3 else ''} {how}" for how, names in problems.items() if names]
    if said:
        raise CrashError(f"{folder}: the exported model is incomplete: {'; '.join(said)}: report this with training.log")
