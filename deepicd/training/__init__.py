"""Translates a RunSpec for verl, and supervises the training process. The only package that knows verl and Ray."""

from pathlib import Path


def reward_manager_path() -> Path:
    """File of the reward manager, which verl loads by path."""
    return Path(__file__).with_name("reward_manager.py")
