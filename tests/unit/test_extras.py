"""The extras named in messages are those of the package."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from deepicd import extras
from deepicd.errors import UserError

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
LISTED = PROJECT["optional-dependencies"]
DIRECT = {
    "torch",
    "transformers",
    "verl",
    "vllm",
    "boto3",
    "botocore",
    "urllib3",
    "aiohttp",
    "kubernetes",
    "kopf",
    "prometheus_client",
}


@pytest.mark.parametrize("module", sorted(DIRECT))
def test_a_module_is_in_the_extra_that_is_named(module: str) -> None:
    said = extras.missing(ModuleNotFoundError(name=f"{module}.inner"))
    for extra in re.findall(r"deepicd\[([a-z0-9-]+)\]", said):
        distributions = {name.lower() for name in packages_distributions()[module]} | {module.replace("_", "-")}
        assert any(re.match(r"[A-Za-z0-9-]+", each)[0].lower() in distributions for each in LISTED[extra]), extra  # type: ignore[index]


def test_what_is_missing_is_named() -> None:
    extras.require("x", ["json"])
    extras._EXTRAS["no_such_module"] = "'deepicd[s3]'"
    try:
        with pytest.raises(UserError, match=r"^x: needs no_such_module, not installed here: pip install 'deepicd\[s3\]'$"):
            extras.require("x", ["json", "no_such_module"])
    finally:
        del extras._EXTRAS["no_such_module"]


def test_a_module_of_no_extra_is_an_error_of_ours() -> None:
    error = ModuleNotFoundError("No module named 'deepicd.nothing'", name="deepicd.nothing")
    with pytest.raises(ModuleNotFoundError):
        extras.missing(error)
