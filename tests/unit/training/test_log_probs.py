from __future__ import annotations

import pytest
import torch

from deepicd.training import log_probs
from deepicd.training.log_probs import logprobs_from_logits


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("rows", [1, 7, 8, 30])
def test_they_and_their_gradients_are_those_of_log_softmax(in_place: bool, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_probs, "ROWS", 8)
    torch.manual_seed(0)
    logits = torch.randn(rows, 50)
    labels = torch.randint(0, 50, (rows,))
    weights = torch.randn(rows)
    mine, exact = (logits.clone().requires_grad_() for _ in range(2))
    # The leaf itself must survive: as in a model, the logits are the output of a layer.
    found = logprobs_from_logits(mine * 1, labels, inplace_backward=in_place)
    expected = torch.log_softmax(exact, -1).gather(-1, labels[:, None]).squeeze(-1)
    torch.testing.assert_close(found, expected)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(mine.grad, exact.grad)


def test_those_of_half_precision_are_not_rounded_to_it() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(20, 300).bfloat16(), torch.randint(0, 300, (20,))
    found = logprobs_from_logits(logits, labels)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.log_softmax(logits.float(), -1).gather(-1, labels[:, None]).squeeze(-1))


def test_rows_may_have_several_dimensions() -> None:
    logits, labels = torch.randn(2, 3, 11), torch.randint(0, 11, (2, 3))
    assert logprobs_from_logits(logits, labels).shape == (2, 3)
    torch.testing.assert_close(logprobs_from_logits(logits, labels)[1, 2], torch.log_softmax(logits[1, 2], -1)[labels[1, 2]])


@pytest.mark.parametrize("kept", [True, False])
def test_logits_are_kept_where_something_else_needs_them(kept: bool) -> None:
    base = torch.randn(4, 9, requires_grad=True)
    logits = base * 1
    before = logits.detach().clone()
    logprobs_from_logits(logits, torch.zeros(4, dtype=torch.long), inplace_backward=not kept).sum().backward()
    assert torch.equal(logits.detach(), before) == kept
