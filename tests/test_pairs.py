"""Imitation: its terms against formulas, frames redrawn, what it learns, and exact resuming."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from hub_export import checkpoint, pixels
from support.folders import fill
from support.training import assert_same_state, earlier
from train import losses
from train.batches import TrainingData
from train.configuration import override
from train.datasets import open_data
from train.engine import Engine, state
from train.experiments import get_experiment
from train.loop import Run, RunOptions
from train.recipes import build_recipe
from train.run import main, parser
from train.run_folder import RunFolder
from train.schedule import Plan
from train.settings import DataConfig, Experiment
from train.sources import Source

EVERYWHERE = tf.ones((2, 5, 6, 1))


def tiny(*settings: str) -> Experiment:
    small = ["data.style=generated", "data.size=32", "data.holdout=1", "generator.channels=8", "schedule.batch=4"]
    length = ["schedule.warmup=0 steps", "schedule.length=20 steps", "schedule.epoch=10 steps", "precision=float32"]
    without = ["data.signs=0", "loss.adversarial_weight=0"]
    return override(get_experiment("cel"), [*small, *length, *without, *settings], "tiny")


def negatives(experiment: Experiment) -> TrainingData:
    """Smooth photos, with their negatives for targets, and frames of noise, unpainted to gray."""
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (3, 4, 3), np.uint8).repeat(16, 0).repeat(16, 1) for _ in range(6)]
    frames = [rng.integers(0, 256, (48, 64, 9), np.uint8) for _ in range(4)]
    for frame in frames:
        frame[..., 6:] = 128
    return TrainingData(experiment.data, [np.dstack([photo, 255 - photo]) for photo in photos], frames)


def test_the_gradient_loss_is_its_formula():
    rng = np.random.default_rng(0)
    target, fake = (rng.uniform(-1, 1, (2, 5, 6, 3)).astype(np.float32) for _ in range(2))
    wanted = sum(np.abs(np.diff(fake, axis=axis) - np.diff(target, axis=axis)).mean() for axis in (1, 2))
    assert float(losses.gradient_loss(tf.constant(target), tf.constant(fake), EVERYWHERE)) == pytest.approx(wanted, rel=1e-5)
    assert float(losses.gradient_loss(tf.constant(target), tf.constant(target) + 0.3, EVERYWHERE)) == pytest.approx(
        0, abs=1e-6
    )


def test_the_gradient_loss_has_the_gradient_of_finite_differences():
    rng = np.random.default_rng(1)
    target, fake = (tf.constant(rng.uniform(-1, 1, (1, 3, 4, 3)), tf.float64) for _ in range(2))
    counts = tf.constant(rng.uniform(1, 3, (1, 3, 4, 1)), tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(fake)
        loss = losses.gradient_loss(target, fake, counts)
    step = np.zeros(fake.shape)
    step[0, 1, 2, 0] = 1e-6
    numeric = (losses.gradient_loss(target, fake + step, counts) - losses.gradient_loss(target, fake - step, counts)) / 2e-6
    assert float(tape.gradient(loss, fake)[0, 1, 2, 0]) == pytest.approx(float(numeric), rel=1e-4)


def test_a_line_counts_more_where_the_target_has_one():
    target = np.full((1, 24, 24, 3), 0.5, np.float32)
    target[:, :, 12] -= 40 / 127.5
    found = losses.line_map(tf.constant(target)).numpy()[0, 4:-4, :, 0]
    assert (found[:, 12] == 1).all() and (found[:, [4, 9, 20]] == 0).all()
    fake = tf.fill(target.shape, 0.5)
    counts = losses.line_counts(2.0, tf.constant(target))
    plain, counted = (float(losses.pixel_loss(tf.constant(target), fake, count)) for count in (1.0, counts))
    assert counted == pytest.approx(3 * plain, rel=1e-3), "all of the difference lies on the line"
    steps = np.abs(np.diff(target, axis=2)) * counts.numpy()[:, :, 1:]
    assert float(losses.gradient_loss(tf.constant(target), fake, counts)) == pytest.approx(steps.mean(), rel=1e-4)
    both = losses.line_counts(2.0, tf.constant(target), tf.transpose(tf.constant(target), (0, 2, 1, 3))).numpy()[0, ..., 0]
    assert both[20, 12] == both[12, 20] == 3 and both[20, 20] == 1, "and where the imitation alone has one"


@pytest.mark.usefixtures("eager")
@pytest.mark.filterwarnings("ignore:Even though the .tf.config")
def test_a_line_of_the_imitation_alone_counts_more_before_a_discriminator():
    settings = ["loss.line_weight=3", "loss.adversarial_weight=0.1", "discriminator.channels=4", "data.redrawn=0"]
    recipe = build_recipe(tiny(*settings, "schedule.warmup_rate=1e-12"), Engine(tiny().schedule, 0, "float32"))
    rng = np.random.default_rng(0)
    for weight in recipe.generator.trainable_weights:
        weight.assign(2.5 * weight)  # its drawings are full of lines then
    photo = tf.constant(rng.uniform(-1, 1, (2, 32, 32, 3)), tf.float32)
    batch = {"photo": photo, "target": tf.zeros_like(photo)}
    alone, judged = (recipe.step(batch, Plan(1, 1, 2, "imitation").moment(step)) for step in range(2))
    assert float(judged["pixel"]) > 1.2 * float(alone["pixel"])


def test_a_share_of_pictures_are_frames_with_a_photos_grain():
    for share, frames in (("0", 0), ("0.5", 3)):
        assert negatives(tiny(f"data.redrawn={share}")).summary({"photo", "target"})["anime"] == frames
    redrawn = 0
    for element in negatives(tiny("data.redrawn=0.5")).batches(4, seed=0).take(25).as_numpy_iterator():
        for photo, target, anime, smooth in zip(
            *(element[name] for name in ("photo", "target", "anime", "smooth")), strict=True
        ):
            assert np.any(anime != smooth)
            if np.array_equal(target, anime):
                redrawn += 1
                assert np.abs(photo - pixels.to_model(np.uint8([[[128] * 3]]))).max() < 0.4, "gray, grain and noise"
                assert photo.std() > 0
            else:
                np.testing.assert_allclose(target, -photo, atol=1e-6)
    assert 35 <= redrawn <= 65, "half of a hundred"


def test_none_are_where_none_are_asked_for():
    for element in negatives(tiny("data.redrawn=0")).batches(4, seed=0).take(9).as_numpy_iterator():
        np.testing.assert_allclose(element["target"], -element["photo"], atol=1e-6)


def test_photos_alone_are_enough():
    config = DataConfig(size=32, augment="crop")
    data = TrainingData(config, [np.full((40, 40, 6), number, np.uint8) for number in range(5)], [])
    assert (data.photo_count, data.anime_count) == (5, 0) and data.held_out_anime() == []
    elements = list(data.batches(2, seed=0).take(6).as_numpy_iterator())
    assert elements[0].keys() == {"photo", "target"}
    again = list(data.batches(2, seed=0, start_step=3).take(3).as_numpy_iterator())
    for wanted, found in zip(elements[3:], again, strict=True):
        np.testing.assert_array_equal(wanted["photo"], found["photo"])


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Photos in two folders, and their negatives as drawings, one of them larger and one of another shape."""
    fill(tmp_path / "photos", 6)
    fill(tmp_path / "photos" / "more", 2, first=6)
    for path in (tmp_path / "photos").rglob("*.jpg"):
        name = path.relative_to(tmp_path / "photos").with_suffix(".png")
        (tmp_path / "drawings" / name).parent.mkdir(parents=True, exist_ok=True)
        drawing = ImageOps.invert(Image.open(path))
        shape = {"001": (160, 144), "002": (200, 100)}.get(path.stem, drawing.size)
        drawing.resize(shape, Image.Resampling.NEAREST).save(tmp_path / "drawings" / name)
    return tmp_path


