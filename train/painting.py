"""Filters that make a drawing of a photo: what a generator is taught to imitate.

Each takes a picture (H, W, 3) float32 RGB in [0, 1] and returns one; lengths are in pixels, so a photo is painted at the
size at which it is trained on. `targets.py` chains them by name.

Reference: Buades et al. 2011 (non-local means), Xu et al. 2011 (L0 gradient minimisation), Kyprianidis et al. 2009
(Kuwahara filter in sectors), Kang et al. 2007 and Winnemöller 2011 (flow-based difference of Gaussians).
"""

import cv2
import numpy as np
from scipy import fft

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def denoise(picture: np.ndarray, strength: float = 4.0) -> np.ndarray:
    """Non-local means in colour: removes grain, keeps edges. `strength` is the noise's deviation, of 255."""
    bgr = cv2.cvtColor(_to_bytes(picture), cv2.COLOR_RGB2BGR)
    quiet = cv2.fastNlMeansDenoisingColored(bgr, None, strength, strength, 5, 9)
    return np.asarray(cv2.cvtColor(quiet, cv2.COLOR_BGR2RGB), np.float32) / 255


def flatten(picture: np.ndarray, threshold: float = 0.01) -> np.ndarray:
    """Areas of one colour: L0 gradient minimisation, with a quarter of a bilateral filter to keep the gradients of skies.

    Where there is little contrast around (haze, a far ridge), the threshold falls with it, so that faint silhouettes stay.

    Args:
        picture: (H, W, 3) float32 [0, 1].
        threshold: λ, 0.005 (AnimeGANv3's) to 0.02; larger is flatter.
    """
    gray = picture @ LUMA
    mean = blur(gray, 12)
    contrast = np.sqrt(np.maximum(blur(gray * gray, 12) - mean * mean, 0))
    flat = minimise_gradients(picture, threshold, np.clip((contrast / 0.08) ** 2, 0.08, 2.0))
    bilateral = cv2.bilateralFilter(_to_bytes(picture), 9, 30, 7).astype(np.float32) / 255
    return 0.75 * flat + 0.25 * bilateral


def minimise_gradients(
    picture: np.ndarray, threshold: float, weight: np.ndarray | float = 1.0, end: float = 1e4
) -> np.ndarray:
    """L0 gradient minimisation: the picture nearest to this one with few gradients other than 0.

    Mirrored borders, so a cosine transform solves what Xu et al. solve by a Fourier transform.

    Args:
        picture: (H, W, 3) float32 [0, 1].
        threshold: λ.
        weight: scales λ, everywhere or at each pixel (H, W).
        end: the β to stop at; more brings gradients nearer to 0 (Xu et al.: 1e5), and takes longer.
    """
    height, width = picture.shape[:2]
    laplacian = _cosine_laplacian(height)[:, None] + _cosine_laplacian(width)[None, :]
    flat = np.ascontiguousarray(picture.astype(np.float32).transpose(2, 0, 1))  # a plane a channel: a third faster
    picture_spectrum = fft.dctn(flat, axes=(1, 2), norm="ortho")
    down, right = np.zeros_like(flat), np.zeros_like(flat)
    beta = 2 * threshold
    while beta < end:
        np.subtract(flat[:, 1:], flat[:, :-1], out=down[:, :-1])
        np.subtract(flat[:, :, 1:], flat[:, :, :-1], out=right[:, :, :-1])
        steep = (down * down + right * right).sum(0) > threshold / beta * weight
        down *= steep
        right *= steep
        divergence = -down - right
        divergence[:, 1:] += down[:, :-1]
        divergence[:, :, 1:] += right[:, :, :-1]
        spectrum = fft.dctn(divergence, axes=(1, 2), norm="ortho", overwrite_x=True)
        spectrum = (picture_spectrum + beta * spectrum) / (1 + beta * laplacian)
        flat = fft.idctn(spectrum, axes=(1, 2), norm="ortho", overwrite_x=True)
        beta *= 2
    return np.asarray(np.clip(flat.transpose(1, 2, 0), 0, 1), np.float32)


