"""The extras of the package: what a light installation leaves out."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from deepicd.errors import UserError

TRAINING = ("torch", "transformers", "verl", "vllm", "ray", "hydra")
"""Modules that training and prediction need."""
_TRAIN = "'deepicd[train]', or 'deepicd[train-cpu]' without a GPU"
_EXTRAS = {
    **dict.fromkeys((*TRAINING, "huggingface_hub", "omegaconf", "rensa", "tensordict", "tokenizers"), _TRAIN),
    **dict.fromkeys(("boto3", "botocore", "urllib3"), "'deepicd[s3]'"),
    **dict.fromkeys(("aiohttp", "kubernetes"), "'deepicd[cluster]'"),
    **dict.fromkeys(("kopf", "prometheus_client"), "'deepicd[operator]'"),
}
"""What to install for each module."""


def require(what: str, modules: Iterable[str]) -> None:
    """Check that modules are installed, without importing them; `what` needs them.

    Raises:
        UserError: one is missing; the message names the extra.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise UserError(f"{what}: needs {', '.join(missing)}, not installed here: pip install {_EXTRAS[missing[0]]}")


def missing(error: ModuleNotFoundError) -> str:
    """What to install for a module that was not found. Raises the error again if it is of no extra."""
    name = (error.name or "").partition(".")[0]
    if name not in _EXTRAS:
        raise error
    return f"{name}: is not installed: pip install {_EXTRAS[name]}"
