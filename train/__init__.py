"""Turns photos and anime frames into generator checkpoints: `python -m train.run EXPERIMENT`."""