def test_a_photo_goes_with_the_drawing_of_its_name(folders: Path, capsys: pytest.CaptureFixture[str]):
    (folders / "drawings" / "003.png").unlink()
    source = Source.of(None, str(folders / "photos"), None, str(folders / "drawings"))
    data = open_data(DataConfig(resolution=0, size=64, augment="crop"), source, folders / "cache")
    assert (data.photo_count, data.anime_count) == (6, 0)
    told = capsys.readouterr().out
    assert "1 with a drawing that is of another shape: 002.jpg" in told and "1 without a drawing: 003.jpg" in told
    for element in data.batches(3, seed=0, entries={"photo", "target"}).take(4).as_numpy_iterator():
        assert np.abs(element["target"] + element["photo"]).mean() < 0.02
    with pytest.raises(ValueError, match=r"leave out data\.target, or leave out --drawings"):
        open_data(DataConfig(target="light"), source, folders / "cache")


def test_drawings_may_be_gray_and_what_is_wrong_with_one_is_told(folders: Path, capsys: pytest.CaptureFixture[str]):
    drawings = folders / "drawings"
    for name in ("000.png", "001.png"):
        Image.open(drawings / name).convert("L").save(drawings / name)
    (drawings / "004.png").write_bytes(b"")
    Image.fromarray(np.zeros((72, 80), np.uint16)).save(drawings / "005.png")
    source = Source.of(None, str(folders / "photos"), None, str(drawings))
    assert open_data(DataConfig(resolution=0, size=64, augment="crop"), source, folders / "cache").photo_count == 5
    told = capsys.readouterr().out
    assert "1 with a drawing that is empty: 004.jpg" in told
    assert "1 with a drawing that is of more than 8 bits, to be saved with 8 first: 005.jpg" in told


