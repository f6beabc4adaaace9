"""What the measures say of cases with a known answer, and the command on a tiny run."""

import dataclasses
import functools
import hashlib
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hub_export import pixels
from hub_export.card import model_card
from hub_export.checkpoint import load_generator, read_history, verify_files, write_record
from hub_export.folder import BUNDLED
from hub_export.record import Record, read_record
from support.checkpoints import tiny_record
from support.training import eagerly
from train import run as training
from train.efficientnet import efficientnet_lite0, read_torch
from train.evaluate import _data_config, _insert, _kinship, compared_with, main, parser, read_pairs, recommended
from train.measure import (
    STYLES,
    Distance,
    FeatureExtractors,
    Scores,
    colour_shift,
    content_distance,
    drawing_figures,
    kernel_means,
    mmd,
)
from train.run_folder import writing
from train.schedule import WARM_UP

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore:Even though the .tf.config")]

ROOT = Path(__file__).parents[1]


def test_settings_of_another_version_keep_nothing_from_being_measured() -> None:
    record = read_record(BUNDLED / "repro-1-laptop" / "epoch-010")
    told = record.config["data"]
    assert "flatten" in told, "no setting any more"
    config = _data_config(record)
    assert (config.style, config.holdout, config.redrawn, config.cut_bars) == ("Hayao", 48, 0.0, False)
    assert _data_config(dataclasses.replace(record, config={"data": told | {"cut_bars": True}})).cut_bars
    del told["photos"]
    with pytest.raises(ValueError, match="data configuration is not one of this version"):
        _data_config(record)


def between(x: np.ndarray, y: np.ndarray) -> Distance:
    return mmd(kernel_means(x, x), kernel_means(x, y), kernel_means(y, y))


