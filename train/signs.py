"""Signs with writing, as a camera sees them and as they are drawn: what a generator learns to keep letters by.

Photos hold too little writing to learn from, and what paints a target (`targets.py`) takes small letters for texture. So
signs are made here, and `batches.py` sets them into photos; their target is what is written, in the target's light.
"""

import io
import string

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from train import targets

COUNT, HEIGHT, WIDTH = 256, 96, 192
"""How many signs there are, and the largest in pixels."""
FINE = 3
"""Signs are made so many times as large, and then reduced."""
OUTLINE = 1.6
"""Width in pixels of the line around a drawn sign."""


def make_signs(target: str, count: int = COUNT) -> np.ndarray:
    """Signs, always the same ones with the same versions of NumPy, OpenCV and Pillow.

    Args:
        target: the operations of `targets.py`. Signs get its light: not the slow ones, which would take letters for texture,
            no lines on letters, which are some themselves, and no clouds on white boards. Where it draws lines, a board
            has one around it, always the same.
        count: how many.

    Returns:
        uint8 (count, HEIGHT, WIDTH, 7): RGB as photographed, RGB as drawn, and how much the sign covers, 0 to 255.
    """
    random = np.random.default_rng(0)
    steps = targets.parse(target)
    light = [step for step in steps if step[0] not in {*targets.SLOW, *targets.DRAWING, "clouds"}]
    signs = []
    for _ in range(count):
        clean, outlined, cover = _sign(random)
        drawn = outlined if any(name in targets.DRAWING for name, _ in steps) else clean
        signs.append(np.dstack([_photographed(clean, random), targets.apply(light, drawn, drawn), cover]))
    return np.stack(signs)


def _sign(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A sign seen from somewhere: uint8 (HEIGHT, WIDTH, 3) without and with a line around it, and its cover."""
    letter = float(np.exp(random.uniform(np.log(6), np.log(32))))
    rows = int(random.integers(1, max(1, min(4, int(0.8 * HEIGHT / (1.5 * letter)))) + 1))
    height = min(HEIGHT * 0.85, letter * 1.5 * rows + letter * random.uniform(0.1, 0.8))
    width = min(WIDTH * 0.9, letter * random.uniform(4, 16))
    ground, ink = _colours(random)
    on_wall = random.random() < 0.1  # letters alone, without a board
    face = Image.new("RGB", (WIDTH * FINE, HEIGHT * FINE), ink if on_wall else ground)
    letters = Image.new("L", face.size, 0)
    top, left = (HEIGHT - height) / 2, (WIDTH - width) / 2
    for row in range(rows):
        _write(ImageDraw.Draw(letters), letter, left + letter / 2, top + letter * (0.3 + 1.5 * row), width - letter, random)
    board = Image.new("L", face.size, 0)
    corners = [round(FINE * edge) for edge in (left, top, left + width, top + height)]
    ImageDraw.Draw(board).rectangle(corners, fill=255)
    face.paste(ink, mask=letters)
    edged = face.copy()
    if not on_wall:
        line = tuple(int(channel * 0.25) for channel in ground)
        ImageDraw.Draw(edged).rectangle(corners, outline=line, width=round(FINE * OUTLINE))
    left_light, right_light = random.uniform(0.75, 1.1, 2).tolist()
    light = np.linspace(left_light, right_light, WIDTH * FINE)[None, :, None]
    lit = [np.clip(np.asarray(picture) * light, 0, 255).astype(np.uint8) for picture in (face, edged)]
    return _seen(lit[0], lit[1], np.asarray(letters if on_wall else board), random)


def _colours(random: np.random.Generator) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """The ground's colour and the ink's, which differ in lightness."""
    while True:
        colours = random.uniform(0, 1, (2, 3)) ** random.choice([0.3, 1.0, 3.0], (2, 1))
        gray = random.random(2) < 0.5
        colours[gray] = colours[gray].mean(-1, keepdims=True)
        ground, ink = (colours * 245 + 5).round().astype(int)
        if abs(np.dot(ground - ink, [0.299, 0.587, 0.114])) > 70:
            return (int(ground[0]), int(ground[1]), int(ground[2])), (int(ink[0]), int(ink[1]), int(ink[2]))


def _write(
    canvas: ImageDraw.ImageDraw, letter: float, left: float, top: float, width: float, random: np.random.Generator
) -> None:
    """A row of letters of a height, in pixels of the sign: Latin ones, or made-up ones as dense as Chinese."""
    if random.random() < 0.5:
        font = ImageFont.load_default(letter * 1.3 * FINE)
        text = "".join(random.choice(list(string.ascii_letters + string.digits + "  -"), 40))
        while len(text) > 1 and font.getlength(text) > width * FINE:
            text = text[:-1]
        canvas.text((left * FINE, (top - 0.25 * letter) * FINE), text, 255, font, stroke_width=int(random.integers(0, 2)))
        return
    stroke = max(1, round(letter * FINE * random.uniform(0.08, 0.14)))
    for start in np.arange(left, left + width - letter, letter * 1.15):
        corner, grid = np.array([start, top]), letter / 4
        for _ in range(int(random.integers(3, 9))):
            x, y, length = random.integers(0, 5), random.integers(0, 5), random.integers(2, 5)
            across, down = [(1, 0), (1, 0), (0, 1), (0, 1), (1, 1), (-1, 1)][random.integers(0, 6)]
            end = np.clip([x + across * length, y + down * length], 0, 4)
            line = np.stack([corner + np.array([x, y]) * grid, corner + end * grid]) * FINE
            canvas.line([tuple(point) for point in line.tolist()], 255, stroke)


def _seen(
    face: np.ndarray, edged: np.ndarray, cover: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """uint8 (HEIGHT * FINE, WIDTH * FINE, …) turned and in perspective alike, and reduced to (HEIGHT, WIDTH, …)."""
    size = np.array([WIDTH, HEIGHT], np.float32) * FINE
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * size
    angle = random.normal(0, 0.08)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (corners - size / 2) @ turn.T * random.uniform(0.8, 1.0) + size / 2 + random.normal(0, 0.04, (4, 2)) * size
    matrix = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))

    def reduced(picture: np.ndarray, border: int) -> np.ndarray:
        turned = cv2.warpPerspective(picture, matrix, (WIDTH * FINE, HEIGHT * FINE), borderMode=border)
        return np.asarray(cv2.resize(turned, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA))

    colours = reduced(face, cv2.BORDER_REPLICATE), reduced(edged, cv2.BORDER_REPLICATE)
    return *colours, reduced(cover, cv2.BORDER_CONSTANT)  # colours go on beyond the sign, its cover does not


def _photographed(sign: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """uint8 (HEIGHT, WIDTH, 3) as a camera has it: soft, grainy, and kept as a JPEG."""
    soft = cv2.GaussianBlur(sign, (0, 0), random.uniform(0.2, 0.8)).astype(np.float32)
    grainy = np.clip(soft + random.normal(0, random.uniform(0, 5), sign.shape), 0, 255).astype(np.uint8)
    jpeg = io.BytesIO()
    Image.fromarray(grainy).save(jpeg, "JPEG", quality=int(random.integers(60, 98)))
    return np.asarray(Image.open(jpeg))
