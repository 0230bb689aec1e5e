"""The content of a model folder's safetensors files, read from their headers."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deepicd.spec.model import EMBEDDINGS

_LONGEST_HEADER = 100 * 2**20


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor, as described in a header."""

    dtype: str
    """As `BF16` or `F32`."""
    shape: tuple[int, ...]


def tensors_in(model: Path) -> dict[str, Tensor] | None:
    """The tensors in a model's folder, by name; None if it has no safetensors file, or an unreadable one."""
    try:
        return dict(part for path in model.glob("*.safetensors") for part in _tensors(path)) or None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        return None


def _tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(min(length, _LONGEST_HEADER)))
    for name, tensor in header.items():
        if name != "__metadata__":
            yield name, Tensor(tensor["dtype"], tuple(tensor["shape"]))


def parameters_in(model: Path) -> int | None:
    """Number of parameters in the safetensors files of a model's folder; None if it has no readable ones."""
    found = tensors_in(model)
    return None if found is None else sum(math.prod(tensor.shape) for tensor in found.values())


def linear_layers(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The last part of the name, as `q_proj`, and the shape of each layer that can get an adapter."""
    for name, tensor in tensors.items():
        *_, layer, kind = ("", *name.split("."))
        if kind == "weight" and len(tensor.shape) == 2 and layer not in EMBEDDINGS:
            yield layer, tensor.shape


def adapter_parameters(layers: Iterable[tuple[str, tuple[int, ...]]], rank: int, targets: tuple[str, ...]) -> int:
    """Number of parameters of adapters of this rank.

    Args:
        layers: name and shape (out, in) of each linear layer.
        rank: of the adapters.
        targets: names of the layers that get one; all if empty.
    """
    return sum(rank * sum(shape) for name, shape in layers if not targets or name in targets)
