"""Reasoning traces from a teacher, and the rules that decide which answers are kept."""
