"""Packed attention against transformers' own on padded batches. The kernel for GPUs has none for CPUs: a function of the
same signature stands in.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from deepicd.errors import UserError
from deepicd.training import packed_attention as module
from deepicd.training.overrides import PACKED
from deepicd.training.packed_attention import PackedAttention, by_sequence, choose, disagreement, register

LENGTHS = (4, 9, 1, 6)


@pytest.fixture(autouse=True)
def registered() -> None:
    register()


def models(**settings: Any) -> list[Any]:
    """The same weights twice: with packed attention, and with transformers' own."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = {
        "vocab_size": 40, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, **settings,
    }  # fmt: skip
    found = []
    for attention in (PACKED, "sdpa"):
        torch.manual_seed(0)
        found.append(Qwen2ForCausalLM(Qwen2Config(**config, attn_implementation=attention)).train())
    return found


def answers(packed: Any, padded: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of each token of the sequences, shape (tokens, vocabulary), of both models."""
    torch.manual_seed(1)
    rows = [torch.randint(0, 40, (length,)) for length in LENGTHS]
    positions = torch.cat([torch.arange(length) for length in LENGTHS])[None]
    found = packed(input_ids=torch.cat(rows)[None], position_ids=positions, attention_mask=None, use_cache=False).logits[0]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = torch.arange(ids.shape[1]) < torch.tensor(LENGTHS)[:, None]
    logits = padded(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits
    return found, logits[mask]


@pytest.mark.parametrize("settings", [{}, {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1}])
def test_sequences_in_one_row_get_the_answers_that_they_get_alone(settings: dict[str, Any]) -> None:
    found, expected = answers(*models(**settings))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("checkpointing", [True, False])
def test_gradients_are_those_of_padded_batches(checkpointing: bool) -> None:
    packed, padded = models()
    if checkpointing:
        packed.gradient_checkpointing_enable({"use_reentrant": False})
    for logits in answers(packed, padded):
        logits.square().sum().backward()
    for (name, one), other in zip(packed.named_parameters(), padded.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-4, msg=name)


def test_the_kernel_gets_all_heads_the_bounds_and_the_longest_length(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def kernel(query: Any, key: Any, value: Any, *bounds: Any, **options: Any) -> Any:
        seen.append((query.shape, key.shape, value.shape, bounds, options))
        return by_sequence(query, key, value, *bounds, **options)

    attention = PackedAttention()
    attention.kernel = kernel
    positions = torch.cat([torch.arange(length) for length in LENGTHS])[None]
    query, key = torch.randn(1, 4, 20, 16), torch.randn(1, 2, 20, 16)
    out, _ = attention(torch.nn.Module(), query, key, key, None, scaling=0.25, position_ids=positions, sliding_window=7)
    assert out.shape == (1, 20, 4, 16)
    ((*shapes, (starts, _, longest, _), options),) = seen
    assert shapes == [(20, 4, 16)] * 3
    assert (starts.tolist(), starts.dtype, longest) == ([0, 4, 13, 14, 20], torch.int32, 9)
    assert options == {"scale": 0.25, "window_size": (6, 0)}


def test_the_bounds_are_computed_once_for_all_layers() -> None:
    attention = PackedAttention()
    positions = torch.arange(5)[None]
    bounds, _ = attention._sequences(positions)
    assert attention._sequences(positions)[0] is bounds
    assert attention._sequences(torch.arange(5)[None])[0] is not bounds


@pytest.mark.parametrize("changes", [{"position_ids": None}, {"softcap": 50.0}, {"dropout": 0.1}, {"s_aux": torch.ones(2)}])
def test_what_the_kernels_lack_is_the_users_to_change(changes: dict[str, Any]) -> None:
    given = {"attention_mask": None, "position_ids": torch.arange(5)[None], **changes}
    query = torch.randn(1, 2, 5, 8)
    with pytest.raises(UserError, match=r"^removePadding: .*: set it to false"):
        PackedAttention()(torch.nn.Module(), query, query, query, **given)


@pytest.mark.parametrize(("rows", "mask"), [(1, torch.ones(1, 5)), (2, None)])
def test_padded_batches_are_not_packed(rows: int, mask: torch.Tensor | None) -> None:
    query = torch.randn(rows, 2, 5, 8)
    with pytest.raises(ValueError, match="one row and no mask"):
        PackedAttention()(torch.nn.Module(), query, query, query, mask, position_ids=torch.arange(5)[None])


def test_queries_in_another_format_get_that_of_the_values() -> None:
    query, value = torch.randn(1, 2, 5, 8), torch.randn(1, 2, 5, 8).bfloat16()
    out, _ = PackedAttention()(torch.nn.Module(), query, query, value, None, position_ids=torch.arange(5)[None])
    assert out.dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_cpu_sequences_are_computed_one_after_the_other(dtype: torch.dtype) -> None:
    chosen = choose("cpu", dtype, 64)
    assert (chosen.implementation, chosen.kernel, chosen.refused) == (PACKED, by_sequence, ())


def on_a_gpu(monkeypatch: pytest.MonkeyPatch, verdicts: dict[Any, str | None], *, flash_attn: bool) -> None:
    monkeypatch.setattr(module, "disagreement", lambda kernel, *device: verdicts.get(kernel))
    monkeypatch.setattr(module, "find_spec", lambda name: object() if flash_attn else None)


def test_a_gpu_has_flash_attn_if_it_is_installed_and_else_torchs_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_gpu(monkeypatch, {}, flash_attn=True)
    assert choose("cuda", torch.bfloat16, 64).implementation == "flash_attention_2"
    on_a_gpu(monkeypatch, {}, flash_attn=False)
    chosen = choose("cuda", torch.bfloat16, 64)
    assert (chosen.implementation, chosen.title) == (PACKED, "torch.nn.attention.varlen")


def test_a_kernel_that_fails_is_passed_over_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_gpu(monkeypatch, {module._flash_attn: "ImportError: symbol", module._varlen: "too old"}, flash_attn=True)
    chosen = choose("cuda", torch.bfloat16, 64)
    assert chosen.kernel is by_sequence
    assert chosen.refused == ("flash-attn: ImportError: symbol", "torch.nn.attention.varlen: too old")


def test_kernels_for_half_precision_are_not_tried_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_gpu(monkeypatch, {}, flash_attn=True)
    assert choose("cuda", torch.float32, 64).kernel is by_sequence


def test_without_any_that_agrees_there_is_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_gpu(monkeypatch, {by_sequence: "differs"}, flash_attn=False)
    with pytest.raises(RuntimeError, match="no attention works"):
        choose("cpu", torch.float32, 64)


def test_a_kernel_that_sees_other_sequences_disagrees() -> None:
    def sees_all(query: Any, key: Any, value: Any, bounds: Any, *rest: Any, **options: Any) -> torch.Tensor:
        whole = torch.tensor([0, len(query)])
        return by_sequence(query, key, value, whole, whole, len(query), len(query), **options)

    assert "differs from plain attention" in (disagreement(sees_all, "cpu", torch.float32, 32) or "")


def test_a_kernel_with_wrong_gradients_disagrees() -> None:
    def twice(query: Any, *rest: Any, **options: Any) -> torch.Tensor:
        return by_sequence(2 * query - query.detach(), *rest, **options)

    assert "differs from plain attention" in (disagreement(twice, "cpu", torch.float32, 32) or "")


def test_a_kernel_that_this_device_lacks_disagrees_with_its_reason() -> None:
    reason = disagreement(module._varlen, "cpu", torch.bfloat16, 64) or ""
    assert "NotImplementedError" in reason
    assert "\n" not in reason
