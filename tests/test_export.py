"""Exports draw what Keras draws, at any size; one that does not is not made; the web page draws offline."""

import dataclasses
import functools
import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from hub_export import pixels, web
from hub_export.architecture import KINDS, GeneratorConfig
from hub_export.checkpoint import load_generator, save_checkpoint
from hub_export.export import FORMATS, export, main, parser
from hub_export.generator import build_generator
from hub_export.onnx_graph import UnknownLayerError, onnx_model
from hub_export.record import CARD, SAMPLES, CheckpointError
from hub_export.static_layers import with_static_channels
from support.checkpoints import tiny_checkpoint, tiny_record
from support.folders import drawing
from support.pictures import encode, with_segments

GENERATORS = [
    ("lite", "drawn"),
    *(pytest.param(kind, "drawn", marks=pytest.mark.slow) for kind in KINDS if kind != "lite"),
    pytest.param("lite", "kept", marks=pytest.mark.slow),
]


def generator_of(architecture: str, colours: str) -> keras.Model:
    """With numbers that a trained one could have: no bias is 0, no scale 1."""
    keras.utils.set_random_seed(7)
    generator = build_generator(GeneratorConfig(architecture, 4, colours))
    random = np.random.default_rng(7)
    for variable in generator.weights:
        if len(variable.shape) == 1:
            variable.assign(np.asarray(variable) + random.uniform(0, 0.5, variable.shape))
    return generator


def photo_of(height: int, width: int) -> np.ndarray:
    return pixels.to_model(np.asarray(drawing(3, width, height)))[np.newaxis]


@pytest.mark.parametrize(("architecture", "colours"), GENERATORS)
def test_every_generator_draws_the_same_as_onnx_and_in_the_layers_for_litert(architecture: str, colours: str) -> None:
    generator = generator_of(architecture, colours)
    session = onnxruntime.InferenceSession(onnx_model(generator, False, {}).SerializeToString())
    static = with_static_channels(generator)
    for height, width in ((64, 64), (40, 96)):
        photo = photo_of(height, width)
        wanted = np.asarray(generator(photo))
        assert np.std(wanted) > 0.02, "a gray picture compares nothing"
        (drawn,) = session.run(["anime"], {"photo": photo})
        assert np.abs(drawn - wanted).max() < 1e-3
        assert np.abs(np.asarray(static(photo)) - wanted).max() < 1e-3
    (batch,) = session.run(None, {"photo": np.concatenate([photo_of(32, 48), -photo_of(32, 48)])})
    assert np.abs(batch[1:] - session.run(None, {"photo": -photo_of(32, 48)})[0]).max() < 1e-4


def test_the_graph_is_as_small_as_the_generator() -> None:
    model = onnx_model(build_generator(GeneratorConfig("lite", 4)), False, {"terms": "none"})
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("Resize") == 3 and "AveragePool" not in kinds and len(kinds) < 80
    assert {entry.key: entry.value for entry in model.metadata_props} == {"terms": "none"}


