"""Causal attention over packed sequences, for transformers, without padding and without a mask.

verl packs a micro batch into one row, in which position 0 begins a sequence. From that, transformers' own attention makes a
dense mask, whose memory grows with the square of the row, unless flash-attn is installed. PyPI has no wheel of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from deepicd.errors import UserError
from deepicd.training.overrides import PACKED

_HALF = (torch.bfloat16, torch.float16)
_LENGTHS = (5, 33, 1, 12)
"""Lengths of the sequences on which kernels are compared."""

Kernel = Callable[..., torch.Tensor]
"""As `torch.nn.attention.varlen.varlen_attn`: query, key and value of shape (tokens, heads, head size), the bounds of the
sequences (sequences + 1,) and the longest length, each for queries and keys; `scale`, `window_size` as (left, right)."""


def by_sequence(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, 0),
) -> torch.Tensor:
    """A `Kernel` that works on every device: PyTorch's attention on one sequence after the other."""
    parts = []
    for begin, end in pairwise(cu_seq_q.tolist()):
        one, keys, values = (tensor[begin:end].transpose(0, 1) for tensor in (query, key, value))
        band = None
        if 0 <= window_size[0] < end - begin - 1:
            place = torch.arange(end - begin, device=query.device)
            distance = place[:, None] - place
            band = (distance >= 0) & (distance <= window_size[0])
        found = scaled_dot_product_attention(one, keys, values, attn_mask=band, is_causal=band is None, scale=scale)
        parts.append(found.transpose(0, 1))
    return torch.cat(parts)


def _varlen(*arguments: Any, **options: Any) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    found: torch.Tensor = varlen_attn(*arguments, **options)
    return found


def _flash_attn(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *bounds: Any, scale: float | None, window_size: Any
) -> torch.Tensor:
    attend = import_module("flash_attn").flash_attn_varlen_func
    found: torch.Tensor = attend(query, key, value, *bounds, softmax_scale=scale, window_size=window_size, causal=True)
    return found


@dataclass(frozen=True, slots=True)
class Choice:
    """The attention of this process."""

    implementation: str
    """For `attn_implementation`."""
    kernel: Kernel
    title: str
    refused: tuple[str, ...]
    """Why the earlier choices are not used."""


def choose(device: str, dtype: torch.dtype, head_size: int) -> Choice:
    """The fastest attention that works here: flash-attn, PyTorch's own kernel for packed sequences, or `by_sequence`.

    Each is compared with plain attention on a small input, forward and backward.

    Raises:
        RuntimeError: none agrees with plain attention.
    """
    refused: list[str] = []
    candidates: list[tuple[str, str, Kernel]] = []
    if device == "cuda" and dtype in _HALF:
        if find_spec("flash_attn") is not None:
            candidates.append(("flash_attention_2", "flash-attn", _flash_attn))
        candidates.append((PACKED, "torch.nn.attention.varlen", _varlen))
    for implementation, title, kernel in [*candidates, (PACKED, "PyTorch's attention, sequence by sequence", by_sequence)]:
        if (why := disagreement(kernel, device, dtype, head_size)) is None:
            return Choice(implementation, kernel, title, tuple(refused))
        refused.append(f"{title}: {why}")
    raise RuntimeError(f"no attention works on this device: {'; '.join(refused)}")


def disagreement(kernel: Kernel, device: str, dtype: torch.dtype, head_size: int) -> str | None:
    """How a kernel differs from plain attention in float32 on a small input, or the error that it raises; None if it agrees."""
    generator = torch.Generator().manual_seed(0)
    total, shape = sum(_LENGTHS), (sum(_LENGTHS), 2, head_size)
    given = [torch.randn(shape, generator=generator).to(device, dtype).requires_grad_() for _ in range(3)]
    exact = [tensor.detach().float().requires_grad_() for tensor in given]
    weights = torch.randn(shape, generator=generator).to(device)
    bounds = torch.tensor([0, *torch.tensor(_LENGTHS).cumsum(0).tolist()], dtype=torch.int32, device=device)
    owner = torch.repeat_interleave(torch.arange(len(_LENGTHS)), torch.tensor(_LENGTHS))
    seen = ((owner[:, None] == owner) & torch.ones(total, total, dtype=torch.bool).tril()).to(device)
    with torch.enable_grad():
        try:
            found = kernel(*given, bounds, bounds, max(_LENGTHS), max(_LENGTHS), scale=head_size**-0.5, window_size=(-1, 0))
            (found.float() * weights).sum().backward()
        except (RuntimeError, ImportError, AttributeError, TypeError, NotImplementedError) as error:
            return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
        query, key, value = (tensor.transpose(0, 1) for tensor in exact)
        scores = (query @ key.transpose(1, 2) * head_size**-0.5).masked_fill(~seen, float("-inf"))
        expected = (scores.softmax(-1) @ value).transpose(0, 1)
        (expected * weights).sum().backward()
    limit = 0.03 if dtype in _HALF else 1e-4
    pairs = [(found.detach(), expected.detach()), *((one.grad, other.grad) for one, other in zip(given, exact, strict=True))]
    off = max(float((one.float() - other).abs().max() / other.abs().max()) for one, other in pairs)
    return None if off <= limit else f"differs from plain attention by {off:.2g} of the largest value"


class PackedAttention:
    """The function that transformers calls in each layer."""

    def __init__(self) -> None:
        self.kernel: Kernel = by_sequence
        self._last: tuple[torch.Tensor, torch.Tensor, int] | None = None

    def __call__(
        self,
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        *,
        scaling: float | None = None,
        dropout: float = 0.0,
        position_ids: torch.Tensor | None = None,
        sliding_window: int | None = None,
        **other: Any,
    ) -> tuple[torch.Tensor, None]:
        """The output of shape (1, tokens, heads, head size), for a query of shape (1, heads, tokens, head size).

        Keys and values may have fewer heads.

        Raises:
            ValueError: the input is not packed.
            UserError: the model's attention needs what the kernels lack.
        """
        if attention_mask is not None or query.shape[0] != 1:
            raise ValueError("packed sequences have one row and no mask")
        if position_ids is None or dropout or other.get("softcap") or other.get("s_aux") is not None:
            raise UserError(
                "removePadding: the model's attention has no positions, or has dropout, a softcap or sinks: set it to false"
            )
        bounds, longest = self._sequences(position_ids)
        query, key = query.to(value.dtype), key.to(value.dtype)
        groups = query.shape[1] // key.shape[1]
        key, value = (tensor.repeat_interleave(groups, 1) if groups > 1 else tensor for tensor in (key, value))
        rows = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]
        left = -1 if sliding_window is None else sliding_window - 1
        found = self.kernel(*rows, bounds, bounds, longest, longest, scale=scaling, window_size=(left, 0))
        return found.unsqueeze(0), None

    def _sequences(self, position_ids: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Bounds and longest length of the sequences; computed once for all layers, since it waits for the GPU."""
        if self._last is None or self._last[0] is not position_ids:
            row = position_ids.reshape(-1, position_ids.shape[-1])[0]
            end = torch.tensor([len(row)], device=row.device)
            bounds = torch.cat([torch.nonzero(row == 0).flatten(), end]).to(torch.int32)
            self._last = (position_ids, bounds, int(bounds.diff().max()))
        return self._last[1], self._last[2]


packed_attention = PackedAttention()
"""That of this process."""


def register() -> None:
    """Let models in this process use the attention `PACKED`."""
    from transformers import AttentionInterface

    AttentionInterface.register(PACKED, packed_attention)
