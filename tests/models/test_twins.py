"""Small versions of the paper's networks give what PyTorch gave.

``python benchmarks/twins.py --small`` asks it anew.
"""

import json
from collections import Counter
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.models.twin_weights import CHANNELS, EVERY, SMALL_FILTERS, SMALL_SIZE, image, random_tensor
from tf_landslide.core.errors import LandslideError
from tf_landslide.models.build import build_model
from tf_landslide.models.encoders import ENCODERS
from tf_landslide.models.encoders.contract import Encoder
from tf_landslide.models.encoders.mix_transformer import MiTSpec
from tf_landslide.models.encoders.smp import classic, efficientnet, inception, mit, resnet
from tf_landslide.models.layers.norm import all_layers
from tf_landslide.models.torch_names import load_state_dict, state_dict_of
from tf_landslide.predict.export import save_model
from tf_landslide.runs.card import ModelCard

TINY_MIT = MiTSpec((1, 1, 2, 1), (8, 16, 24, 32), (1, 2, 3, 4))
_MIT_STRIDES = (4, 8, 16, 32)


def residual(**sizes):
    return partial(resnet.resnet, spec=resnet.ResNetSpec(**sizes))


# By config, as benchmarks/twins.py cuts them down.
ENCODER = {
    "unet_resnet34": residual(blocks=(1, 2, 1, 1), bottleneck=False),
    "unet_vgg16": partial(classic.vgg, convolutions=(1,) * 5, width=4),
    "unet_efficientnetb0": efficientnet.efficientnet_b0,
    "unet_resnext50": residual(blocks=(1, 1, 2, 1), groups=32, group_width=4),
    "unet_seresnet50": residual(blocks=(1, 2, 1, 1), squeeze=16, stride_first=True),
    "unet_densenet121": partial(classic.densenet, blocks=(1, 2, 1, 1), growth=4, stem=8),
    "unet_seresnext50": residual(blocks=(1, 1, 2, 1), groups=32, group_width=4, squeeze=16),
    "unet_inceptionv4": partial(inception.inception_v4, blocks=(1, 1, 1)),
    "unet_inceptionresnetv2": partial(inception.inception_resnet_v2, blocks=(1, 1, 1)),
    "unet_mobilenetv2": classic.mobilenet_v2,
    "unet_mit_b1": partial(mit.mix_transformer, spec=TINY_MIT, dialect=mit.SMP),
    "deeplabv3plus_resnet50": residual(blocks=(1, 1, 2, 1)),
    "segformer_mit_b2": partial(mit.mix_transformer, spec=TINY_MIT, dialect=mit.TRANSFORMERS),
}
SLOW = ("unet_efficientnetb0", "unet_inceptionv4", "unet_inceptionresnetv2", "unet_mobilenetv2", "unet_resnext50")


def named(names):
    return [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in names]


@pytest.fixture(scope="module")
def twins():
    with np.load(Path(__file__).with_name("twins.npz")) as file:
        return dict(file)


def small(name, monkeypatch):
    """One of them, and its architecture."""
    called = "smp_efficientnetb0" if name == "unet_efficientnetb0" else "small"
    build = partial(ENCODER[name], name=called)
    strides = _MIT_STRIDES if "mit" in name else (2, 4, 8, 16, 32)
    dilated = build if name.startswith("deeplab") else None
    monkeypatch.setitem(ENCODERS, "small", Encoder(build, "", "", strides=strides, dilated=dilated))
    architecture, options = {
        "deeplab": ("smp_deeplabv3plus", {"filters": 16}),
        "segform": ("hf_segformer", {"filters": 24}),
    }.get(name[:7], ("smp_unet", {"filters": SMALL_FILTERS}))
    if name == "unet_vgg16":
        options["center"] = True
    return build_model(architecture, "small", channels=CHANNELS, **options), architecture


def published(twins, name):
    """The state dict that PyTorch had."""
    shapes = json.loads(twins[f"{name}_shapes"].tobytes())
    return {key: random_tensor(key, tuple(shape)) for key, shape in shapes.items()}


def logits_of(model):
    logits = [layer for layer in model.layers if layer.name in ("logits", "logits_up")][-1].output
    return keras.ops.convert_to_numpy(keras.Model(model.inputs[0], logits)(image(SMALL_SIZE), training=False))


@pytest.mark.parametrize("name", named(ENCODER))
def test_a_small_one_gives_pytorch_s_logits_and_its_state_dict_back(name, twins, monkeypatch):
    model, architecture = small(name, monkeypatch)
    state = published(twins, name)
    unused = load_state_dict(model, architecture, state, "there")
    found, expected = logits_of(model).ravel()[::EVERY], twins[name]
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    back = state_dict_of(model, architecture)
    if name == "segformer_mit_b2":  # there under version 5's names, here under those of the published files
        assert len(back) == len(state) and load_state_dict(model, architecture, back, "back") == []
        return
    assert {key: value.shape for key, value in back.items()} == {key: value.shape for key, value in state.items()}
    taken = [key for key in state if key not in unused and not key.endswith("num_batches_tracked")]
    assert all(np.array_equal(back[key], state[key]) for key in taken)
    assert all(key.startswith(("encoder._conv_head", "encoder._bn1")) for key in unused)
    assert bool(unused) == (name == "unet_efficientnetb0")


@pytest.fixture
def vgg(twins, monkeypatch):
    return (*small("unet_vgg16", monkeypatch), published(twins, "unet_vgg16"))


