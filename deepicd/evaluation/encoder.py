"""The encoder baseline: a Hugging Face encoder fine-tuned to classify the notes of the train split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deepicd.errors import UserError
from deepicd.evaluation.baselines import Answered, Splits, by_level, macro_f1

SETTING = "spec.stages.evaluate.encoder.path"
_WARM_UP = 0.1


@dataclass(frozen=True)
class Settings:
    """Fields of `stages.evaluate.encoder`, see `deepicd.spec.evaluate.EncoderSpec`."""

    path: str
    max_tokens: int
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int


def encoder(splits: Splits, settings: Settings) -> Answered:
    """Fine-tune on the train split, keep the weights of the best epoch (category macro F1 on validation), answer the test
    split.

    Runs on a GPU if this process has one. Imports torch and transformers.

    Raises:
        UserError: the path is not an encoder that can classify.
    """
    import torch

    torch.manual_seed(settings.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    names = sorted(set(splits.train.codes))
    tokenizer, model = _load(settings, len(names))
    model.to(device)
    place = {name: number for number, name in enumerate(names)}
    labels = [place[code] for code in splits.train.codes]
    train = _tokens(tokenizer, splits.train.texts, settings.max_tokens)
    validation = _tokens(tokenizer, splits.validation.texts, settings.max_tokens)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=0.01)
    steps = settings.epochs * math.ceil(len(train) / settings.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    generator = torch.Generator().manual_seed(settings.seed)
    best: tuple[float, int, dict[str, Any]] | None = None
    for epoch in range(1, settings.epochs + 1):
        model.train()
        order = torch.randperm(len(train), generator=generator).tolist()
        for start in range(0, len(order), settings.batch_size):
            rows = order[start : start + settings.batch_size]
            batch = tokenizer.pad([train[row] for row in rows], return_tensors="pt").to(device)
            with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
                loss = model(**batch, labels=torch.tensor([labels[row] for row in rows], device=device)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        shares = _shares(model, tokenizer, validation, settings.batch_size, device)
        score = macro_f1(splits.validation.codes, [names[number] for number in shares.argmax(axis=1)])
        if best is None or score > best[0]:
            best = score, epoch, {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    assert best is not None  # noqa: S101 - there is an epoch
    model.load_state_dict(best[2])
    shares = _shares(model, tokenizer, _tokens(tokenizer, splits.test, settings.max_tokens), settings.batch_size, device)
    chosen = [names[number] for number in shares.argmax(axis=1)]
    return Answered(chosen, by_level(names, shares, chosen), {"epoch": best[1], "validationMacroF1": best[0]})


def _load(settings: Settings, classes: int) -> tuple[Any, Any]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(settings.path)
        model = AutoModelForSequenceClassification.from_pretrained(
            settings.path,
            num_labels=classes,
            ignore_mismatched_sizes=True,
            problem_type="single_label_classification",  # a single label would mean a regression
        )
    except Exception:
        raise UserError(
            f"{SETTING}: '{settings.path}' is not an encoder that transformers can fine-tune for classification: "
            "give the folder of a Hugging Face encoder, or its name on the hub"
        ) from None
    if tokenizer.pad_token is None:
        raise UserError(f"{SETTING}: the tokenizer of '{settings.path}' has no padding token: use an encoder")
    longest = _longest(model)
    if longest is not None and settings.max_tokens > longest:
        raise UserError(
            f"spec.stages.evaluate.encoder.maxTokens: is {settings.max_tokens}, the model takes {longest}: lower it"
        )
    return tokenizer, model


def _longest(model: Any) -> int | None:
    """Most tokens that a model has positions for; None if it states no limit."""
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is None or positions < 1:
        return None
    # RoBERTa and its kin count positions from padding_idx + 1 on.
    tables = [module for name, module in model.named_modules() if name.endswith("position_embeddings")]
    starts = [table.padding_idx + 1 for table in tables if getattr(table, "padding_idx", None) is not None]
    return int(positions) - max(starts, default=0)


def _rate(step: int, steps: int) -> float:
    """The learning rate as a share of its peak: up over the first tenth of the steps, then down to 0."""
    rising = max(1, round(_WARM_UP * steps))
    return (step + 1) / rising if step < rising else max(0.0, (steps - step) / max(1, steps - rising))


def _tokens(tokenizer: Any, texts: Sequence[str], longest: int) -> list[dict[str, list[int]]]:
    encoded = tokenizer(list(texts), truncation=True, max_length=longest)
    return [dict(zip(encoded, row, strict=True)) for row in zip(*encoded.values(), strict=True)]


def _shares(model: Any, tokenizer: Any, rows: Sequence[dict[str, list[int]]], size: int, device: str) -> Any:
    """[N, C] probabilities."""
    import numpy as np
    import torch

    model.eval()
    found = []
    with torch.inference_mode():
        for start in range(0, len(rows), size):
            batch = tokenizer.pad(list(rows[start : start + size]), return_tensors="pt").to(device)
            found.append(model(**batch).logits.float().softmax(-1).cpu().numpy())
    return np.concatenate(found).astype(np.float64)
