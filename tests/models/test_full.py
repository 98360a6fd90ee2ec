"""The paper's models at full size (``make test-models``; a quarter of an hour and more)."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.models.encoder_contract import EncoderContract, arrays, image
from tests.models.test_encoders import difference, randomise_statistics
from tests.models.test_pretrained import write_published
from tf_landslide.bands.recipes import channel_recipe
from tf_landslide.data.source import PatchSource
from tf_landslide.jobs.catalogue import build_paper_model, paper_models
from tf_landslide.metrics import F1
from tf_landslide.models.encoders import (
    ENCODERS,
    inception_v4,
    keras_applications,
    mix_transformer,
    residual,
    segmentation_models,
)
from tf_landslide.predict.export import save_model, verify
from tf_landslide.runs.card import ModelCard
from tf_landslide.training.losses import BCEDice

pytestmark = pytest.mark.full
ROOT = Path(__file__).resolve().parents[2]
MARS = ["red", "green", "blue", "thermal_inertia", "slope", "dem"]


@pytest.fixture(scope="module")
def two_patches(real_data):
    source = PatchSource.open(real_data / "mmls", "train", channel_recipe("mmls", MARS))
    x, y = source.fetch(np.arange(2))
    return x, y.astype(np.float32)


@pytest.mark.parametrize("name", paper_models())
def test_overfits_two_real_patches_then_reloads_and_exports_the_same(name, two_patches, tmp_path):
    x, y = two_patches
    keras.utils.set_random_seed(0)
    model = build_paper_model(name, adapt_to=[x])
    loss = BCEDice(0.0) if name == "unet" else BCEDice(0.5)
    model.compile(optimizer=keras.optimizers.Adam(3e-4), loss=loss, metrics=[F1()], jit_compile=False)
    first, best = None, 0.0
    for step in range(240):  # convolutions take some fifty, SegFormer near two hundred
        loss, _ = model.train_on_batch(x, y)
        first = first or loss
        if step % 10 == 9:
            best = float(keras.ops.convert_to_numpy(_f1(model(x, training=True), y)))
            if best > 0.9:
                break
    assert best > 0.9 and loss < first
    big = np.concatenate([x, x], axis=2)
    for height, width in ((32, 32), (64, 224), (96, 160)):
        assert model(big[:1, :height, :width], training=False).shape == (1, height, width, 1)
    before = keras.ops.convert_to_numpy(model(big, training=False))
    assert before.shape == (*big.shape[:3], 1)
    model.save(tmp_path / "m.keras")
    reloaded = keras.saving.load_model(tmp_path / "m.keras", safe_mode=True)
    np.testing.assert_allclose(reloaded(big, training=False), before, atol=1e-5)
    card = ModelCard("m", "unet", None, "mmls", tuple(MARS), 0.5)
    save_model(model, card, tmp_path / "saved")
    assert verify(model, card, tmp_path / "saved") < 1e-5


def _f1(probability, truth):
    metric = F1()
    metric.update_state(truth, probability)
    return metric.result()


@pytest.mark.parametrize("name", paper_models())
def test_builds_for_fourteen_channels(name):
    model = build_paper_model(name, 14)
    assert model(image(14), training=False).shape == (1, 64, 96, 1)


class TestEveryEncoder(EncoderContract):
    @pytest.fixture(scope="class", params=ENCODERS)
    @classmethod
    def named(cls, request):
        return request.param, ENCODERS[request.param]


@pytest.mark.parametrize("name", ["seresnet50", "resnext50", "seresnext50"])
def test_residual_networks_equal_segmentation_models(name, tmp_path):
    import tensorflow as tf

    modules = {module: getattr(tf.keras, module) for module in ("backend", "layers", "models", "utils")}
    source = segmentation_models.original(name, 3, input_shape=(64, 96, 3), **modules)
    randomise_statistics(source)
    file = write_published(source, tmp_path / "w.h5")
    ours = residual.pretrained(name, file)
    x = image(3)
    assert difference(arrays(ours(x, training=False))[-1], arrays(source(x, training=False))[0]) < 1e-4


def test_inception_resnet_with_valid_padding_is_keras_own():
    source = keras_applications.original("inceptionresnetv2", 3)
    weights = randomise_statistics(source)
    ours = keras_applications.network("inceptionresnetv2", 3, padding="valid")
    ours.set_weights(weights)
    x = image(3, 128, 128)
    names = keras_applications.pyramid_layers("inceptionresnetv2", source)
    named = keras.Model(source.inputs[0], [source.get_layer(name).output for name in names])
    for mine, theirs in zip(arrays(ours(x, training=False)), arrays(named(x, training=False)), strict=True):
        assert difference(mine, theirs) < 1e-4
    same = keras_applications.network("inceptionresnetv2", 3)
    assert [w.shape for w in same.get_weights()] == [w.shape for w in ours.get_weights()]


@pytest.mark.parametrize("name", ["mit_b1", "mit_b2"])
def test_mix_transformer_equals_keras_cv_but_for_its_shuffled_pixels(name, monkeypatch):
    keras_cv = pytest.importorskip("keras_cv", reason="keras-cv is the oracle: pip install -r requirements-dev.txt")
    from keras_cv.src.layers.segformer_multihead_attention import SegFormerMultiheadAttention

    monkeypatch.setattr(SegFormerMultiheadAttention, "call", _attention_in_order)
    spec = mix_transformer.SPECS[name]
    source = keras_cv.models.MiTBackbone(
        include_rescaling=False, depths=list(spec.depths), embedding_dims=list(spec.widths), input_shape=(64, 64, 3)
    )
    ours = mix_transformer.mix_transformer(3, spec, name)
    assert ours.count_params() == source.count_params()
    transplant_mit(source, ours, spec)
    x = image(3, 64, 64)
    levels = keras.Model(source.inputs[0], [source.get_layer(f"output_level_{i}").output for i in range(4)])
    for mine, theirs in zip(arrays(ours(x, training=False)), arrays(levels(x, training=False)), strict=True):
        assert difference(mine, theirs) < 1e-4


def _attention_in_order(self, x):
    """keras-cv's attention, but that tokens become a map, and a map tokens, without exchanging axes."""
    from keras import ops

    _, tokens, width = x.shape
    side = int(tokens**0.5)
    heads, each = self.num_heads, width // self.num_heads

    def split(y):
        return ops.transpose(ops.reshape(y, (-1, y.shape[1], heads, each)), (0, 2, 1, 3))

    q = split(self.q(x))
    if self.sr_ratio > 1:
        reduced = self.sr(ops.reshape(x, (-1, side, side, width)))
        x = self.norm(ops.reshape(reduced, (-1, reduced.shape[1] * reduced.shape[2], width)))
    attention = ops.softmax((q @ ops.transpose(split(self.k(x)), (0, 1, 3, 2))) * self.scale, axis=-1)
    y = ops.transpose(attention @ split(self.v(x)), (0, 2, 1, 3))
    return self.proj(ops.reshape(y, (-1, tokens, width)))


