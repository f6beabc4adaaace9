"""Contours: where a network says that things end, as lines of a width."""

import cv2
import numpy as np
import pytest

from train import contours, targets


def crest(middle: float, height: float = 1.0, side: int = 48) -> np.ndarray:
    """A map whose crest runs down at x = middle."""
    across = height * np.exp(-((np.arange(side) - middle) ** 2) / (2 * 2.0**2))
    return np.repeat(across[None].astype(np.float32), side, axis=0)


@pytest.mark.parametrize("middle", [20.0, 20.3, 20.5])
def test_a_line_lies_on_the_crest_to_a_fraction_of_a_pixel(middle: float):
    line = contours.trace(crest(middle), 0.8)[24]
    assert (line * np.arange(48)).sum() / line.sum() == pytest.approx(middle, abs=0.08)


def test_a_line_is_nearly_as_wide_as_asked():
    """Narrower by up to a third: a crest is round, and the offset from it then looks larger than it is."""
    for width in (0.6, 0.85, 1.2):
        assert 0.65 < contours.trace(crest(24), width)[24].sum() / (np.sqrt(2 * np.pi) * width) <= 1


def test_what_is_unsure_tapers_and_what_is_no_crest_gives_no_line():
    sure, unsure, unlikely = (contours.trace(crest(24, height), 0.8).max() for height in (0.9, 0.45, 0.15))
    assert sure > 0.95 and 0.1 < unsure < 0.9 and unlikely < 0.01
    assert contours.trace(np.full((40, 40), 0.8, np.float32), 0.8).max() < 0.01, "a plateau"


def stroke(length: int, sure: float, softness: float) -> np.ndarray:
    """What is left at the middle of a stroke of 0.9 along an edge of the photo so soft, of which the network is so sure."""
    lines, found = np.zeros((64, 64), np.float32), np.zeros((64, 64), np.float32)
    lines[31:33, 4 : 4 + length], found[29:35, 4 : 4 + length] = 0.9, sure
    photo = np.full((64, 64, 3), 0.3, np.float32)
    photo[32:] = 0.6
    return contours.without_dashes(lines, found, cv2.GaussianBlur(photo, (0, 0), softness))[31, 4 + length // 2]


def test_dashes_go_and_what_runs_on_or_is_sure_stays():
    assert stroke(48, 0.5, 0.6) == pytest.approx(0.9, abs=0.01), "it runs on, along a sharp edge"
    assert stroke(8, 0.5, 0.6) == pytest.approx(0, abs=0.01), "a dash"
    assert stroke(48, 0.5, 8.0) == pytest.approx(0, abs=0.01), "a streak of a cloud"
    assert stroke(8, 0.95, 0.6) == stroke(48, 0.95, 8.0) == pytest.approx(0.9, abs=0.01), "a person would trace it"
    assert 0.1 < stroke(20, 0.5, 0.6) < 0.8, "in between"


def test_things_are_outlined_and_gravel_is_not():
    """A disc on gravel: a difference of Gaussians draws every stone, the network the disc alone."""
    rng = np.random.default_rng(0)
    gravel = cv2.GaussianBlur(rng.normal(0, 1, (160, 160)).astype(np.float32), (0, 0), 1.2)
    photo = np.clip(0.45 + 0.25 * gravel, 0, 1)[..., None] * np.array([1, 0.95, 0.85], np.float32)
    down, right = np.mgrid[:160, :160] - 80
    distance = np.hypot(down, right)
    photo[distance < 45] = (0.85, 0.3, 0.25)
    photo = cv2.GaussianBlur(photo, (0, 0), 0.7)
    taken = (photo - contours.contour(photo, photo)).max(-1)
    rim, stones = np.abs(distance - 45) < 4, distance > 55
    angles = np.arctan2(down, right)[rim & (taken > 0.15)]
    assert np.histogram(angles, 24, (-np.pi, np.pi))[0].astype(bool).sum() >= 20, "all the way round"
    assert (taken[stones] > 0.15).mean() < 0.02


def test_what_is_thin_becomes_a_line_where_there_is_a_thing(monkeypatch: pytest.MonkeyPatch):
    """A wire, which the network half sees, and not the dark strokes of a hedge, which it does not."""
    photo = np.full((96, 96, 3), 0.75, np.float32)
    photo[20:22], photo[70:72] = 0.2, 0.2
    found = np.zeros((96, 96), np.float32)
    found[15:26] = 0.4  # a plateau, along which nothing is traced
    monkeypatch.setattr(contours, "find_contours", lambda photo: found)
    taken = (photo - contours.contour(photo, photo)).max(-1)[:, 10:86]
    assert taken[18:24].max(0).min() > 0.1 and taken[60:].max() < 0.01


def test_what_a_pretrained_network_painted_is_told():
    assert targets.networks("denoise | light") == []
    (told,) = targets.networks("denoise | contours(1.2) | light")
    assert told.startswith("HED, trained on outlines")


def test_a_target_with_contours_is_darker_only_where_they_run():
    photo = np.full((64, 64, 3), 180, np.uint8)
    photo[16:48, 16:48] = (60, 90, 150)
    drawn = targets.paint(photo, "contours(1, 1, 0.9)")
    assert (drawn <= photo).all() and (drawn < photo - 40).any()
    np.testing.assert_array_equal(drawn[28:36, 28:36], photo[28:36, 28:36])
