"""Edge smoothing, the pictures that teach the discriminator to ask for clear edges.

Reference: AnimeGAN edge_smooth.py (Canny, dilate, and a Gaussian only there), Chen et al. 2018 (CartoonGAN), section 3.1.
"""

import cv2
import numpy as np

EDGE_THRESHOLDS = (100, 200)
KERNEL_SIZE = 5


def smooth_edges(image: np.ndarray) -> np.ndarray:
    """Blurs a picture at and around its edges and leaves every other pixel as it is.

    `cv2.getGaussianKernel(5, 0)` is the binomial (1, 4, 6, 4, 1)/16, so every sum is a multiple of 1/256 and exact in
    float32. The cast then truncates, as the reference's assignment of floats to a uint8 array does.

    Args:
        image: uint8 (H, W, 3) RGB.

    Returns:
        uint8 (H, W, 3) RGB.

    Raises:
        ValueError: another dtype or shape.
    """
    _check(image)
    edges = cv2.Canny(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), *EDGE_THRESHOLDS)
    near_edge = cv2.dilate(edges, np.ones((KERNEL_SIZE, KERNEL_SIZE), np.uint8)) != 0
    kernel = cv2.getGaussianKernel(KERNEL_SIZE, 0)
    blurred = cv2.sepFilter2D(image, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)
    smooth = image.copy()
    smooth[near_edge] = blurred[near_edge].astype(np.uint8)
    return smooth


def _check(image: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected uint8 (H, W, 3), got {image.dtype} {image.shape}")