def dab(picture: np.ndarray, photo: np.ndarray, radius: int = 3) -> np.ndarray:
    """Brush dabs where the photo is busy in both directions (foliage, gravel, fur): a Kuwahara filter in eight sectors.

    None where its edges run in one direction or at right angles, as those of houses, windows and writing do.

    Args:
        picture: (H, W, 3) float32 [0, 1], painted so far.
        photo: the same size, whose texture decides where.
        radius: of a dab, in pixels.
    """
    _, across, _, _ = _structure(photo @ LUMA, 2.5)
    squared = blur(ramp(blur(_squareness(photo @ LUMA, 5), 1.5), 0.25, 0.5), 2)
    busy = (blur(ramp(np.sqrt(across), 0.012, 0.035), 4) * (1 - squared))[..., None]
    return picture * (1 - busy) + _kuwahara((photo + picture) / 2, radius) * busy


def light(picture: np.ndarray, chroma: float = 1.4, shadows: float = 9.0, split: float = 1.0) -> np.ndarray:
    """The light of anime: open shadows, full colours, cool darks and warm lights.

    Args:
        picture: (H, W, 3) float32 [0, 1].
        chroma: factor on Lab's chroma, less where a colour is full already.
        shadows: by how much L (0 to 100) rises at 34, black and white staying; what is more than 20 raises what the first
            20 gave, and so on up to 100, so that lighter stays lighter.
        split: times 4 towards blue in the darks and 2 towards yellow in the lights, of Lab's b.
    """
    lab = cv2.cvtColor(picture.astype(np.float32), cv2.COLOR_RGB2LAB)
    factor = _full(np.hypot(lab[..., 1], lab[..., 2]), chroma)
    lab[..., 0] = _open(lab[..., 0], shadows)
    lab[..., 1:] = lab[..., 1:] * factor[..., None]
    lab[..., 2] = lab[..., 2] + split * _split(lab[..., 0])
    return np.asarray(np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), 0, 1), np.float32)


def unlight(picture: np.ndarray, chroma: float = 1.4, shadows: float = 9.0, split: float = 1.0) -> np.ndarray:
    """What `light` would have made this picture of."""
    lab = cv2.cvtColor(picture.astype(np.float32), cv2.COLOR_RGB2LAB)
    lab[..., 2] = lab[..., 2] - split * _split(lab[..., 0])
    levels, colours = np.linspace(0, 100, 512), np.linspace(0, 140, 512)
    lab[..., 0] = np.interp(lab[..., 0], _open(levels, shadows), levels)
    full = np.hypot(lab[..., 1], lab[..., 2])
    dull = np.interp(full, colours * _full(colours, chroma), colours)
    lab[..., 1:] = lab[..., 1:] * (dull / np.maximum(full, 1e-6))[..., None]
    return np.asarray(np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), 0, 1), np.float32)


def _open(lightness: np.ndarray, shadows: float) -> np.ndarray:
    for before in np.arange(0, min(shadows, 100), 20):
        lightness = lightness + min(shadows - before, 20) * np.exp(-(((lightness - 34) / 18) ** 2))
    return 3 + 0.95 * np.clip(lightness, 0, 100)


def _full(colour: np.ndarray, chroma: float) -> np.ndarray:
    return 1 + (chroma - 1) * np.exp(-((colour / 60) ** 2))


def _split(lightness: np.ndarray) -> np.ndarray:
    return 2 * ramp(lightness, 55, 90) - 4 * (1 - ramp(lightness, 8, 38))


def quantise(picture: np.ndarray, levels: int = 6, sharpness: float = 3.0) -> np.ndarray:
    """Shades in steps, as an inker's: L is drawn to multiples of 100 / levels (Winnemöller et al. 2006)."""
    lab = cv2.cvtColor(picture.astype(np.float32), cv2.COLOR_RGB2LAB)
    step = 100 / levels
    middle = (np.floor(lab[..., 0] / step) + 0.5) * step
    lab[..., 0] = middle + step / 2 * np.tanh(sharpness * 2 * (lab[..., 0] - middle) / step) / np.tanh(sharpness)
    return np.asarray(np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), 0, 1), np.float32)