def test_a_layer_that_no_generator_has_is_named() -> None:
    photo = keras.Input((None, None, 3), name="photo")
    with pytest.raises(UnknownLayerError, match="GaussianNoise"):
        onnx_model(keras.Model(photo, keras.layers.GaussianNoise(1.0)(photo)), False, {})


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "architecture"), [("onnx", "lite"), ("saved_model", "lite"), ("litert", "v2")])
def test_an_export_is_compared_and_comes_with_the_card(
    kind: str, architecture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "runs" / "tiny" / "epoch-001"
    config = {"architecture": architecture, "channels": 4}
    record = tiny_record(source, generator=config, metrics={})
    samples = np.asarray(drawing(1, 96, 64))
    save_checkpoint(source, generator_of(architecture, "drawn"), record, [], samples)
    drawing(2, 90, 70).save(tmp_path / "mine.png")
    words = [str(source), "--format", kind, "--out", str(tmp_path / "out"), "--photo", str(tmp_path / "mine.png")]
    for _ in range(2 if kind == "onnx" else 1):  # the second replaces the first
        main(parser().parse_args(words))
    (folder,) = (tmp_path / "out").iterdir()
    assert folder.name == f"tiny-epoch-001-{kind}"
    told = capsys.readouterr().out.splitlines()[0]
    found = re.fullmatch(rf"{re.escape(str(folder))}: \d+\.\d MB, differs from Keras by at most (\S+) of 255 levels", told)
    assert found and float(found[1]) < 0.1
    card = (folder / CARD).read_text("utf-8")
    assert "Free to use." in card and "keras.saving" not in card and (folder / SAMPLES).is_file()
    for block in re.findall(r"```python\n(.*?)```", card, re.DOTALL):
        code = block.replace('"model.', f'"{folder}/model.').replace('load(".")', f'load("{folder}")')
        values: dict[str, np.ndarray] = {}
        exec(code, values)
        wanted = load_generator(source)(values["photo"])
        assert np.abs(np.asarray(values["anime"]) - np.asarray(wanted)).max() < 1e-3


@pytest.mark.slow
def test_what_would_draw_something_else_is_not_exported_and_what_was_there_stays(tmp_path: Path) -> None:
    """A picture so steep that it shows what float16 leaves out."""
    source, out = tmp_path / "runs" / "tiny" / "epoch-001", tmp_path / "out"
    generator = build_generator(GeneratorConfig("v1", 8))
    kernel = generator.layers[-2].kernel
    kernel.assign(50.0 * kernel)
    save_checkpoint(
        source,
        generator,
        tiny_record(source, generator={"architecture": "v1", "channels": 8}, metrics={}),
        [],
        np.asarray(drawing(1, 64, 64)),
    )
    (out / "tiny-epoch-001-web").mkdir(parents=True)
    (out / "tiny-epoch-001-web" / "older").touch()
    with pytest.raises(
        CheckpointError, match=r"cannot be exported as web: its picture would differ by \d+\.\d of 255 levels"
    ):
        export(source, "web", out)
    assert [path.relative_to(out).as_posix() for path in out.rglob("*")] == [
        "tiny-epoch-001-web",
        "tiny-epoch-001-web/older",
    ]
    folder, difference = export(source, "onnx", out)
    assert difference < 2 and folder.name in {path.name for path in out.iterdir()}


def test_a_photo_that_is_none_and_a_checkpoint_that_is_none_are_said(tmp_path: Path) -> None:
    words = [str(tmp_path), "--format", "onnx", "--out", str(tmp_path / "out")]
    for content in (b"no picture", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", with_segments(100_000)):
        (tmp_path / "mine.jpg").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"mine\.jpg is not a picture that can be read"):
            main(parser().parse_args([*words, "--photo", str(tmp_path / "mine.jpg")]))
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        main(parser().parse_args(words))
    assert not (tmp_path / "out").exists() and set(FORMATS) == {"onnx", "litert", "saved_model", "web"}


@dataclasses.dataclass
class Files:
    """A plain file server of a folder, as `python -m http.server` is one."""

    folder: Path

    def __enter__(self) -> str:
        handler = functools.partial(_Silent, directory=str(self.folder))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.slow
def test_a_runtime_that_is_not_what_npm_published_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "npm" / "onnxruntime-web" / "-"
    package.mkdir(parents=True)
    (package / web.ARCHIVE).write_bytes(b"something else")
    with Files(tmp_path / "npm") as address:
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", address)
        with pytest.raises(
            CheckpointError, match=r"is not what npm published \(its sha512 differs\): try again, or download"
        ):
            web.runtime_archive(tmp_path / "cache")
        (package / web.ARCHIVE).unlink()
        with pytest.raises(
            CheckpointError, match=r"cannot be downloaded \(error 404\): connect to the network, or download"
        ):
            web.runtime_archive(tmp_path / "cache")
    with pytest.raises(CheckpointError, match="cannot be downloaded"):  # nobody answers
        web.runtime_archive(tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny" / "epoch-001"
    data = {"photos": 1, "anime": 1, "source": "Generated.", "terms": "Free </script><img src=http://stranger.example/>."}
    tiny_checkpoint(folder, seed=4, data=data)
    return folder


@pytest.fixture(scope="module")
def site(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The exported page, served."""
    try:
        web.runtime_archive()
    except CheckpointError as error:
        pytest.skip(f"the npm registry is out of reach: {error}")
    folder, difference = export(checkpoint, "web", tmp_path_factory.mktemp("out"))
    assert difference < 2 and (folder / "model.onnx").stat().st_size < 2_000_000
    with Files(folder) as address:
        yield address


def watched(context: BrowserContext, address: str, asked: list[str]) -> Page:
    context.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    page = context.new_page()
    page.goto(address)
    return page


def drawn(page: Page, name: str, content: bytes, nth: int) -> np.ndarray:
    """What is saved after a photo was chosen, which is the page's nth."""
    page.set_input_files("#file", {"name": name, "mimeType": "image/png", "buffer": content})
    page.locator(f"body[data-drawn='{nth}']").wait_for(timeout=90_000)
    with page.expect_download() as download:
        page.locator("#save").click()
    assert download.value.suggested_filename == f"{name.partition('.')[0]}-tiny.png"
    return np.asarray(Image.open(download.value.path()).convert("RGB")).astype(int)


def turned(picture: np.ndarray, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(Image.fromarray(picture), "PNG", exif=exif.tobytes())


def test_the_page_draws_what_python_draws_without_a_connection_too(browser: Browser, site: str, checkpoint: Path) -> None:
    generator, picture = load_generator(checkpoint), np.asarray(drawing(5, 203, 119))
    wanted = pixels.draw(generator, picture, 8).astype(int)
    asked: list[str] = []
    context = browser.new_context(viewport={"width": 390, "height": 844}, locale="zh-CN", color_scheme="dark")
    page = watched(context, site, asked)
    expect(page.locator("#state")).to_have_text("就绪。此后无需联网也能使用本页。", timeout=90_000)
    assert page.evaluate("crossOriginIsolated"), "threads"
    assert page.locator("h1").inner_text() == "照片变动漫" and page.locator("html").get_attribute("lang") == "zh-CN"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(23, 22, 20)"

    context.set_offline(True)
    page.reload()
    expect(page.locator("#state")).to_contain_text("就绪", timeout=90_000)
    assert np.abs(drawn(page, "mine.png", encode(Image.fromarray(picture), "PNG"), 1) - wanted).max() <= 2
    assert page.evaluate("document.documentElement.scrollWidth") == 390

    upright = np.rot90(picture)  # stored lying
    result = drawn(page, "lying.png", turned(picture, 8), 2)
    assert np.abs(result - pixels.draw(generator, np.ascontiguousarray(upright), 8)).max() <= 2
    sizes = "[...document.querySelectorAll('#pair canvas')].map(canvas => [canvas.width, canvas.height])"
    assert page.evaluate(sizes) == [[119, 203]] * 2
    assert {one.split()[0] for one in asked} == {"GET"} and all(f" {site}/" in f"{one}/" for one in asked)
    context.close()


def test_the_page_works_with_one_thread_scales_and_tells_errors(browser: Browser, site: str, checkpoint: Path) -> None:
    """As where there is no service worker, say by http over a local network."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, service_workers="block", locale="en-GB")
    context.add_init_script("Object.defineProperty(navigator, 'serviceWorker', {value: undefined})")
    asked: list[str] = []
    page = watched(context, site, asked)
    expect(page.locator("#state")).to_have_text("Ready.", timeout=90_000)
    assert page.locator("body").get_attribute("data-engine") == "cpu 1" and not page.evaluate("crossOriginIsolated")
    expect(page.locator("#about")).to_contain_text("tiny · epoch-001")
    expect(page.locator("#about")).to_contain_text("research and personal use")
    expect(page.locator("#terms")).to_have_text("Free </script><img src=http://stranger.example/>.")

    page.set_input_files("#file", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"no picture"})
    expect(page.locator("#error")).to_contain_text("cannot read that file as a picture: choose a JPEG, PNG or WebP")
    page.set_input_files(
        "#file", {"name": "a.png", "mimeType": "image/png", "buffer": encode(Image.new("RGB", (99, 3)), "PNG")}
    )
    expect(page.locator("#error")).to_contain_text("crop it to at most 32 : 1")

    page.locator("#size").select_option("512")
    smooth = drawing(6, 80, 72).resize((1600, 1200), Image.Resampling.BICUBIC)
    result = drawn(page, "large.png", encode(smooth, "PNG"), 4)
    assert result.shape == (384, 512, 3) and page.locator("#error").is_hidden()
    wanted = pixels.draw(load_generator(checkpoint), pixels.limit_size(np.asarray(smooth), 512), 8)
    assert np.abs(result - wanted).mean() < 2, "browsers scale a little differently"
    context.close()
    assert {one.split()[0] for one in asked} == {"GET"}
