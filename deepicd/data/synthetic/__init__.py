"""Tables of invented patients in MIMIC-IV's format, for trials and tests."""

from deepicd.data.synthetic.tables import write_tables

__all__ = ["write_tables"]
