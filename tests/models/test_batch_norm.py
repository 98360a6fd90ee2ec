"""The fused batch norm computes what Keras's own does: output, moving statistics and gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_landslide.models.build import build_model
from tf_landslide.models.layers.norm import FusedBatchNormalization, all_layers


def _both(**settings):
    """Our layer and Keras's with the same random weights."""
    ours, reference = (kind(**settings) for kind in (FusedBatchNormalization, keras.layers.BatchNormalization))
    rng = np.random.default_rng(1)
    for layer in (ours, reference):
        layer.build((None, None, None, 5))
    weights = [rng.uniform(0.5, 2, w.shape) for w in reference.weights]
    for layer in (ours, reference):
        layer.set_weights(weights)
    return ours, reference


def _outcome(layer, x, training):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=training)
        loss = tf.reduce_sum(tf.cast(y, "float32") ** 3)
    gradients = tape.gradient(loss, [x, *[v.value for v in layer.trainable_weights]])
    return [y.numpy().astype("float32"), *[g.numpy() for g in gradients], *layer.get_weights()]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "settings",
    [{}, {"scale": False}, {"center": False}, {"momentum": 0.9, "epsilon": 2e-5}, {"trainable": False}],
    ids=str,
)
def test_equals_keras(settings, training):
    ours, reference = _both(**settings)
    x = np.random.default_rng(0).normal(2, 3, (3, 7, 6, 5)).astype("float32")
    for found, expected in zip(_outcome(ours, x, training), _outcome(reference, x, training), strict=True):
        assert np.abs(found - expected).max() <= 1e-5 * max(1, np.abs(expected).max())


def test_a_single_pixel_has_no_variance():
    ours, reference = _both()
    x = np.full((1, 1, 1, 5), 3, "float32")
    for found, expected in zip(_outcome(ours, x, True), _outcome(reference, x, True), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_half_precision_keeps_its_statistics_in_float32():
    ours, reference = _both(dtype="mixed_bfloat16")
    x = np.random.default_rng(0).normal(2, 3, (3, 7, 6, 5)).astype("float32")
    assert ours(x, training=True).dtype == reference(x, training=True).dtype == "bfloat16"
    assert {v.dtype for v in ours.weights} == {"float32"}
    np.testing.assert_allclose(ours.get_weights()[2], reference.get_weights()[2], rtol=0.02)


@pytest.mark.parametrize("settings", [{"axis": 1}, {"renorm": True}, {"dtype": "float64"}], ids=str)
def test_what_the_kernel_cannot_do_goes_keras_s_way(settings):
    ours, reference = (kind(**settings) for kind in (FusedBatchNormalization, keras.layers.BatchNormalization))
    x = np.random.default_rng(0).normal(2, 3, (3, 5, 6, 5)).astype("float32")
    np.testing.assert_allclose(ours(x, training=True), reference(x, training=True), atol=1e-5)


def test_a_mask_goes_keras_s_way():
    ours, reference = _both()
    x = np.random.default_rng(0).normal(2, 3, (3, 4, 6, 5)).astype("float32")
    mask = np.random.default_rng(1).random((3, 4, 6)) < 0.5
    np.testing.assert_allclose(
        ours(x, training=True, mask=mask), reference(x, training=True, mask=mask), rtol=1e-5, atol=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["resnet34", "mobilenetv2"])  # layers of segmentation-models and of Keras
def test_every_batch_norm_of_a_model_is_fused(encoder, tmp_path):
    model = build_model("unet", encoder, filters=(8, 8, 8, 8, 8))
    kinds = {type(layer) for layer in all_layers(model) if isinstance(layer, keras.layers.BatchNormalization)}
    assert kinds == {FusedBatchNormalization}
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras", safe_mode=True)
    assert {type(layer) for layer in all_layers(again) if isinstance(layer, keras.layers.BatchNormalization)} == kinds
    graph = tf.function(lambda x: model(x, training=False)).get_concrete_function(
        tf.TensorSpec((1, 32, 32, 6), "float32")
    )
    assert any(op.type == "FusedBatchNormV3" for op in graph.graph.get_operations())