def bloom(picture: np.ndarray, strength: float = 0.4, radius: float = 12.0) -> np.ndarray:
    """Light that spills over: what is bright is blurred by a radius in pixels and screened over the picture."""
    bright = blur(picture * ramp(picture @ LUMA, 0.6, 0.95)[..., None], radius)
    return np.asarray(1 - (1 - picture) * (1 - strength * bright), np.float32)


def shade_clouds(picture: np.ndarray, photo: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Clouds in three tones: a lit top, a body, a cool underside; also smooth snow that stands against a blue sky.

    Args:
        picture: (H, W, 3) float32 [0, 1], painted so far.
        photo: the same size, in which clouds are what is white and smooth, wider than a fiftieth of the longer side, and
            hangs together with a sky's blue: with a little of it at the picture's upper edge, with much of it below.
        strength: share of the tones in [0, 1].
    """
    lab = cv2.cvtColor(blur(photo, 1.2), cv2.COLOR_RGB2LAB)
    light, red, yellow = lab[..., 0], lab[..., 1], lab[..., 2]
    blue = ramp(-yellow, 10, 18) * ramp(light, 30, 45)
    white = ramp(light, 62, 74) * (1 - ramp(np.hypot(red, np.maximum(yellow, 0)), 6, 12))
    texture = _blur_within(np.abs(light - _blur_within(light, white, 3)), white, 4)
    white = white * (1 - ramp(texture, 2.5, 5))
    reach = round(max(light.shape) / 100)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    white = np.minimum(white, cv2.dilate(cv2.morphologyEx(white, cv2.MORPH_OPEN, disc), disc))  # no snow on roofs
    count, parts, boxes, _ = cv2.connectedComponentsWithStats(
        ((white > 0.5) | (blue > 0.5)).astype(np.uint8), connectivity=4
    )
    area = boxes[:, cv2.CC_STAT_AREA]
    share = np.bincount(parts.ravel(), (blue > 0.5).ravel(), count) / np.maximum(area, 1)
    top = boxes[:, cv2.CC_STAT_TOP] / light.shape[0]
    is_sky = (share > np.where(top < 0.02, 0.08, 0.5)) & (area > 0.03 * light.size) & (top < 1 / 3)  # no sign on a wall
    is_sky[0] = False  # what belongs to no part
    cloud = blur(is_sky[parts].astype(np.float32), 1) * white * (1 - ramp(-yellow, 6, 14))
    body = _blur_within(light, cloud, 4)
    tone = 0.5 + (body - _blur_within(light, cloud, 24)) / 10 + (body - 84) / 40
    tone = (np.tanh(12 * (tone - 1 / 3)) + np.tanh(12 * (tone - 2 / 3)) + 2) / 4
    shaded = cv2.cvtColor(picture.astype(np.float32), cv2.COLOR_RGB2LAB)
    toned = np.stack([82 + 15 * tone, np.zeros_like(tone), 11 * tone - 9], axis=-1)
    shaded += (strength * cloud)[..., None] * (toned - shaded)
    return np.asarray(np.clip(cv2.cvtColor(shaded, cv2.COLOR_LAB2RGB), 0, 1), np.float32)


def _blur_within(plane: np.ndarray, mask: np.ndarray, sigma: float) -> np.ndarray:
    """A blurred plane (H, W) that only takes what the mask, (H, W) [0, 1], holds."""
    return np.asarray(blur(plane * (mask + 1e-4), sigma) / blur(mask + 1e-4, sigma))


def dusk(picture: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Evening: all is darker and blue, and warm bright colours stay lit as lamps are."""
    lab = cv2.cvtColor(picture.astype(np.float32), cv2.COLOR_RGB2LAB)
    lightness, a, b = lab[..., 0], lab[..., 1], lab[..., 2]
    share = strength * (1 - 0.8 * ramp(b, 12, 45) * ramp(lightness, 45, 75))
    dark = lightness * (1 - 0.42 * share * (1 - 0.25 * ramp(lightness, 70, 100)))
    blue = np.stack([dark, a * (1 - 0.35 * share) + 3 * share, b * (1 - 0.45 * share) - 20 * share], axis=-1)
    return np.asarray(np.clip(cv2.cvtColor(blue.astype(np.float32), cv2.COLOR_LAB2RGB), 0, 1), np.float32)


def outline(
    picture: np.ndarray, photo: np.ndarray, strength: float = 1.1, width: float = 1.0, darkness: float = 0.85
) -> np.ndarray:
    """Lines in a dark tint of the local colour along the dark side of edges: crisp on borders, faint where those are.

    What is thin and dark in the photo (wires, writing, eyes) becomes a line too. None where white stands against blue, as
    clouds do; few in texture, which has no one direction over 6 pixels.

    Args:
        picture: (H, W, 3) float32 [0, 1], painted so far.
        photo: the same size; lines follow the mean of both.
        strength: of all lines, 1 for full ones.
        width: σ of the difference of Gaussians in pixels; a line is about twice as wide.
        darkness: share of the local colour that a full line takes away.
    """
    along, _, cosine, sine = _structure(photo @ LUMA, 2.5)
    response = _flow_difference((picture + photo) @ LUMA / 2, cosine, sine, width)
    wide_along, wide_across, _, _ = _structure(photo @ LUMA, 6.0)
    coherence = (wide_along - wide_across) / (wide_along + wide_across + 1e-9)
    texture = ramp(np.sqrt(wide_across), 0.012, 0.03) * (1 - ramp(coherence, 0.35, 0.7))
    around = np.ones((9, 9), np.uint8)
    dark, bright = blur(cv2.erode(picture, around), 2), blur(cv2.dilate(picture, around), 2)
    cloud = ramp(dark[..., 2] - dark[..., 0], 0, 0.08) * ramp(bright.min(-1), 0.45, 0.7) * ramp(dark @ LUMA, 0.12, 0.3)
    line = ramp(response, 0.003, 0.018) * ramp(np.sqrt(along), 0.01, 0.045) * (1 - 0.85 * cloud)
    line = np.clip(strength * np.maximum(line, thin_lines(photo)) * (1 - 0.9 * texture), 0, 1)
    return np.asarray(picture * (1 - darkness * line[..., None]), np.float32)


def thin_lines(photo: np.ndarray) -> np.ndarray:
    """Lines that a photo has already: thin, dark, and running on; no specks."""
    gray = blur(photo @ LUMA, 0.6)
    along, across, _, _ = _structure(photo @ LUMA, 2.5)
    depth = cv2.morphologyEx(gray, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)) - gray
    return ramp(depth, 0.06, 0.25) * ramp((along - across) / (along + across + 1e-9), 0.15, 0.45)


