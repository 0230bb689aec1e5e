"""Has verl write the final Hugging Face model in the run's own number format."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from deepicd.spec.load import load
from deepicd.training.stage_files import SPEC_VARIABLE

_MARK = "deepicd_casts"


def export_as_trained() -> None:
    """In this process, models that verl writes from now on have the format of `model.dtype`: verl writes float32 always."""
    from verl.utils.checkpoint import fsdp_checkpoint_manager as manager

    gather = manager.get_fsdp_full_state_dict
    if hasattr(gather, _MARK):
        return
    wanted = getattr(torch, load(Path(os.environ[SPEC_VARIABLE])).spec.model.dtype)

    def gather_and_cast(*arguments: Any, **options: Any) -> dict[str, torch.Tensor]:
        found = gather(*arguments, **options)
        return {name: tensor.to(wanted) if tensor.is_floating_point() else tensor for name, tensor in found.items()}

    setattr(gather_and_cast, _MARK, True)
    manager.get_fsdp_full_state_dict = gather_and_cast
