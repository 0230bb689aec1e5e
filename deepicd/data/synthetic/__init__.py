"""MIMIC-IV-shaped tables of invented patients, for trials and tests."""

from deepicd.data.synthetic.tables import write_tables

__all__ = ["write_tables"]
