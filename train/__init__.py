"""Turns photos and anime frames into generator checkpoints: `python -m train.run EXPERIMENT`."""

import os
import sys


def use_onednn(pictures: int) -> None:
    """Has TensorFlow convolve with oneDNN on any x86; does nothing once TensorFlow is imported, which decides then.

    By itself it does so only where a CPU has AVX512-VNNI or newer. A convolution of one picture is no faster for it, and a
    large kernel's is a hundred times slower, as oneDNN then takes its reference code.

    Args:
        pictures: how many a convolution has to do with at a time; for one this does nothing.
    """
    if pictures > 1 and "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
