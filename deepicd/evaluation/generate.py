"""Completions from a model folder through vLLM, in batches. Imports vLLM: only a process that generates imports this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from vllm import LLM, SamplingParams

from deepicd import prompt


@dataclass(frozen=True, slots=True)
class Generated:
    """One completion."""

    text: str
    truncated: bool
    """The completion hit the token limit."""


class Generator:
    """A model in vLLM, asked with the prompt that it was trained with."""

    def __init__(
        self, model: Path, *, max_prompt_tokens: int, max_response_tokens: int, engine: Mapping[str, Any], seed: int
    ) -> None:
        self._max_prompt_tokens = max_prompt_tokens
        self._max_response_tokens = max_response_tokens
        self._seed = seed
        self._llm = LLM(
            model=str(model),
            max_model_len=max_prompt_tokens + max_response_tokens,
            seed=seed,
            disable_log_stats=True,
            **engine,
        )
        self._tokenizer = self._llm.get_tokenizer()

    def generate(
        self, notes: Sequence[str], *, temperature: float = 0.0, top_k: int = -1, samples: int = 1
    ) -> list[list[Generated]]:
        """Complete the prompt of each note `samples` times; temperature 0 is greedy. Result: notes × samples."""
        prompts = [{"prompt_token_ids": self._prompt_tokens(note)} for note in notes]
        # Requests with one seed would draw the same random numbers: each note has its own.
        parameters = [
            SamplingParams(
                n=samples,
                temperature=temperature,
                top_k=top_k,
                max_tokens=self._max_response_tokens,
                seed=int.from_bytes(sha256(f"{self._seed} {note}".encode()).digest()[:4]),
            )
            for note in notes
        ]
        outputs = self._llm.generate(prompts, parameters, use_tqdm=False)
        return [
            [Generated(choice.text, truncated=choice.finish_reason == "length") for choice in output.outputs]
            for output in outputs
        ]

    def _prompt_tokens(self, note: str) -> list[int]:
        tokens = self._template(note)
        if (excess := len(tokens) - self._max_prompt_tokens) > 0:
            # Cut the note, not the turn that follows it; a few tokens more, since a cut can change its neighbours.
            kept = self._tokenizer.encode(note, add_special_tokens=False)[: -excess - 8]
            tokens = self._template(self._tokenizer.decode(kept))
        return tokens

    def _template(self, note: str) -> list[int]:
        encoded = self._tokenizer.apply_chat_template(
            prompt.messages(note), add_generation_prompt=True, tokenize=True, return_dict=True
        )
        return list(encoded["input_ids"])

    @property
    def opened_think(self) -> bool:
        """Whether the model's chat template ends in an opened `<think>`."""
        text = self._tokenizer.apply_chat_template(prompt.messages(""), add_generation_prompt=True, tokenize=False)
        return str(text).rstrip().endswith(prompt.THINK_OPENING)

    def close(self) -> None:
        """Free the model's memory, by ending vLLM's engine."""
        self._llm.llm_engine.engine_core.shutdown()
