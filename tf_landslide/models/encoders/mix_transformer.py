"""Mix Transformer (MiT), the encoder of SegFormer (Xie et al. 2021), for images of any size.

The layers and their weights are those of keras-cv's ``MiTBackbone``. That one fixes the image's size when it is built,
and shuffles the pixels before it reduces keys and values (it reshapes channels-first memory as channels-last); here a
map stays a map from end to end.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
from keras import layers, ops

from tf_landslide.models.encoders import papers
from tf_landslide.models.encoders.contract import Encoder


@dataclass(frozen=True)
class MiTSpec:
    """Sizes of one Mix Transformer: blocks and width of each of the four stages."""

    depths: tuple[int, int, int, int]
    widths: tuple[int, int, int, int] = (64, 128, 320, 512)
    heads: tuple[int, int, int, int] = (1, 2, 5, 8)
    reductions: tuple[int, int, int, int] = (8, 4, 2, 1)
    drop_path: float = 0.1


SPECS = {
    "mit_b0": MiTSpec((2, 2, 2, 2), (32, 64, 160, 256)),
    "mit_b1": MiTSpec((2, 2, 2, 2)),
    "mit_b2": MiTSpec((3, 4, 6, 3)),
    "mit_b3": MiTSpec((3, 4, 18, 3)),
    "mit_b4": MiTSpec((3, 8, 27, 3)),
    "mit_b5": MiTSpec((3, 6, 40, 3)),
}


@keras.saving.register_keras_serializable(package="tf_landslide")
class EfficientAttention(layers.Layer):
    """Self-attention over all pixels of a map, with keys and values from a reduced map.

    Args:
        heads: number of attention heads.
        reduction: side of the square of pixels that gives one key and one value.
        epsilon: of the norm of the reduced map.

    Call with (N, H, W, C); gives the same shape.
    """

    def __init__(self, heads: int, reduction: int = 1, epsilon: float = 1e-3, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.reduction, self.epsilon = heads, reduction, epsilon

    def build(self, input_shape):
        width = input_shape[-1]
        self.query, self.key, self.value, self.projection = (
            layers.Dense(width, dtype=self.dtype_policy, name=name) for name in ("query", "key", "value", "projection")
        )
        for dense in (self.query, self.key, self.value, self.projection):
            dense.build((None, None, None, width))
        if self.reduction > 1:
            options = {"strides": self.reduction, "padding": "same", "dtype": self.dtype_policy}
            self.reduce = layers.Conv2D(width, self.reduction, name="reduce", **options)
            self.reduce.build((None, None, None, width))
            self.norm = layers.LayerNormalization(epsilon=self.epsilon, dtype=self.dtype_policy, name="norm")
            self.norm.build((None, None, None, width))

    def _tokens(self, x):
        """(N, H, W, C) -> (N, H * W, heads, C / heads)."""
        shape = ops.shape(x)
        return ops.reshape(x, (shape[0], shape[1] * shape[2], self.heads, x.shape[-1] // self.heads))

    def call(self, x):
        reduced = self.norm(self.reduce(x)) if self.reduction > 1 else x
        attended = ops.dot_product_attention(
            self._tokens(self.query(x)), self._tokens(self.key(reduced)), self._tokens(self.value(reduced))
        )
        shape = ops.shape(x)
        return self.projection(ops.reshape(attended, (shape[0], shape[1], shape[2], x.shape[-1])))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "heads": self.heads, "reduction": self.reduction, "epsilon": self.epsilon}


def mix_transformer(channels: int, spec: MiTSpec, name: str) -> keras.Model:
    """Build a Mix Transformer.

    Args:
        channels: number of input channels.
        spec: its sizes.
        name: of the model.

    Returns:
        A model from (N, H, W, channels) to the maps at stride 4, 8, 16 and 32.
    """
    rates = iter(np.linspace(0, spec.drop_path, sum(spec.depths)).tolist())

    def drop_path(x, rate, name):
        """Stochastic depth (Huang et al. 2016): a dropout of whole samples."""
        return layers.Dropout(rate, noise_shape=(None, 1, 1, 1), name=name)(x) if rate else x

    def block(x, stage, index):
        name, rate, width = f"stage{stage + 1}_block{index + 1}", next(rates), spec.widths[stage]
        y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm1")(x)
        y = EfficientAttention(spec.heads[stage], spec.reductions[stage], name=f"{name}_attention")(y)
        x = layers.Add(name=f"{name}_add1")([x, drop_path(y, rate, f"{name}_drop1")])
        y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm2")(x)
        y = layers.Dense(4 * width, name=f"{name}_expand")(y)
        y = layers.DepthwiseConv2D(3, padding="same", name=f"{name}_mix")(y)
        y = layers.Activation("gelu", name=f"{name}_gelu")(y)
        y = layers.Dense(width, name=f"{name}_shrink")(y)
        return layers.Add(name=f"{name}_add2")([x, drop_path(y, rate, f"{name}_drop2")])

    inputs = keras.Input((None, None, channels), name="channels")
    x, pyramid = inputs, []
    for stage, (depth, width) in enumerate(zip(spec.depths, spec.widths, strict=True)):
        size, strides = (3, 2) if stage else (7, 4)
        x = layers.Conv2D(width, size, strides=strides, padding="same", name=f"stage{stage + 1}_embed")(x)
        x = layers.LayerNormalization(name=f"stage{stage + 1}_embed_norm")(x)
        for index in range(depth):
            x = block(x, stage, index)
        x = layers.LayerNormalization(name=f"stage{stage + 1}_norm")(x)
        pyramid.append(x)
    return keras.Model(inputs, pyramid, name=name)


ENCODERS = {
    name: Encoder(
        partial(mix_transformer, spec=spec, name=name),
        f"Mix Transformer {name[-2:].upper()}",
        papers.SEGFORMER,
        strides=(4, 8, 16, 32),
    )
    for name, spec in SPECS.items()
}
