"""Low-rank adapters from peft, merged into the weights that they adapt."""

from __future__ import annotations

from collections.abc import Mapping

import torch

_WRAPPER = "base_model.model."
_FROZEN = ".base_layer."
_A, _B = ".lora_A.default.weight", ".lora_B.default.weight"


def merged(state: Mapping[str, torch.Tensor], scaling: float) -> dict[str, torch.Tensor]:
    """The weights of a peft model under the names of the model without adapters, each as `W + scaling * B @ A`.

    Args:
        state: `state_dict` of the peft model, with all tensors whole.
        scaling: factor of the adapters' output.

    Raises:
        ValueError: an adapter has no layer, or is of a different kind.
    """
    found: dict[str, torch.Tensor] = {}
    deltas: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        plain = name.removeprefix(_WRAPPER)
        if name.endswith(_A):
            layer = name.removesuffix(_A)
            deltas[f"{plain.removesuffix(_A)}.weight"] = scaling * (state[layer + _B].float() @ tensor.float())
        elif "lora_" in name and not name.endswith(_B):
            raise ValueError(f"{name} is no plain low-rank adapter")
        elif not name.endswith(_B):
            found[plain.replace(_FROZEN, ".")] = tensor
    for name, delta in deltas.items():
        if name not in found:
            raise ValueError(f"{name} has an adapter and no weights")
        found[name] = (found[name].float() + delta).to(found[name].dtype)
    return found
