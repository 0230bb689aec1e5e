"""verl's FSDP engine with our attention for packed sequences and our log-probabilities."""

from __future__ import annotations

from typing import Any

import torch
from verl.utils.device import get_device_name, get_vendor
from verl.utils.torch_dtypes import PrecisionType
from verl.utils.torch_functional import FLAH_ATTN_CROSS_ENTROPY_LOSS_AVAILABLE
from verl.workers.engine.base import EngineRegistry
from verl.workers.engine.fsdp import transformer_impl

from deepicd.errors import UserError
from deepicd.training.log_probs import logprobs_from_logits
from deepicd.training.overrides import PACKED
from deepicd.training.packed_attention import choose, packed_attention, register
from deepicd.training.stage_files import StageFiles

register()
if not FLAH_ATTN_CROSS_ENTROPY_LOSS_AVAILABLE:
    transformer_impl.logprobs_from_logits = logprobs_from_logits


@EngineRegistry.register(model_type="language_model", backend=["fsdp", "fsdp2"], device="cuda", vendor=get_vendor())
class Engine(transformer_impl.FSDPEngineWithLMHead):  # type: ignore[misc]
    """Chooses the attention function before it builds the model."""

    def initialize(self) -> None:
        """Build the model.

        Raises:
            UserError: sequence parallelism is requested, but flash-attn is not installed or does not work here.
        """
        config = self.model_config.hf_config
        if config._attn_implementation == PACKED:
            self._choose_attention(config)
        super().initialize()

    def forward_step(self, *arguments: Any, **options: Any) -> Any:
        """See verl's. Raises: UserError: the model cannot be trained with packed sequences."""
        try:
            return super().forward_step(*arguments, **options)
        except UserError as error:
            StageFiles.from_environment().report_failure(error)
            raise

    def _choose_attention(self, config: Any) -> None:
        text = config.get_text_config()
        head_size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        chosen = choose(get_device_name(), self._number_format(), head_size)
        if self.rank == 0:
            after = f" ({'; '.join(chosen.refused)})" if chosen.refused else ""
            print(f"attention of packed sequences: {chosen.title}{after}", flush=True)  # noqa: T201 - the stage's log
        if chosen.implementation == PACKED and self.engine_config.ulysses_sequence_parallel_size > 1:
            error = UserError("ulysses_sequence_parallel_size: needs flash-attn, which does not work here: leave it at 1")
            StageFiles.from_environment().report_failure(error)
            raise error
        packed_attention.kernel = chosen.kernel
        config._attn_implementation = chosen.implementation

    def _number_format(self) -> torch.dtype:
        precision = self.engine_config.mixed_precision or {}
        found: torch.dtype = PrecisionType.to_dtype(precision.get("param_dtype", "bf16"))
        return found
