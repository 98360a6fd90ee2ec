"""Mix Transformers with PyTorch's padding and epsilons: smp's encoder, and that of transformers' SegFormer.

Both are the network of Xie et al. 2021; their modules have other names, and the epsilon of their norms differs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import keras
import numpy as np
from keras import layers

from tf_landslide.models.encoders.mix_transformer import EfficientAttention, MiTSpec
from tf_landslide.models.layers.torch_like import conv, kaiming_fan_out, stochastic_depth


@dataclass(frozen=True)
class Dialect:
    """How a library calls the modules of a stage (from 1, or from 0) and of a block (from 0) of it.

    Attributes:
        first: number of the first stage.
        embed, embed_norm, block, norm: of a stage, with ``{stage}`` and ``{block}``.
        parts: of a block: norms, attention, and what follows it.
        epsilon: of the norms of blocks and stages.
    """

    first: int
    embed: str
    embed_norm: str
    block: str
    norm: str
    epsilon: float
    parts: dict[str, str] = field(default_factory=dict)

    def part(self, block: str, which: str) -> str:
        return f"{block}.{self.parts.get(which, which)}"


SMP = Dialect(
    1,
    "patch_embed{stage}.proj",
    "patch_embed{stage}.norm",
    "block{stage}.{block}",
    "norm{stage}",
    1e-6,
    {"fc1": "mlp.fc1", "fc2": "mlp.fc2", "mix": "mlp.dwconv.dwconv"},
)
TRANSFORMERS = Dialect(
    0,
    "patch_embeddings.{stage}.proj",
    "patch_embeddings.{stage}.layer_norm",
    "block.{stage}.{block}",
    "layer_norm.{stage}",
    1e-5,
    {
        "norm1": "layer_norm_1",
        "norm2": "layer_norm_2",
        "attn": "attention",
        "fc1": "mlp.dense1",
        "fc2": "mlp.dense2",
        "mix": "mlp.dwconv.dwconv",
    },
)


def mix_transformer(channels: int, *, spec: MiTSpec, dialect: Dialect, name: str) -> keras.Model:
    """Build a Mix Transformer.

    Args:
        channels: number of input channels.
        spec: its sizes.
        dialect: whose it is.
        name: of the model.

    Returns:
        A model from (N, H, W, channels) to the maps at stride 4, 8, 16 and 32.
    """
    rates = iter(np.linspace(0, spec.drop_path, sum(spec.depths)).tolist())

    def dense(x, width, name):
        return layers.Dense(width, kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02), name=name)(x)

    def norm(x, name, epsilon=dialect.epsilon):
        return layers.LayerNormalization(epsilon=epsilon, name=name)(x)

    def block(x, stage, index):
        prefix = dialect.block.format(stage=stage + dialect.first, block=index)
        part, rate, width = lambda which: dialect.part(prefix, which), next(rates), spec.widths[stage]
        attention = EfficientAttention(spec.heads[stage], spec.reductions[stage], epsilon=1e-5, name=part("attn"))
        y = attention(norm(x, part("norm1")))
        x = layers.Add(name=f"{prefix}.add1")([x, stochastic_depth(y, rate, f"{prefix}.drop1")])
        y = dense(norm(x, part("norm2")), 4 * width, part("fc1"))
        y = conv(y, 4 * width, 3, part("mix"), groups=4 * width, bias=True, init=kaiming_fan_out)
        y = layers.Activation("gelu", name=f"{prefix}.gelu")(y)
        y = dense(y, width, part("fc2"))
        return layers.Add(name=f"{prefix}.add2")([x, stochastic_depth(y, rate, f"{prefix}.drop2")])

    x = inputs = keras.Input((None, None, channels), name="channels")
    pyramid = []
    for stage, (depth, width) in enumerate(zip(spec.depths, spec.widths, strict=True)):
        names = {"stage": stage + dialect.first}
        size, strides = (3, 2) if stage else (7, 4)
        x = conv(x, width, size, dialect.embed.format(**names), strides=strides, bias=True, init=kaiming_fan_out)
        x = norm(x, dialect.embed_norm.format(**names), 1e-5)
        for index in range(depth):
            x = block(x, stage, index)
        x = norm(x, dialect.norm.format(**names))
        pyramid.append(x)
    return keras.Model(inputs, pyramid, name=name)
