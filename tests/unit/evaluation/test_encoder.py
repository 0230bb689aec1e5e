"""The encoder baseline, with a tiny BERT."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deepicd.errors import UserError
from deepicd.evaluation.baselines import Notes, Splits
from deepicd.evaluation.encoder import Settings, encoder
from tests.unit.evaluation.test_baselines import SPLITS, TEST, WORDS


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Several wait for each other on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def save_tokenizer(folder: Path, *first: str) -> int:
    """Write a tokenizer of the notes' words and return its size; `first`: its first two tokens."""
    from transformers import BertTokenizerFast

    words = sorted({word for text in [*SPLITS.train.texts, *WORDS.values()] for word in text.split()})
    (folder / "vocab.txt").write_text("\n".join([*first, "[CLS]", "[SEP]", "[MASK]", *words]))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return len(words) + 5


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(0)  # not every start learns from three notes
    folder = tmp_path_factory.mktemp("bert")
    config = BertConfig(
        vocab_size=save_tokenizer(folder, "[PAD]", "[UNK]"), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32, initializer_range=0.2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    BertForMaskedLM(config).save_pretrained(folder)
    return folder


def settings(path: Path, **changed: float) -> Settings:
    known = {"max_tokens": 16, "epochs": 4, "batch_size": 8, "learning_rate": 2e-3, "seed": 0} | changed
    return Settings(path=str(path), **known)  # type: ignore[arg-type]


def test_a_tiny_encoder_learns_which_words_decide(tiny_bert: Path) -> None:
    found = encoder(SPLITS, settings(tiny_bert))
    right = sum(code == gold for code, gold in zip(found.codes, TEST.codes, strict=True))
    assert right >= 36
    assert 1 <= found.settings["epoch"] <= 4
    assert all(0 < levels["code"] <= levels["chapter"] <= 1 for levels in found.confidence)


def test_the_same_seed_gives_the_same_answers(tiny_bert: Path) -> None:
    once, again = (encoder(SPLITS, settings(tiny_bert, epochs=1)) for _ in range(2))
    assert once == again


def test_what_is_no_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^spec.stages.evaluate.encoder.path: .* is not an encoder"):
        encoder(SPLITS, settings(tmp_path))


def test_more_tokens_than_the_encoder_takes_are_refused(tiny_bert: Path) -> None:
    with pytest.raises(UserError, match=r"^spec.stages.evaluate.encoder.maxTokens: is 33, the model takes 32"):
        encoder(SPLITS, settings(tiny_bert, max_tokens=33))


@pytest.fixture(scope="module")
def tiny_roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A RoBERTa for 16 tokens: no token has the first two of its 18 positions, as in the released ones with 514."""
    from transformers import RobertaConfig, RobertaForMaskedLM

    folder = tmp_path_factory.mktemp("roberta")
    config = RobertaConfig(
        vocab_size=save_tokenizer(folder, "[UNK]", "[PAD]"), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=18, pad_token_id=1,
    )  # fmt: skip
    RobertaForMaskedLM(config).save_pretrained(folder)
    return folder


def test_an_encoder_like_roberta_takes_two_tokens_less_than_it_has_positions(tiny_roberta: Path) -> None:
    long = Notes(["cough " * 40, "fever " * 40], ["J189", "I10"])
    assert len(encoder(Splits(long, long, ["cough " * 40]), settings(tiny_roberta, epochs=1)).codes) == 1
    with pytest.raises(UserError, match=r"^spec.stages.evaluate.encoder.maxTokens: is 17, the model takes 16"):
        encoder(SPLITS, settings(tiny_roberta, max_tokens=17))


@pytest.mark.parametrize("codes", [["J189"], ["J189", "J189", "I10"]])
def test_few_notes_of_one_or_two_codes_are_enough(codes: list[str], tiny_bert: Path) -> None:
    few = Notes(["cough", "fever and cough", "high blood pressure"][: len(codes)], codes)
    found = encoder(Splits(few, few, ["cough"]), settings(tiny_bert))
    assert found.codes == ["J189"]