def transplant_mit(source, ours, spec):
    rng = np.random.default_rng(0)

    def give(mine, theirs):
        values = [rng.normal(0.5 if "gamma" in w.name else 0, 0.08, w.shape) for w in theirs.weights]
        theirs.set_weights(values)
        mine.set_weights(values)

    norms = [layer for layer in source.layers if isinstance(layer, keras.layers.LayerNormalization)]
    for stage, depth in enumerate(spec.depths):
        embed = source.get_layer(f"patch_and_embed_{stage}")
        give(ours.get_layer(f"stage{stage + 1}_embed"), embed.proj)
        give(ours.get_layer(f"stage{stage + 1}_embed_norm"), embed.norm)
        give(ours.get_layer(f"stage{stage + 1}_norm"), norms[stage])
        for index in range(depth):
            block = source.get_layer(f"hierarchical_encoder_{stage}_{index}")
            name = f"stage{stage + 1}_block{index + 1}"
            attention = ours.get_layer(f"{name}_attention")
            pairs = [("norm1", block.norm1), ("norm2", block.norm2)]
            pairs += [("expand", block.mlp.fc1), ("mix", block.mlp.dwconv), ("shrink", block.mlp.fc2)]
            for part, theirs in pairs:
                give(ours.get_layer(f"{name}_{part}"), theirs)
            parts = [(attention.query, block.attn.q), (attention.key, block.attn.k), (attention.value, block.attn.v)]
            parts.append((attention.projection, block.attn.proj))
            if attention.reduction > 1:
                parts += [(attention.reduce, block.attn.sr), (attention.norm, block.attn.norm)]
            for mine, theirs in parts:
                give(mine, theirs)


def test_inception_v4_equals_timm():
    torch = pytest.importorskip("torch", reason="timm is the oracle: pip install -r benchmarks/requirements.txt")
    # timm imports torchvision, which without its compiled operators misses two definitions that nothing here calls.
    operators = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    timm = pytest.importorskip("timm", reason="timm is the oracle: pip install -r benchmarks/requirements.txt")

    source = timm.create_model("inception_v4", pretrained=False).eval()
    ours = inception_v4.inception_v4(3, inception_v4.InceptionV4Spec(), "inceptionv4", padding="valid")
    rng = np.random.default_rng(0)
    convs = [m for m in source.features.modules() if isinstance(m, torch.nn.Conv2d)]
    norms = [m for m in source.features.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(convs) == len(norms) == 149
    for n, (conv, norm) in enumerate(zip(convs, norms, strict=True), 1):
        with torch.no_grad():
            norm.running_mean.copy_(torch.from_numpy(rng.uniform(-0.2, 0.2, norm.running_mean.shape)))
            norm.running_var.copy_(torch.from_numpy(rng.uniform(0.5, 1.5, norm.running_var.shape)))
        ours.get_layer(f"conv{n}").set_weights([conv.weight.detach().numpy().transpose(2, 3, 1, 0)])
        values = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        ours.get_layer(f"bn{n}").set_weights([v.detach().numpy() for v in values])
    x = image(3, 160, 192)
    with torch.no_grad():
        theirs = source.features(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
    assert difference(arrays(ours(x, training=False))[-1], theirs) < 1e-4


def test_jax_gives_the_same_as_tensorflow(tmp_path):
    """Layers and losses are of ``keras.ops``; JAX, for one, takes no index that is computed in the graph."""
    pytest.importorskip("jax", reason="another backend of Keras: pip install 'jax[cpu]'")
    script, answers = [sys.executable, "benchmarks/accelerator.py"], str(tmp_path / "answers.npz")
    subprocess.run([*script, "reference", answers], cwd=ROOT, check=True)
    env = os.environ | {"KERAS_BACKEND": "jax"}
    told = subprocess.run([*script, "compare", answers], cwd=ROOT, env=env, check=True, capture_output=True, text=True)
    assert len(told.stdout.splitlines()) == 5