def erase_lines(picture: np.ndarray) -> np.ndarray:
    """A drawn frame without its dark lines of up to 4 pixels (a morphological closing), and as soft as a photo."""
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    return blur(cv2.morphologyEx(picture, cv2.MORPH_CLOSE, around), 0.7)


def _to_bytes(picture: np.ndarray) -> np.ndarray:
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def blur(picture: np.ndarray, sigma: float) -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma))


def ramp(x: np.ndarray, start: float, end: float) -> np.ndarray:
    """0 up to start, 1 from end on, smooth in between."""
    t = np.clip((x - start) / (end - start), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def _cosine_laplacian(length: int) -> np.ndarray:
    return np.asarray(2 - 2 * np.cos(np.pi * np.arange(length, dtype=np.float32) / length))


def _structure(gray: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The structure tensor's eigenvalues, larger first, and the cosine and sine of the gradient's direction: (H, W) each."""
    right, down = cv2.Scharr(gray, cv2.CV_32F, 1, 0, scale=1 / 32), cv2.Scharr(gray, cv2.CV_32F, 0, 1, scale=1 / 32)
    xx, xy, yy = (blur(product, sigma) for product in (right * right, right * down, down * down))
    spread = np.sqrt((xx - yy) ** 2 + 4 * xy * xy)
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    return (xx + yy + spread) / 2, np.maximum((xx + yy - spread) / 2, 0), np.cos(angle), np.sin(angle)


def _squareness(gray: np.ndarray, sigma: float) -> np.ndarray:
    """How far edges around run in one direction or at right angles to it: (H, W), 0 for any direction, 1 for these two.

    The mean of gradients to the fourth power, as complex numbers: those at right angles to each other become one.
    """
    soft = blur(gray, 0.7)
    right, down = cv2.Scharr(soft, cv2.CV_32F, 1, 0, scale=1 / 32), cv2.Scharr(soft, cv2.CV_32F, 0, 1, scale=1 / 32)
    energy, real, imaginary = right**2 + down**2, right**2 - down**2, 2 * right * down
    fourfold = (real**2 - imaginary**2) / (energy + 1e-9), 2 * real * imaginary / (energy + 1e-9)
    return np.asarray(np.hypot(*(blur(part, sigma) for part in fourfold)) / (blur(energy, sigma) + 1e-7))


def _kuwahara(picture: np.ndarray, radius: int, sectors: int = 8, sharpness: float = 4.0) -> np.ndarray:
    """The means of eight soft sectors around a pixel, each weighed by its variance to the power of -sharpness."""
    reach = np.arange(-2 * radius, 2 * radius + 1)
    down, right = np.meshgrid(reach, reach, indexing="ij")
    near = np.exp(-(right**2 + down**2) / (2 * (0.7 * radius) ** 2))
    total: np.ndarray = np.zeros_like(picture)
    weights: np.ndarray = np.zeros((*picture.shape[:2], 1), np.float32)
    for sector in range(sectors):
        off = np.angle(np.exp(1j * (np.arctan2(down, right) - 2 * np.pi * sector / sectors)))
        kernel = near * np.exp(-(off**2) / (1.6 * (np.pi / sectors) ** 2))
        kernel[2 * radius, 2 * radius] = 1.0  # the pixel itself lies in all of them
        kernel = (kernel / kernel.sum()).astype(np.float32)
        mean = cv2.filter2D(picture, -1, kernel, borderType=cv2.BORDER_REFLECT)
        square = cv2.filter2D(picture * picture, -1, kernel, borderType=cv2.BORDER_REFLECT)
        variance = np.maximum(square - mean * mean, 0).sum(-1, keepdims=True)
        weight = 1 / (1e-4 + variance) ** sharpness
        total += weight * mean
        weights += weight
    return total / weights


def _flow_difference(gray: np.ndarray, cosine: np.ndarray, sine: np.ndarray, sigma: float) -> np.ndarray:
    """Difference of Gaussians across edges, averaged along them (σ 4): above 0 on an edge's dark side."""
    height, width = gray.shape
    x: np.ndarray
    y: np.ndarray
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    taps = np.arange(-int(np.ceil(3.2 * sigma)), int(np.ceil(3.2 * sigma)) + 1)
    narrow, wide = (np.exp(-(taps**2) / (2 * (sigma * ratio) ** 2)) for ratio in (1.0, 1.6))
    difference = 0.99 * wide / wide.sum() - narrow / narrow.sum()
    across = np.zeros_like(gray)
    for tap, share in zip(taps, difference, strict=True):
        across += np.float32(share) * _at(gray, x + tap * cosine, y + tap * sine)
    total: np.ndarray = across.copy()
    weights = 1.0
    for start in (1.0, -1.0):
        right, down = -start * sine, start * cosine  # the edge's direction
        along_x, along_y = x, y
        for step in range(1, 9):
            along_x, along_y = along_x + right, along_y + down
            weight = np.exp(-step * step / 32)
            total += np.float32(weight) * _at(across, along_x, along_y)
            weights += weight
            next_right, next_down = _at(-sine, along_x, along_y), _at(cosine, along_x, along_y)
            sign = np.where(next_right * right + next_down * down < 0, -1, 1).astype(np.float32)  # an edge has no front
            right, down = sign * next_right, sign * next_down
    return total / np.float32(weights)


def _at(values: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    where = x.astype(np.float32), y.astype(np.float32)
    return np.asarray(cv2.remap(values, *where, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))
