"""The judge: a language model answers yes-or-no questions about each completion; their weighted share is a term."""