def test_names_that_differ_in_their_endings_alone_are_not_paired_by_chance(folders: Path):
    source = Source.of(None, str(folders / "photos"), None, str(folders / "drawings"))
    Image.new("RGB", (80, 72), "red").save(folders / "photos" / "003.bmp")
    with pytest.raises(ValueError, match=r"photos holds 003.bmp and 003.jpg, whose names differ in their endings alone, so"):
        open_data(DataConfig(), source, folders / "cache")
    (folders / "photos" / "003.bmp").unlink()
    Image.new("RGB", (80, 72), "red").save(folders / "drawings" / "003.jpg")
    with pytest.raises(ValueError, match=r"drawings holds 003.jpg and 003.png, whose names"):
        open_data(DataConfig(), source, folders / "cache")


def test_drawings_of_no_photo_are_refused(folders: Path):
    (folders / "others").mkdir()
    Image.new("RGB", (80, 72), "red").save(folders / "others" / "x.png")
    source = Source.of(None, str(folders / "photos"), None, str(folders / "others"))
    with pytest.raises(ValueError, match=r"no photo in .* has a drawing of its name in .*: name them alike, as 000.jpg and"):
        open_data(DataConfig(), source, folders / "cache")


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
@pytest.mark.filterwarnings("ignore:Even though the .tf.config")
def test_the_command_imitates_a_folder_of_drawings(folders: Path):
    small = ["data.size=32", "data.holdout=1", "generator.channels=4", "schedule.batch=2", "schedule.length=6 steps"]
    given = ["--photos", str(folders / "photos"), "--drawings", str(folders / "drawings")]
    where = ["--cache", str(folders / "cache"), "--runs", str(folders / "runs"), "--name", "negative"]
    settings = [part for setting in small for part in ("--set", setting)]
    main(parser().parse_args(["pairs", *given, *where, *settings]))
    record = checkpoint.read_record(folders / "runs" / "negative" / "step-000006")
    assert record.data["source"] == "Own pictures: photos and drawings." and record.data["anime"] == 0
    assert " photos and no anime frame. Own pictures" in (
        folders / "runs" / "negative" / "step-000006" / "README.md"
    ).read_text("utf-8")


