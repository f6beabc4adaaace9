"""A drawing in its photo's own size: without seams, as crisp as it was, the same at every size, in bounded memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from animegan_app import enlarge as module
from animegan_app.enlarge import Enlargement, enlarge
from animegan_app.photos import PhotoError, full_size, read_opacity, read_photo
from animegan_app.stylize import Stylizer, blend, in_full
from hub_export import pixels
from hub_export.folder import open_bundled
from support.app import ROOT
from support.pictures import encode, scene

MOUNTAINS = ROOT / "animegan_app" / "examples" / "mountains.jpg"


def picture(width: int, height: int) -> np.ndarray:
    """A small photo: borders, shades and grain."""
    with Image.open(MOUNTAINS) as image:
        return np.asarray(image.resize((width, height)))


def finished(*arguments: object) -> np.ndarray:
    """What `in_full` returns."""
    making = in_full(*arguments)  # type: ignore[arg-type]
    while True:
        try:
            next(making)
        except StopIteration as end:
            return end.value


def test_strips_are_the_whole_picture_and_leave_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    drawing, size = picture(96, 64), (500, 333)
    whole = Enlargement(drawing, size).rows(0, 333)
    monkeypatch.setattr(module, "STRIP_PIXELS", 500 * 7)
    monkeypatch.setattr(module, "BAND_PIXELS", 192 * 20)
    borders = [top for top, _ in Enlargement(drawing, size).strips()][1:]
    assert len(borders) > 40
    strips = enlarge(drawing, size)
    np.testing.assert_array_equal(strips, whole)
    steps = np.abs(np.diff(strips.astype(float), axis=0)).mean(axis=(1, 2))
    assert steps[np.array(borders) - 1].mean() < 1.1 * steps.mean()


def test_a_slanting_border_becomes_crisp_without_beads_or_halo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sharpened alone, it would wind."""
    drawn = Image.new("RGB", (64 * 4, 64 * 4), (200, 120, 40))
    ImageDraw.Draw(drawn).polygon([(0, 0), (100, 0), (170, 256), (0, 256)], fill=(20, 60, 90))
    small = np.asarray(drawn.resize((64, 64), Image.Resampling.BOX))

    def judged(large: np.ndarray) -> tuple[float, float]:
        """Pixels that a border takes, and how far it is from the straight line."""
        share = (large[40:-40, :, 0].astype(float) - 20) / 180
        places = large.shape[1] - share.sum(axis=1)
        rows = np.arange(len(places))
        return float(((share > 0.1) & (share < 0.9)).sum(1).mean()), float(
            np.abs(places - np.polyval(np.polyfit(rows, places, 1), rows)).max()
        )

    raised = enlarge(small, (384, 384))
    plain = np.asarray(Image.fromarray(small).resize((384, 384), Image.Resampling.BICUBIC))
    monkeypatch.setattr(module, "DIFFUSIONS", 0)
    beads = enlarge(small, (384, 384))
    assert judged(raised)[0] < 0.5 * judged(plain)[0]
    assert judged(raised)[1] < 0.5 and judged(raised)[1] < 0.7 * judged(beads)[1]
    assert raised.reshape(-1, 3).min(0).tolist() >= [20, 60, 40] and raised.reshape(-1, 3).max(0).tolist() <= [200, 120, 90]


def test_shades_stay_shades_and_the_photos_own_size_changes_nothing() -> None:
    ramp = np.repeat(np.linspace(40, 200, 128).astype(np.uint8)[np.newaxis, :, np.newaxis], 64, 0).repeat(3, 2)
    raised = enlarge(ramp, (640, 320))
    plain = np.asarray(Image.fromarray(ramp).resize((640, 320), Image.Resampling.BICUBIC))
    assert np.abs(raised.astype(int) - plain)[:, 20:-20].max() <= 2
    np.testing.assert_array_equal(enlarge(picture(96, 64), (96, 64)), picture(96, 64))
    almost, bicubic = enlarge(picture(96, 64), (97, 65)), Image.fromarray(picture(96, 64)).resize((97, 65), 3)
    assert np.abs(almost.astype(int) - np.asarray(bicubic)).mean() < 1, "no jump where a photo is hardly larger than drawn"
    assert enlarge(picture(96, 64), (9, 400)).shape == (400, 9, 3)