def distance(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    found = between(x, y)
    return found.value, found.error


def pictures_like(random: np.random.Generator, count: int, shift: float = 0.0) -> np.ndarray:
    """(count, 8, 4) patch features; those of one picture resemble each other."""
    return random.normal(shift, 1.0, (count, 1, 4)) + 0.3 * random.normal(0.0, 1.0, (count, 8, 4))


def test_mmd_is_unbiased_and_its_error_is_its_spread() -> None:
    random = np.random.default_rng(0)
    found = np.array([distance(pictures_like(random, 10), pictures_like(random, 12)) for _ in range(200)])
    values, errors = found.T
    spread = values.std()
    assert abs(values.mean()) < 3 * spread / np.sqrt(len(values)) and (values < 0).any()
    assert 0.5 * spread < np.median(errors) < 2 * spread


def test_mmd_grows_with_the_shift() -> None:
    values = []
    for shift in (0.0, 1.0, 2.0):
        random = np.random.default_rng(1)
        values.append(distance(pictures_like(random, 30), pictures_like(random, 30, shift))[0])
    assert values[0] < values[1] < values[2] and values[1] > 0


def test_jackknife_is_that_of_the_definition() -> None:
    random = np.random.default_rng(2)
    x, y = pictures_like(random, 5), pictures_like(random, 4, 0.5)
    variance = 0.0
    for left_out, kept, first in ((x, y, True), (y, x, False)):
        rest = [np.delete(left_out, index, axis=0) for index in range(len(left_out))]
        values = np.array([distance(*((part, kept) if first else (kept, part)))[0] for part in rest])
        variance += (len(values) - 1) / len(values) * np.sum((values - values.mean()) ** 2)
    assert distance(x, y)[1] == pytest.approx(np.sqrt(variance))


def test_a_change_on_the_same_pictures_is_known_better_than_the_distances() -> None:
    random = np.random.default_rng(3)
    changes = []
    for _ in range(100):
        photos, anime = pictures_like(random, 10), pictures_like(random, 12, 1.0)
        before, after = between(photos, anime), between(photos + 0.1, anime)
        change, error = after.change_from(before)
        assert change == after.value - before.value and error < 0.5 * before.error
        changes.append((change, error))
    values, errors = np.array(changes).T
    assert 0.5 * values.std() < np.median(errors) < 2 * values.std()
    assert between(photos, anime).change_from(between(photos, anime)) == (0.0, 0.0)


def test_the_independent_network_tells_classes_as_its_authors_program_does() -> None:
    """Whose logits for this picture, of 224 x 224 pixels, are those here; 442 is a bell cote, 698 a palace."""
    with Image.open(ROOT / "tests" / "support" / "pagoda.jpg") as image:
        picture = np.asarray(image.convert("RGB").resize((224, 224)))
    logits = efficientnet_lite0()(pixels.to_model(picture)[None])["logits"].numpy()[0]
    found = np.argsort(-logits)[:5]
    np.testing.assert_array_equal(found, [442, 449, 698, 483, 663])
    np.testing.assert_allclose(logits[found], [8.031213, 7.081609, 6.853808, 6.711603, 6.654074], atol=1e-3)


def test_weights_that_name_code_are_refused(tmp_path: Path) -> None:
    for name, content in (("code", b"".join(map(pickle.dumps, (1, 2, 3, os.system, [])))), ("text", b"no weights")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} holds no tensors that can be read"):
            read_torch(tmp_path / name)


def test_content_distance() -> None:
    features = np.random.default_rng(0).uniform(0, 1, (4, 5, 8)).astype(np.float32)
    assert content_distance(features, features) == pytest.approx(0, abs=1e-6)
    assert content_distance(features, 3 * features) == pytest.approx(0, abs=1e-6)
    one, other = np.eye(2, dtype=np.float32)[:, None, None]
    assert content_distance(one, other) == pytest.approx(1)


def test_colour_shift_of_known_colours() -> None:
    black, white, red = (np.full((4, 4, 3), value, np.uint8) for value in (0, 255, (255, 0, 0)))
    assert colour_shift(black, white) == pytest.approx(100, abs=0.1)
    assert colour_shift(black, red) == pytest.approx(np.linalg.norm([53.24, 80.09, 67.20]), abs=0.2)
    assert colour_shift(red, red) == 0


def test_flat_texture_and_lines() -> None:
    constant = np.full((64, 64, 3), 120, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    ramp = np.repeat(np.repeat(np.arange(64, dtype=np.uint8)[None, :, None], 64, 0), 3, 2)  # 1 level a pixel
    for picture, flat, texture in ((constant, 1, 0), (ramp, 1, 0), (4 * ramp, 0, 1)):
        figures = drawing_figures(picture[:, 2:-2])
        assert figures["flat"] == pytest.approx(flat, abs=0.05) and figures["texture"] == pytest.approx(texture, abs=0.05)
    assert drawing_figures(noise)["flat"] < 0.05
    lined = constant.copy()
    lined[:, 30:32] = 0
    assert drawing_figures(constant)["lines"] == drawing_figures(constant)["drawn"] == 0
    assert drawing_figures(lined)["lines"] == pytest.approx(2 / 64)
    lined[:, 30:50] = 0  # an area, not a line
    assert drawing_figures(lined)["lines"] == 0


def test_a_line_is_drawn_in_a_calm_place_and_not_in_texture() -> None:
    calm = np.full((64, 64, 3), 160, np.uint8)
    rough = np.clip(160 + np.random.default_rng(0).normal(0, 12, (64, 64, 1)), 0, 255).astype(np.uint8).repeat(3, -1)
    both = np.hstack([calm, rough])
    for picture in (calm, rough, both):
        picture[:, 30:32] = 20
    both[:, 94:96] = 20
    assert drawing_figures(calm)["drawn"] == 1 and drawing_figures(rough)["drawn"] == 0
    assert 0.05 < drawing_figures(both)["drawn"] < 0.95
    specks = np.full((200, 200, 3), 160, np.uint8)
    specks[[50, 90, 130], [40, 100, 160]] = 20
    assert 0 < drawing_figures(specks)["drawn"] < 0.1, "three dark pixels are no drawing"


def test_the_most_drawn_is_recommended() -> None:
    """Of the pictures that it is chosen by, not of those that are reported."""
    assert (
        recommended({name: Scores({"drawn": 0.3}, {}, found) for name, found in zip("abc", (0.1, 0.3, 0.2), strict=True)})
        == "b"
    )


def test_pairs_of_another_model(tmp_path: Path) -> None:
    photos, outputs = tmp_path / "photos", tmp_path / "outputs"
    for folder, side in ((photos, 96), (outputs, 80)):
        folder.mkdir()
        Image.new("RGB", (side, side)).save(folder / "a.png")
    [(photo, output)] = read_pairs(photos, outputs, 512)
    assert photo.shape == output.shape == (96, 96, 3)
    Image.new("RGB", (40, 40)).save(outputs / "b.png")
    with pytest.raises(ValueError, match="same names: 'b' is in only one"):
        next(read_pairs(photos, outputs, 512))
    with pytest.raises(ValueError, match="not a folder"):
        next(read_pairs(photos, tmp_path / "none", 512))
    (outputs / "b.png").unlink()
    damaged = bytearray((photos / "a.png").read_bytes())
    damaged[20] ^= 1
    for content, reason in (
        (bytes(damaged), "damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "not a picture in a known format"),
    ):
        (outputs / "a.png").write_bytes(content)
        with pytest.raises(ValueError, match=f"a.png cannot be read: {reason}"):
            next(read_pairs(photos, outputs, 512))


def command(tmp_path: Path, module: str, *words: str) -> subprocess.CompletedProcess[str]:
    words = ("-m", module, *words, "--cache", str(tmp_path / "cache"))
    return subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=300)


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def train(place: Path, *more: str) -> None:
    """Trains the run "tiny" in this process, which has TensorFlow already."""
    settings = ["data.holdout=6", "data.size=32", "discriminator.channels=4", "discriminator.layers=1"]
    settings += ["schedule.epoch=3 steps"]
    words = ["smoke", "--precision", "float32", "--name", "tiny", "--epochs", "2", *more]
    where = ["--runs", str(place / "runs"), "--cache", str(place / "cache")]
    words += [word for setting in settings for word in ("--set", setting)]
    training.main(training.parser().parse_args([*words, *where]))


@pytest.fixture(scope="module", autouse=True)
def built_once() -> Iterator[None]:
    """The measuring networks, which are the same ones every time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.evaluate.FeatureExtractors", functools.cache(FeatureExtractors))
        yield


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished tiny run in runs/tiny."""
    tmp_path = tmp_path_factory.mktemp("evaluate")
    with eagerly():
        train(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_run_is_measured_written_and_goes_on(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = workplace / "runs" / "tiny"
    before = digests(run)
    words = (str(run), "--weights", "none", "--cache", str(workplace / "cache"))
    capsys.readouterr()
    main(parser().parse_args(words))
    first = capsys.readouterr().out.strip()
    assert "same network as trained against, other layers" in first and "held-out 6 photos" in first
    recommendation = re.search(r"recommended: (\S+)", first)
    assert recommendation and Path(recommendation[1]).parent == run
    records = {path: read_record(path) for path in (run / "epoch-001", run / "epoch-002")}
    assert records[Path(recommendation[1])].phase != WARM_UP
    trained = [record.data["chosen_by"] for record in records.values() if record.phase != WARM_UP]
    assert records[Path(recommendation[1])].data["chosen_by"] == max(trained)
    assert all(0 <= record.metrics["drawn"] <= 1 for record in records.values())
    assert "rule: the most drawn after the warm-up" in first
    written = digests(run)
    for name in ("epoch-001", "epoch-002"):
        record = read_record(run / name)
        verify_files(run / name, record)
        load_generator(run / name)
        scales = {f"{name}{end}" for name in STYLES for end in ("", "_error", "_photos", "_anime")}
        assert scales | {"content", "independent_content", "flat_anime"} <= record.metrics.keys()
        card = (run / name / "README.md").read_text("utf-8")
        assert card == model_card(record)
        assert "photos themselves" in card and "Held-out 6 photos and 6 frames" in card and "style distance" in card
        weights = f"{name}/model.weights.h5"
        assert written[weights] == before[weights]
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text("utf-8").splitlines()]
    assert [("eval_style" in row, row["step"]) for row in rows] == [(False, 3), (True, 3), (False, 6), (True, 6)]
    assert [path.name for path in run.iterdir() if path.name.startswith(".")] == [".lock"]

    for again in ([], ["--no-write"]):
        main(parser().parse_args([*words, *again]))
        assert capsys.readouterr().out.strip() == first and digests(run) == written

    train(workplace, "--resume")
    assert digests(run)["history.jsonl"] == written["history.jsonl"]
    assert [sum("eval_style" in row for row in read_history(run / f"epoch-00{number}")) for number in (1, 2)] == [1, 2]


def test_other_pictures_are_read_as_a_person_sees_them(tmp_path: Path) -> None:
    photos, outputs = tmp_path / "photos", tmp_path / "outputs"
    photos.mkdir()
    outputs.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.new("RGB", (120, 80), (200, 0, 0)).save(photos / "a.jpg", exif=exif)
    clear = Image.new("RGBA", (80, 128), (0, 0, 0, 0))
    clear.save(outputs / "a.png")
    [(photo, output)] = read_pairs(photos, outputs, 512)
    assert photo.shape == output.shape == (120, 80, 3) and output.min() == 255
    clear.save(outputs / "a.webp")
    with pytest.raises(ValueError, match=r"outputs holds a\.\w+ and another picture of that name"):
        next(read_pairs(photos, outputs, 512))
    (outputs / "a.webp").unlink()
    clear.resize((128, 80)).save(outputs / "a.png")
    with pytest.raises(ValueError, match="outputs/a is of another shape than its photo"):
        next(read_pairs(photos, outputs, 512))


@pytest.mark.slow
def test_runs_are_compared_with_their_base(workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The base is an earlier moment of the same run, under the base's name."""
    run, base = tmp_path / "tiny", tmp_path / "smoke"
    shutil.copytree(workplace / "runs" / "tiny", run)
    shutil.copytree(run / "epoch-001", base / "epoch-001")
    write_record(base / "epoch-001", dataclasses.replace(read_record(base / "epoch-001"), experiment="smoke", base=None))
    for folder in ("photos", "left", "right"):
        (tmp_path / folder).mkdir()
        for number in range(6):
            noise = np.random.default_rng([number, folder == "right"]).integers(0, 256, (64, 80, 3), np.uint8)
            Image.fromarray(noise).save(tmp_path / folder / f"{number}.png")
    pictures = [word for folder in ("left", "right") for word in ("--pictures", tmp_path / "photos", tmp_path / folder)]
    words = [run, base, "--weights", "none", "--cache", workplace / "cache", *pictures]
    main(parser().parse_args([str(word) for word in words]))
    metrics = [read_record(folder).metrics for folder in (run / "epoch-002", base / "epoch-001")]
    assert metrics[0]["style_change"] == pytest.approx(metrics[0]["style"] - metrics[1]["style"], rel=0.01, abs=0.01)
    assert min(metrics[0][f"{of}_change_error"] for of in STYLES) > 0 and "style_change" not in metrics[1]
    told = r"tiny against smoke: style \S+ ± \S+, independent_style \S+ ± \S+, content \S+\n"
    printed = capsys.readouterr().out
    assert re.search(told, printed) and printed.count("photos/themselves") == 1
    place = re.escape(tmp_path.name)
    assert re.search(
        rf"{place}/right against {place}/left: style \S+ ± \S+, independent_style \S+ ± \S+, content \+", printed
    )
    assert "Against `smoke`, on the same photos: style distance " in (run / "epoch-002" / "README.md").read_text("utf-8")
    main(parser().parse_args([str(run / "epoch-002"), "--weights", "none", "--cache", str(workplace / "cache")]))
    assert read_record(run / "epoch-002").metrics == metrics[0]  # also without the base
    shutil.rmtree(run / "epoch-002")


def test_a_second_seed_or_a_longer_run_is_compared_with_one_like_it() -> None:
    def run(name: str, base: str, **changes: Any) -> Record:
        return dataclasses.replace(tiny_record(Path("epoch-001"), base=base, changes=changes), experiment=name)

    four, again = run("repro-4-laptop", "repro-1-laptop"), run("four-1", "repro-4-laptop", seed=[0, 1])
    half, half_again = run("repro-fake-half-laptop", "repro-4-laptop"), run("half-1", "repro-fake-half-laptop", seed=[0, 1])
    every = [four, again, half, half_again]
    assert [compared_with(record, every) for record in every] == [None, "repro-4-laptop", "repro-4-laptop", "four-1"]
    assert compared_with(half_again, [four, half, half_again]) == "repro-fake-half-laptop", "what a seed alone changes"
    other_seed = run("four-2", "repro-4-laptop", seed=[0, 2])
    assert compared_with(half_again, [other_seed, half_again]) is None
    length = {"schedule.length": ["10 epochs", "82 epochs"], "precision": ["float32", "mixed_bfloat16"]}
    long, half_long = run("four-long", "repro-4-laptop", **length), run("half-long", "repro-fake-half-laptop", **length)
    assert compared_with(half_long, [half, four, half_long, long]) == "four-long"
    assert compared_with(half, [half, four, half_long, long]) == "repro-4-laptop"


def test_the_report_says_how_near_the_measuring_network_is() -> None:
    record = read_record(BUNDLED / "repro-1-laptop" / "epoch-010")
    config = record.config | {"features": {"network": "hed-vgg16"}}
    patch, projected = ({"discriminator": {"kind": kind}} for kind in ("patch", "projected"))
    assert _kinship(dataclasses.replace(record, config=config | patch), "vgg19") == ""
    assert "other layers" in _kinship(dataclasses.replace(record, config=config | patch), "hed-vgg16")
    assert "which flatters its style" in _kinship(dataclasses.replace(record, config=config | projected), "hed-vgg16")
    v3 = read_record(BUNDLED / "official-v3-hayao-laptop" / "epoch-010")
    assert "same network and layers" in _kinship(v3, "hed-vgg16"), "it says so of its style terms"
    unused = record.data | {"feature_network": False}
    assert _kinship(dataclasses.replace(record, config=config | projected, data=unused), "hed-vgg16") == "", "nobody looked"


def test_evaluations_go_to_their_step(tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    history.write_text('{"step": 10}\n{"step": 20}\n{"step": 3', "utf-8")
    for style in (1.0, 2.0):
        _insert(history, {"step": 10, "eval_style": style})
    rows = [json.loads(line) for line in history.read_text("utf-8").splitlines()]
    assert rows == [{"step": 10}, {"step": 10, "eval_style": 2.0}, {"step": 20}]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["/nowhere"], "holds no checkpoint"),
        (["RUN", "--data", "/nowhere"], "/nowhere does not exist"),
        (["RUN", "--weights", "/nowhere"], "no file '/nowhere'"),
        (["animegan_app/checkpoints/repro-1-laptop", "--weights", "none"], "no pictures given for style Hayao"),
        (["ARCHIVE"], "figures are written beside checkpoints, not into an archive: add --no-write"),
        (["ARCHIVE", "--no-write"], "is empty: fetch or copy it again"),
        (["RUN", "--photos", "tests"], "are measured against anime frames: give some with --anime DIR"),
        (["NOTHING"], "held nothing out (data.holdout is 0): train with --set data.holdout=48"),
    ],
)
def test_errors_are_one_sentence(workplace: Path, words: list[str], message: str) -> None:
    run = workplace / "runs" / "tiny"
    nothing = workplace / "nothing"
    if not nothing.exists():
        shutil.copytree(run / "epoch-001", nothing)
        text = (nothing / "checkpoint.json").read_text("utf-8")
        (nothing / "checkpoint.json").write_text(text.replace('"holdout": 6', '"holdout": 0'), "utf-8")
    (workplace / "archive.zip").touch()
    words = [
        {"RUN": str(run), "NOTHING": str(nothing), "ARCHIVE": str(workplace / "archive.zip")}.get(word, word)
        for word in words
    ]
    with pytest.raises(ValueError, match=re.escape(message)) as failed:
        main(parser().parse_args([*words, "--cache", str(workplace / "cache")]))
    assert "\n" not in str(failed.value)


@pytest.mark.slow
def test_it_opens_the_pictures_that_training_had(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr("train.evaluate._measure", lambda folders, source, arguments: opened.append(source))
    words = [str(workplace / "runs" / "tiny"), "--photos", "p", "--anime", "a", "--drawings", "d"]
    main(parser().parse_args(words))
    assert [(source.photos, source.anime, source.drawings) for source in opened] == [(Path("p"), Path("a"), Path("d"))]


@pytest.mark.slow
def test_a_run_that_is_being_written_is_left_alone(workplace: Path) -> None:
    run = workplace / "runs" / "tiny"
    words = [str(run), "--weights", "none", "--cache", str(workplace / "cache")]
    with writing(run), pytest.raises(ValueError, match=r"is being written by process .* add --no-write"):
        main(parser().parse_args(words))
    with writing(run):
        main(parser().parse_args([*words, "--no-write"]))


@pytest.mark.slow
def test_the_command_says_errors_in_one_sentence(tmp_path: Path) -> None:
    failed = command(tmp_path, "train.evaluate", "/nowhere")
    assert failed.returncode == 1 and "Traceback" not in failed.stderr
    assert failed.stderr.splitlines()[-1].startswith("train.evaluate: /nowhere holds no checkpoint")