@pytest.mark.slow
@pytest.mark.usefixtures("eager")  # tracing takes longer than some dozens of steps
@pytest.mark.filterwarnings("ignore:Even though the .tf.config")
@pytest.mark.parametrize("adversarial", [0.0, 0.1])
def test_it_learns_its_targets_and_goes_on_where_it_stopped_to_the_bit(tmp_path: Path, adversarial: float):
    weights = ["loss.line_weight=0", f"loss.adversarial_weight={adversarial}"]
    small = ["discriminator.channels=8", "discriminator.dropout=0.1"]
    judged = ["schedule.warmup=4 steps", "schedule.warmup_rate=0.006", *small] if adversarial else []
    experiment = tiny("data.redrawn=0.25", "schedule.generator_rate=0.006", *weights, *judged)
    folder = RunFolder(tmp_path / "tiny", experiment, resume=False)
    whole = Run(negatives(experiment), folder, RunOptions(profile=bool(adversarial)))
    whole.train()
    assert bool(list(folder.path.glob("profile/plugins/profile/*/*.xplane.pb"))) == bool(adversarial)
    first, *_, last = whole.folder.history
    assert last["phase"] == "imitation" and last["pixel"] < 0.75 * first["pixel"]
    names = ["pixel", "gradient", *(["adversarial"] if adversarial else [])]
    assert sum(last[f"share_{name}"] for name in names) == pytest.approx(1, abs=1e-3)
    record = checkpoint.read_record(tmp_path / "tiny" / "epoch-002")
    judges = {"discriminator"} if adversarial else set()
    assert record.data["losses"].keys() == {*names, "generator"} | judges and not record.data["feature_network"]
    card = (tmp_path / "tiny" / "epoch-002" / "README.md").read_text("utf-8")
    shares = ", ".join(f"{name} {round(100 * record.data['shares']['generator'][name])}%" for name in names)
    assert f"- generator: {shares}" in card and "Nothing was pretrained." in card

    resumed = Run(negatives(experiment), earlier(whole.folder.path, tmp_path / "again", experiment))
    assert resumed.step == 10
    resumed.train()
    assert_same_state(state(resumed.recipe), state(whole.recipe))


def test_a_projected_discriminator_brings_its_network_and_neither_is_trained_nor_saved():
    settings = [
        "loss.adversarial_weight=0.1",
        "features.weights=none",
        "discriminator.channels=4",
        "discriminator.kind=projected",
    ]
    recipe = build_recipe(tiny(*settings), Engine(tiny().schedule, 0, "float32"))
    frozen = {id(variable) for variable in recipe.frozen}
    assert frozen and not frozen & {id(weight) for weight in recipe.saved["discriminator"].trainable_weights}
    assert not any("features" in name or value.shape == (3, 3, 64, 64) for name, value in state(recipe).items())
    plain = build_recipe(tiny("features.weights=none"), Engine(tiny().schedule, 0, "float32"))
    assert not list(plain.frozen) and "discriminator" not in plain.saved
    with pytest.raises(ValueError, match="looks through a VGG"):
        tiny("discriminator.kind=projected", "features.network=mobilenetv2")


@pytest.mark.slow
def test_a_discriminator_learns_within_a_minute_what_is_soft():
    """Pictures differ more in what they show than in how sharp they are; compared place by place, only that is left."""
    experiment = tiny("loss.adversarial_weight=0.1", "schedule.discriminator_rate=1e-3", "discriminator.channels=16")
    recipe = build_recipe(experiment, Engine(experiment.schedule, 0, "float32"))
    rng = np.random.default_rng(0)
    recipe.discriminator_optimizer.learning_rate = 1e-3
    told = []
    for _ in range(60):
        rough = rng.normal(0, 1, (4, 40, 40, 1)).astype(np.float32) * rng.uniform(0.2, 1, (4, 1, 1, 1)).astype(np.float32)
        crisp = np.stack([cv2.GaussianBlur(picture, (0, 0), 2.0)[..., None].repeat(3, -1) for picture in rough]) * 3
        soft = np.stack([cv2.GaussianBlur(picture, (0, 0), 0.8) for picture in crisp])
        told.append(float(recipe._update_discriminator(tf.constant(crisp), tf.constant(soft))[0]))
    assert np.mean(told[:5]) > 0.6 and np.mean(told[-5:]) < 0.45, told
