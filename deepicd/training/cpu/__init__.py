"""The training stack without a GPU: everything that is special about it is in this package."""
