"""Checkpoints of different experiments, held against each other on a person's own photo."""
