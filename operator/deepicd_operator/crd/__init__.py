"""The CustomResourceDefinition, generated from the models of run.yaml and of the status."""

from deepicd_operator.crd.definition import crd, crd_yaml

__all__ = ["crd", "crd_yaml"]
