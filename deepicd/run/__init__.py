"""The order of the stages, and going on where a run stopped."""
