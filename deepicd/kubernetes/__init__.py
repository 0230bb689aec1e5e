"""Runs on Kubernetes, seen from `deepicd`: its commands, and what an attempt's pod reports."""
