"""Reasoning traces from a teacher, and the rules by which its answers are kept."""