@pytest.mark.slow
def test_a_photo_gives_the_same_drawing_at_every_size() -> None:
    """As many and as dark lines, in shares of the picture, at 600, 1,200 and 4,000 pixels."""
    stylizer, folder = Stylizer(), open_bundled("bundled:cel")

    def lines(longest_side: int) -> tuple[float, float]:
        photo = picture(longest_side, longest_side * 3 // 4)
        anime = stylizer.stylize(pixels.limit_size(photo, 768), folder).anime
        raised = Image.fromarray(enlarge(anime, (photo.shape[1], photo.shape[0])))
        gray = np.asarray(raised.resize((600, 450), Image.Resampling.BOX).convert("L"), np.float32)
        around = np.asarray(Image.fromarray(gray).resize((40, 30), Image.Resampling.BOX).resize((600, 450)))
        dark = around - gray
        return float((dark > 12).mean()), float(dark[dark > 12].mean())

    (share, darkness), *others = [lines(side) for side in (600, 1200, 4000)]
    assert share > 0.05
    for other in others:
        assert other == pytest.approx((share, darkness), rel=0.1)


@pytest.mark.slow
def test_in_full_is_blended_strip_by_strip_and_as_transparent_as_the_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STRIP_PIXELS", 240 * 7)
    photo, anime = picture(240, 160), 255 - picture(96, 64)
    content = encode(Image.fromarray(photo), "PNG")
    raised = enlarge(anime, (240, 160))
    np.testing.assert_array_equal(finished(content, anime, (240, 160), 1, 0), raised)
    np.testing.assert_array_equal(finished(content, anime, (240, 160), 0.6, 0.5), blend(photo, raised, 0.6, 0.5))
    opacity = np.linspace(0, 255, 240).astype(np.uint8)[np.newaxis].repeat(160, 0)
    cut_out = Image.fromarray(np.dstack([photo, opacity]))
    found = finished(encode(cut_out, "PNG"), anime, (240, 160), 0, 0)
    np.testing.assert_array_equal(found[..., 3], opacity)
    seen = opacity > 30
    assert np.abs(found[seen][:, :3].astype(int) - photo[seen]).max() <= 5, "the photo's colours, without the white behind"


@pytest.mark.slow
def test_opacity_comes_upright_and_only_where_there_is_some() -> None:
    layer = np.arange(6 * 9, dtype=np.uint8).reshape(6, 9)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encode(Image.fromarray(np.dstack([scene(6, 9), layer])), "PNG", exif=exif)
    found = read_opacity(turned)
    assert found is not None and read_photo(turned).shape[:2] == found.shape
    np.testing.assert_array_equal(found, np.rot90(layer, 3))
    for opaque in (Image.fromarray(scene(6, 9)), Image.fromarray(scene(6, 9)).convert("RGBA")):
        assert read_opacity(encode(opaque, "PNG")) is None
    assert read_opacity(encode(Image.fromarray(scene(6, 9)), "JPEG")) is None
    with pytest.raises(PhotoError, match="damaged"):
        read_opacity(turned[:-40])


def test_full_size_is_what_is_read() -> None:
    assert full_size((4000, 3000)) == (4000, 3000)
    assert full_size((16320, 12241)) == (8160, 6121)


MEASURE = r"""
import json, re, resource, sys
from animegan_app import draw, photos
code = draw.main(sys.argv[1:])
photos._decoder._process.kill(), photos._decoder._process.wait()
own, decoder = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
peak = re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]  # own.ru_maxrss begins with that of who started it
seconds = sum(used.ru_utime + used.ru_stime for used in (own, decoder))
print(json.dumps([code, int(peak) * 1024, decoder.ru_maxrss * 1024, seconds]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("size", "most_bytes", "most_seconds"), [((4000, 3000), 1.5e9, 30), ((10_328, 7_760), 2e9, 150)])
def test_memory_and_time_are_bounded(size: tuple[int, int], most_bytes: float, most_seconds: float, tmp_path: Path) -> None:
    """Of the process that draws and of the one that decodes; seconds of CPU, of which two cores have 30 in 15 seconds."""
    Image.fromarray(picture(*size)).save(tmp_path / "photo.jpg", quality=90)
    command = [sys.executable, "-c", MEASURE, "cel", str(tmp_path / "photo.jpg"), "--out", str(tmp_path / "out")]
    # without what an app that another test made has set for this process
    environment = {name: value for name, value in os.environ.items() if name != "TF_ONEDNN_USE_SYSTEM_ALLOCATOR"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    code, drawing, decoding, seconds = json.loads(done.stdout.splitlines()[-1])
    print(f"{size}: {drawing / 1e6:.0f} MB to draw, {decoding / 1e6:.0f} MB to decode, {seconds:.1f} s of CPU")
    assert code == 0, done.stderr
    assert Image.open(tmp_path / "out" / "photo.jpg").size == size
    assert max(drawing, decoding) < most_bytes and seconds < most_seconds
