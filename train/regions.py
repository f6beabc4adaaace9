"""What AnimeGANv3 makes of its own drawings between two steps: means over regions, and drawings without texture.

NumPy, OpenCV, SciPy and scikit-image only: this runs in processes of its own (processes.py), which need no TensorFlow.
Rounding is the reference's, which cuts off what is behind the point.

Reference: AnimeGANv3_hayao.py, get_seg and get_NLMean_l0; Felzenszwalb and Huttenlocher 2004 (segmentation).
"""

import cv2
import numpy as np

from train.painting import minimise_gradients

SCALE, SIGMA = 5, 0.8
"""Of the segmentation: larger scales make larger regions; the blur before it, in pixels."""
CHROMA_STRENGTH, SEARCH = 6, 7
"""Of non-local means: the strength on colours, and the window in which alike patches are looked for, in pixels."""
THRESHOLD, END = 0.005, 1e5
"""λ of the L0 gradient minimisation, and the β that it ends with. The reference's wraps around, where ours is mirrored."""


def average_regions(image: np.ndarray, least: int = 50) -> np.ndarray:
    """Each region in its mean colour: uint8 (H, W, 3) RGB to the same; regions have at least `least` pixels."""
    from skimage.segmentation import felzenszwalb  # takes a second to load, and few commands need it

    labels = felzenszwalb(image, scale=SCALE, sigma=SIGMA, min_size=least)
    flat, counts = labels.ravel(), np.bincount(labels.ravel())
    means = np.stack([np.bincount(flat, channel) / counts for channel in image.reshape(-1, 3).T], axis=-1)
    return means[labels].astype(np.uint8)


def regions_of(drawing: np.ndarray, least: int) -> np.ndarray:
    """`average_regions` of a drawing: float32 (H, W, 3) RGB in [-1, 1] to the same."""
    return average_regions(_to_bytes(drawing), least).astype(np.float32) / 127.5 - 1


def without_texture(drawing: np.ndarray, strength: float, window: int) -> np.ndarray:
    """A drawing after non-local means and L0 gradient minimisation: float32 (H, W, 3) RGB in [-1, 1] to the same.

    Args:
        drawing: what the support tail drew.
        strength: of non-local means on luma, the noise's deviation, of 255.
        window: side of the patches that it compares, in pixels, odd.
    """
    # OpenCV takes what it is given for BGR; the reference gives it RGB, and so it is here
    quiet = cv2.fastNlMeansDenoisingColored(_to_bytes(drawing), None, strength, CHROMA_STRENGTH, window, SEARCH)
    return minimise_gradients(quiet.astype(np.float32) / 255, THRESHOLD, end=END) * 2 - 1


def _to_bytes(drawing: np.ndarray) -> np.ndarray:
    return np.clip((drawing + 1) * 127.5, 0, 255).astype(np.uint8)
