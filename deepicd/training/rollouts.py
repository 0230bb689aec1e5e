"""The random seed of each completion of GRPO, and the order in which a step's completions are trained on.

Both depend only on a completion's position in the run, so that a resumed run continues as an uninterrupted one would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256


def rollout_seed(seed: int, *, step: int, split: str, index: int, rollout: int) -> int:
    """A number in [0, 2^63), different for each seed of a run, step, prompt and rollout of the prompt.

    `index` is the prompt's row in the file of its `split`; `step` keeps an epoch from repeating the one before.
    """
    return int.from_bytes(sha256(f"{seed} {step} {split} {index} {rollout}".encode()).digest()[:8]) >> 1


def rollout_order(keys: Sequence[str], places: Mapping[str, int]) -> list[int]:
    """The positions of `keys` by prompt, then by rollout. verl's keys: PROMPT_ROLLOUT_OUTPUT; `places`: of the prompts.

    Raises:
        KeyError: a key's prompt has no place.
    """

    def place(position: int) -> tuple[int, int, int]:
        prompt, rollout, output = keys[position].split("_")
        return places[prompt], int(rollout), int(output)

    return sorted(range(len(keys)), key=place)
