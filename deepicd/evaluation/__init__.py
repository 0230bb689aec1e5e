"""Evaluation: metrics (pure), predictions, report."""
