"""A tiny model that has learned one answer, whatever it is asked: traces without a stage of SFT."""

from __future__ import annotations

from pathlib import Path

from deepicd import prompt
from deepicd.spec.model import ModelSpec
from deepicd.training.base_model import make
from tests.training.runs import TINY

ANSWER = "pain.</think>\n<diagnosis>M5116</diagnosis><|im_end|>"
"""What it says after the opened `<think>`."""
_STEPS = 120
_NOTE_TOKENS = 12


def make_answering_model(cohort: Path, folder: Path, says: str = ANSWER) -> Path:
    """Write the model's folder; returns it."""
    import pyarrow.parquet as pq
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    make(ModelSpec.model_validate({"tiny": TINY}), cohort / "train.parquet", folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    notes = [row[-1]["content"] for row in pq.read_table(cohort / "train.parquet", columns=["prompt"])["prompt"].to_pylist()]
    answer = tokenizer(says, add_special_tokens=False)["input_ids"]
    opening = tokenizer.apply_chat_template(prompt.messages(""), tokenize=False, add_generation_prompt=True)[-30:]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several wait for each other on a busy machine
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(_STEPS):
        rows = []
        for note in notes[8 * step % len(notes) :][:8]:
            words = tokenizer(note, add_special_tokens=False)["input_ids"][-_NOTE_TOKENS:]
            rows.append([*words, *tokenizer(opening, add_special_tokens=False)["input_ids"], *answer])
        length = min(map(len, rows))
        tokens = torch.tensor([row[-length:] for row in rows])
        labels = tokens.clone()
        labels[:, : -len(answer)] = -100
        model(input_ids=tokens, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    torch.set_num_threads(threads)
    model.save_pretrained(folder)
    return folder
