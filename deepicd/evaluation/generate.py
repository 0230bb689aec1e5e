"""Completions of a model folder through vLLM, in batches. It imports vLLM, so only a process that generates may import it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from vllm import LLM, SamplingParams
from vllm.sampling_params import StructuredOutputsParams

from deepicd.data.example_tokens import Chat


@dataclass(frozen=True, slots=True)
class Generated:
    """One completion."""

    text: str
    truncated: bool
    """Whether the completion reached the token limit."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How completions are sampled; by default one, greedily."""

    temperature: float = 0.0
    """0 is greedy."""
    top_k: int = -1
    """Sample from this many of the likeliest tokens; -1: from all."""
    samples: int = 1
    structural_tag: str | None = None
    """Constrains the completions (`deepicd.evaluation.constraint`)."""


GREEDY = Sampling()


class Generator:
    """A model in vLLM."""

    def __init__(
        self,
        model: Path,
        *,
        max_prompt_tokens: int,
        max_response_tokens: int,
        engine: Mapping[str, Any],
        seed: int,
        chat_template: str | None = None,
    ) -> None:
        """`engine`: arguments of vLLM's engine; `chat_template`: replaces the model's own."""
        self._chat_template = chat_template
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

    def load(self, model: Path) -> None:
        """Replace the weights with those of another folder, whose model has the same shapes, tokenizer and chat template."""
        self._llm.collective_rpc("reload_weights", kwargs={"weights_path": str(model)})
        # Its content was computed with the previous weights.
        self._llm.reset_prefix_cache()

    def generate(self, chats: Sequence[Chat], *samplings: Sampling) -> list[list[list[Generated]]]:
        """Complete each chat, which ends in the user turn, in each way, all in one batch. Result: ways × chats × samples.

        A chat must have at most `max_prompt_tokens` (`deepicd.data.prompts`).
        """
        prompts = [{"prompt_token_ids": self._tokens(chat)} for chat in chats]
        parameters = [self._parameters(chat, sampling) for sampling in samplings for chat in chats]
        outputs = self._llm.generate(prompts * len(samplings), parameters, use_tqdm=False)
        completions = [
            [Generated(choice.text, truncated=choice.finish_reason == "length") for choice in output.outputs]
            for output in outputs
        ]
        return [completions[at * len(chats) : (at + 1) * len(chats)] for at in range(len(samplings))]

    def _parameters(self, chat: Chat, sampling: Sampling) -> SamplingParams:
        # Requests with the same seed would draw the same random numbers, so each prompt gets its own.
        seed = int.from_bytes(sha256(f"{self._seed} {chat[-1]['content']}".encode()).digest()[:4])
        return SamplingParams(
            n=sampling.samples,
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            max_tokens=self._max_response_tokens,
            seed=seed,
            structured_outputs=None
            if sampling.structural_tag is None
            else StructuredOutputsParams(structural_tag=sampling.structural_tag),
        )

    def _tokens(self, chat: Chat) -> list[int]:
        encoded = self._tokenizer.apply_chat_template(
            chat, chat_template=self._chat_template, add_generation_prompt=True, tokenize=True, return_dict=True
        )
        return list(encoded["input_ids"])

    def close(self) -> None:
        """Shut down vLLM's engine, which frees the model's memory."""
        self._llm.llm_engine.engine_core.shutdown()
