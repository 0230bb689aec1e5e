"""The stages of a run: each takes folders of earlier ones and fills its own."""