HEAD = "segmentation_head.0.weight"
VARIANCE = "decoder.blocks.0.conv1.1.running_var"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("encoder.features.0.weight"), r"lacks tensors of the network: encoder\.features\.0\.weight"),
        (lambda s: s.update({"encoder.x": s[HEAD]}), "holds tensors that the network does not have: encoder.x"),
        (lambda s: s.update({HEAD: s[HEAD][:, :4]}), r"'segmentation_head.0.weight' is \(1, 4, 3, 3\), .* \(1, 8, 3,"),
        (lambda s: s.update({HEAD: s[HEAD] * np.nan}), "holds values that are no finite numbers"),
        (
            lambda s: s.update({HEAD: np.concatenate([s[HEAD]] * 2)}),
            r"only networks of one class are taken \(classes=1\)",
        ),
        (lambda s: s.update({HEAD: (s[HEAD] * 100).astype(np.int8)}), "is int8, expected floating point"),
        (lambda s: s.update({VARIANCE: -s[VARIANCE]}), "running_var' holds values below 0, which no variance has"),
        (lambda s: s.update({"x\x1b[2J" + "y" * 9000: s[HEAD]}), r"does not have: x\\x1b\[2Jy{70,80};"),
        (lambda s: s.clear(), "no tensor called 'segmentation_head.0.bias'; is it of another network"),
    ],
    ids=[
        "missing",
        "left over",
        "shape",
        "not finite",
        "two classes",
        "quantised",
        "negative variance",
        "a name",
        "empty",
    ],
)
def test_what_does_not_fit_is_refused_by_name_and_changes_nothing(vgg, change, said):
    model, architecture, state = vgg
    change(state)
    before = logits_of(model)
    with pytest.raises(LandslideError, match=f"there: .*{said}") as refused:
        load_state_dict(model, architecture, state, "there")
    assert "\n" not in str(refused.value)
    np.testing.assert_array_equal(logits_of(model), before)


def test_a_prefix_is_taken_off_and_what_is_beside_it_is_named(vgg):
    model, architecture, state = vgg
    around = {f"net.model.{name}": tensor for name, tensor in state.items()} | {"loss.weight": np.ones(1)}
    assert load_state_dict(model, architecture, around, "there") == ["loss.weight"]
    assert np.array_equal(state_dict_of(model, architecture)[HEAD], state[HEAD])


def test_of_two_networks_one_is_chosen(vgg):
    """As an average of the weights is kept beside them."""
    model, architecture, state = vgg
    both = {f"model.{name}": tensor for name, tensor in state.items()}
    both |= {f"ema_model.module.{name}": tensor * np.float32(0.5) for name, tensor in state.items()}
    with pytest.raises(LandslideError, match=r"holds 2 networks, behind 'model\.', 'ema_model\.module\.'; .* --prefix"):
        load_state_dict(model, architecture, both, "there")
    with pytest.raises(LandslideError, match=r"holds no network behind 'ema\.', but behind 'model\.', 'ema_model"):
        load_state_dict(model, architecture, both, "there", prefix="ema.")
    left = load_state_dict(model, architecture, both, "there", prefix="ema_model.module.")
    assert np.array_equal(state_dict_of(model, architecture)[HEAD], state[HEAD] / 2) and len(left) == len(state)


def test_half_and_double_precision_become_single(vgg):
    model, architecture, state = vgg
    load_state_dict(model, architecture, {name: x.astype(np.float16) for name, x in state.items()}, "there")
    back = state_dict_of(model, architecture)[HEAD]
    assert back.dtype == np.float32 and np.array_equal(back, state[HEAD].astype(np.float16))


def test_a_network_without_a_counterpart_says_so():
    model = build_model("plain_unet", width=2, depth=1)
    with pytest.raises(LandslideError, match="'plain_unet' has no counterpart in PyTorch; those that have: smp_unet"):
        state_dict_of(model, "plain_unet")


@pytest.mark.slow
def test_openvino_folds_every_batch_norm_of_a_resnet(twins, monkeypatch, tmp_path):
    """Nothing but convolutions is left of them: a product of its own would be an ``Eltwise`` over a whole map."""
    openvino = pytest.importorskip("openvino", reason="optional: pip install openvino")
    model, architecture = small("unet_resnet34", monkeypatch)
    load_state_dict(model, architecture, published(twins, "unet_resnet34"), "there")
    channels = ("red", "green", "blue", "ndvi", "slope", "dem")
    save_model(model, ModelCard("m", architecture, None, "landslide4sense", channels, 0.5), tmp_path / "m")
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(tmp_path / "m"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    kinds = Counter(_said(op, "layerType") for op in compiled.get_runtime_model().get_ops())
    convolutions = [layer for layer in all_layers(model) if isinstance(layer, keras.layers.Conv2D)]
    norms = [layer for layer in all_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) > 20 and kinds["Convolution"] == len(convolutions)
    computing = [_said(op, "originalLayersNames") for op in compiled.get_runtime_model().get_ops() if _is_product(op)]
    assert all("normalization" in name or "Repeat" in name for name in computing), computing


def _said(op, key):
    said = op.get_rt_info()[key]
    return said.astype(str) if hasattr(said, "astype") else str(said)


def _is_product(op):
    return _said(op, "layerType") in ("Eltwise", "Multiply", "Add", "Subtract", "Math", "FusedBatchNorm")
