"""Mixed precision: every model builds, takes a step, saves, reloads and exports; what needs float32 stays in it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_combinations import OPTIONS
from tests.models.test_encoders import SMALL, image
from tf_landslide.bands.recipes import RECIPES
from tf_landslide.core.errors import LandslideError
from tf_landslide.jobs.catalogue import build_paper_model, paper_models
from tf_landslide.models.build import PRECISIONS, build_model
from tf_landslide.models.encoders import ENCODERS
from tf_landslide.models.encoders.mix_transformer import EfficientAttention
from tf_landslide.models.layers.norm import ChannelNormalization, all_layers
from tf_landslide.models.layers.resize import AdaptivePooling, ResizeLike
from tf_landslide.predict.export import save_model
from tf_landslide.runs.card import ModelCard
from tf_landslide.runs.sections import TrainingConfig
from tf_landslide.training.fit import get_optimizer
from tf_landslide.training.losses import BCEDice

MIXED = [precision for precision in PRECISIONS if precision != "float32"]
# The paper's kinds of layer, scaled down: its DenseNet, EfficientNet and Inceptions come in no small size.
FAMILIES = [
    *[("unet", "mobilenetv2"), ("unet", "seresnext"), ("deeplabv3plus", "resnet18"), ("segformer", "mit")],
]


def policies(model):
    computing = (layer for layer in all_layers(model) if not isinstance(layer, keras.layers.InputLayer))
    return {layer.name: layer.dtype_policy.name for layer in computing}


def takes_a_step_saves_reloads_and_exports(model, precision, folder, side=32):
    before = keras.config.dtype_policy().name
    named = policies(model)
    assert precision in named.values() and named["normalization"] == precision
    assert {named[name] for name in ("logits", "probability")} == {"float32"}
    assert all(weight.dtype == "float32" for weight in model.weights)
    rng = np.random.default_rng(0)
    model.get_layer("normalization").adapt([rng.normal(3, 2, (2, 16, 16, 6))])
    optimizer = get_optimizer(TrainingConfig(precision=precision, schedule="constant", learning_rate=1e-4), steps=1)
    model.compile(optimizer=optimizer, loss=BCEDice(), jit_compile=False)
    x = image(6, side, side) * 2 + 3
    y = (x[..., :1] > 3).astype(np.float32)
    kernel = model.get_layer("logits").kernel.numpy()
    for _ in range(10):  # the scale of a loss is halved until its gradient fits
        loss = model.train_on_batch(x, y)
        if moved := not np.array_equal(model.get_layer("logits").kernel.numpy(), kernel):
            break
    assert moved and np.isfinite(loss)
    probability = np.asarray(model(x, training=False))
    assert probability.dtype == np.float32 and np.isfinite(probability).all()
    model.save(folder / "m.keras")
    again = keras.saving.load_model(folder / "m.keras", safe_mode=True)
    assert policies(again) == named and type(again.optimizer) is type(model.optimizer)
    np.testing.assert_allclose(again(x, training=False), probability, atol=1e-5)
    card = ModelCard("m", "unet", None, "landslide4sense", RECIPES["six"], 0.5)
    save_model(model, card, folder / "saved")
    exported = tf.saved_model.load(str(folder / "saved")).signatures["serving_default"]
    # A graph rounds to half precision elsewhere than layer by layer, and one of a fixed size elsewhere than one of any.
    graph = tf.function(lambda channels: model(channels, training=False), [tf.TensorSpec(model.input_shape)])
    np.testing.assert_allclose(exported(channels=tf.constant(x))["probability"], graph(x), atol=1e-5)
    assert keras.config.dtype_policy().name == before == "float32"


@pytest.mark.slow
@pytest.mark.parametrize("precision", MIXED)
@pytest.mark.parametrize(
    ("architecture", "encoder"), [pytest.param(*pair, marks=pytest.mark.full) for pair in FAMILIES]
)
def test_a_small_one_of_each_family(architecture, encoder, precision, monkeypatch, tmp_path):
    if encoder not in ENCODERS:
        monkeypatch.setitem(ENCODERS, encoder, SMALL[encoder])
    keras.utils.set_random_seed(0)
    model = build_model(architecture, encoder, precision=precision, **OPTIONS[architecture])
    takes_a_step_saves_reloads_and_exports(model, precision, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("precision", MIXED)
def test_the_plain_unet(precision, tmp_path):
    keras.utils.set_random_seed(0)
    model = build_model("plain_unet", width=4, depth=2, batch_norm=True, precision=precision)
    takes_a_step_saves_reloads_and_exports(model, precision, tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("precision", MIXED)
@pytest.mark.parametrize("name", paper_models())
def test_the_paper_s_models(name, precision, tmp_path):
    keras.utils.set_random_seed(0)
    takes_a_step_saves_reloads_and_exports(build_paper_model(name, precision=precision), precision, tmp_path, 64)


def test_the_loss_is_scaled_where_gradients_are_of_half_precision():
    kinds = {p: type(get_optimizer(TrainingConfig(precision=p), 1)).__name__ for p in PRECISIONS}
    assert kinds == {"float32": "Adam", "mixed_float16": "LossScaleOptimizer", "mixed_bfloat16": "Adam"}


def test_keras_s_own_policy_is_taken_and_an_unknown_one_refused():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_model("plain_unet", width=4, depth=1)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        explicit = build_model("plain_unet", width=4, depth=1, precision="float32")
        assert set(policies(explicit).values()) == {"float32"}
    finally:
        keras.config.set_dtype_policy("float32")
    assert policies(model)["down0_conv1"] == "mixed_bfloat16"
    assert np.isfinite(model(image(6, 32, 32), training=False)).all()
    with pytest.raises(LandslideError, match="did you mean 'mixed_float16'"):
        build_model("plain_unet", precision="mixed_float61")
    assert keras.config.dtype_policy().name == "float32"


def test_metres_are_normalised_in_float32():
    """Half precision holds no more than 65,504, and rounds 3,000.4 metres to 3,000."""
    metres = np.random.default_rng(0).normal(70_000, 1, (1, 16, 16, 1)).astype(np.float32)
    for policy in MIXED:
        layer = ChannelNormalization(dtype=policy)
        layer.build((None, None, None, 1))
        layer.adapt([metres])
        z = layer(metres)
        assert keras.backend.standardize_dtype(z.dtype) == policy.removeprefix("mixed_")
        expected = (metres - metres.mean(dtype=np.float64)) / metres.std(dtype=np.float64)
        np.testing.assert_allclose(np.asarray(z, np.float32), expected, atol=0.02)


def test_attention_hands_its_policy_on_to_the_layers_in_it():
    layer = EfficientAttention(2, 2, dtype="mixed_bfloat16")
    layer.build((None, 4, 4, 8))
    inner = (layer.query, layer.key, layer.value, layer.projection, layer.reduce, layer.norm)
    assert {part.dtype_policy.name for part in inner} == {"mixed_bfloat16"}
    again = EfficientAttention.from_config(layer.get_config())
    again.build((None, 4, 4, 8))
    assert again.query.dtype_policy.name == "mixed_bfloat16"


@pytest.mark.parametrize("policy", MIXED)
def test_resizing_counts_pixels_exactly(policy):
    """Half precision counts to 256 (bfloat16) or 2,048: weights made in it would shift a long row."""
    x = np.broadcast_to(np.linspace(0, 1, 600, dtype=np.float32)[None, None, :, None], (1, 4, 600, 1))
    for half, full in (
        (AdaptivePooling(2, dtype=policy)(x), AdaptivePooling(2)(x)),
        (ResizeLike(dtype=policy)([x[:, :, ::10], x]), ResizeLike()([x[:, :, ::10], x])),
    ):
        np.testing.assert_allclose(np.asarray(half, np.float32), full, atol=0.02)
