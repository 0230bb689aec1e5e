"""The models of run.yaml. Importing this package pulls in nothing heavy."""

from deepicd.spec.load import dump, json_schema, load, parse
from deepicd.spec.run import DeepICDRun, RunSpec

__all__ = ["DeepICDRun", "RunSpec", "dump", "json_schema", "load", "parse"]
