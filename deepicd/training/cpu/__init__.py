"""The training stack without a GPU: everything specific to it is in this package."""
