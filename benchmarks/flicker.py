"""How much a drawn clip flickers, and what drawing it costs: python -m benchmarks.flicker CHECKPOINT [--photo PHOTO]

Three clips are made of a photo, with a camera's noise that is new in each frame: a still scene, and pans of 0.5 and 1.5
pixels a frame. Each is drawn as `animegan_app.clips` draws it, without and with `steady`. Flicker is the mean difference, in
tones of 255, of a drawn frame from the one before that was warped onto it by the optical flow of the noiseless frames
(Farnebäck); beside it stands the same of the frames that were given. The lag is how far the drawing of a steadied frame is
from that of the frame itself.
"""

import argparse
import resource
import time
from pathlib import Path

import cv2
import numpy as np

from animegan_app.clip_process import steadied
from animegan_app.photos import read_photo
from animegan_app.stylize import Stylizer
from hub_export import pixels
from hub_export.folder import open_bundled

ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT = 512, 288
FRAMES, NOISE = 8, 3.0
PANS = (0.0, 0.5, 1.5)


def scenes(photo: np.ndarray) -> dict[str, list[np.ndarray]]:
    """Frames without noise, uint8 RGB, by the name of what they show."""
    across = WIDTH + int(np.ceil(max(PANS) * FRAMES))
    scale = max(across / photo.shape[1], HEIGHT / photo.shape[0])
    wide = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)

    def at(offset: float) -> np.ndarray:
        move = np.array([[1, 0, -offset], [0, 1, -(wide.shape[0] - HEIGHT) // 2]], np.float32)
        return cv2.warpAffine(wide, move, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)

    return {f"pan of {pan:g} px a frame" if pan else "still": [at(pan * number) for number in range(FRAMES)] for pan in PANS}


def flicker(frames: list[np.ndarray], clean: list[np.ndarray]) -> float:
    """The mean difference from the frame before, warped by the flow of the clean frames."""
    height, width = frames[0].shape[:2]
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), 2).astype(np.float32)
    differences = []
    for number in range(1, len(frames)):
        now, before = (cv2.cvtColor(clean[index], cv2.COLOR_RGB2GRAY) for index in (number, number - 1))
        flow = cv2.calcOpticalFlowFarneback(now, before, None, 0.5, 4, 21, 5, 7, 1.5, 0)  # type: ignore[call-overload]
        across, down = cv2.split(grid + flow)
        warped = cv2.remap(frames[number - 1], across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        differences.append(np.abs(warped.astype(int) - frames[number])[8:-8, 8:-8].mean())
    return float(np.mean(differences))


def main() -> None:
    """Prints a line for each clip and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", type=Path, default=open_bundled("bundled:cel"))
    parser.add_argument("--photo", type=Path, default=ROOT / "animegan_app" / "examples" / "mountains.jpg")
    options = parser.parse_args()
    stylizer, numbers = Stylizer(), np.random.default_rng(0)
    stylizer.stylize(np.zeros((HEIGHT, WIDTH, 3), np.uint8), options.checkpoint)
    for name, clean in scenes(pixels.limit_size(read_photo(options.photo), 2000)).items():
        noisy_frames = [np.clip(frame + numbers.normal(0, NOISE, frame.shape), 0, 255).astype(np.uint8) for frame in clean]
        drawn: dict[bool, list[np.ndarray]] = {}
        for steady in (False, True):
            start, cpu = time.perf_counter(), _cpu()
            before: np.ndarray | None = None
            drawn[steady] = []
            for frame in noisy_frames:
                before = steadied(before, frame) if steady else frame
                drawn[steady].append(stylizer.stylize(before, options.checkpoint).anime)
            seconds, cpu = (time.perf_counter() - start) / FRAMES, (_cpu() - cpu) / FRAMES
            lag = np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(drawn[steady], drawn[False], strict=True)])
            print(
                f"{name}, {'steady' if steady else 'plain'}: flicker {flicker(drawn[steady], clean):.2f} "
                f"(given {flicker(noisy_frames, clean):.2f}), lag {lag:.2f}, {seconds:.2f} s and {cpu:.2f} s of CPU a frame",
                flush=True,
            )


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
