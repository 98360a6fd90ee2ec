"""Inception-v4 (Szegedy et al. 2017), same-padded, so that its maps align with the input."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import keras
from keras import layers

from tf_landslide.models.encoders import papers
from tf_landslide.models.encoders.contract import Encoder


@dataclass(frozen=True)
class InceptionV4Spec:
    """Number of A, B and C blocks, and a divisor of every width (1 is the paper's network)."""

    blocks: tuple[int, int, int] = (4, 7, 3)
    thinner: int = 1


def inception_v4(channels: int, spec: InceptionV4Spec, name: str, padding: str = "same") -> keras.Model:
    """Build Inception-v4 without its classifier.

    Args:
        channels: number of input channels.
        spec: its sizes.
        name: of the model.
        padding: ``same``, or ``valid`` where the paper's network has it (its maps then align with nothing).

    Returns:
        A model from (N, H, W, channels) to the maps at stride 2, 4, 8, 16 and 32.
    """
    number = iter(range(1, 1000))

    def conv(x, filters, size, strides=1, padding="same"):
        n = next(number)
        x = layers.Conv2D(
            filters // spec.thinner, size, strides=strides, padding=padding, use_bias=False, name=f"conv{n}"
        )(x)
        return layers.ReLU(name=f"relu{n}")(layers.BatchNormalization(epsilon=1e-3, name=f"bn{n}")(x))

    def chain(x, *steps):
        for filters, size in steps:
            x = conv(x, filters, size)
        return x

    def halve(x):
        return layers.MaxPooling2D(3, strides=2, padding=padding)(x)

    def average(x):
        return layers.AveragePooling2D(3, strides=1, padding="same")(x)

    def join(*branches):
        return layers.Concatenate()(list(branches))

    def block_a(x):
        return join(
            conv(x, 96, 1),
            chain(x, (64, 1), (96, 3)),
            chain(x, (64, 1), (96, 3), (96, 3)),
            conv(average(x), 96, 1),
        )

    def block_b(x):
        return join(
            conv(x, 384, 1),
            chain(x, (192, 1), (224, (1, 7)), (256, (7, 1))),
            chain(x, (192, 1), (192, (7, 1)), (224, (1, 7)), (224, (7, 1)), (256, (1, 7))),
            conv(average(x), 128, 1),
        )

    def block_c(x):
        wide = conv(x, 256, 1)
        split = conv(x, 384, 1)
        first = [conv(split, 256, (1, 3)), conv(split, 256, (3, 1))]
        split = chain(x, (384, 1), (448, (3, 1)), (512, (1, 3)))
        second = [conv(split, 256, (1, 3)), conv(split, 256, (3, 1))]
        return join(wide, *first, *second, conv(average(x), 256, 1))

    inputs = keras.Input((None, None, channels), name="channels")
    x = conv(inputs, 32, 3, 2, padding)
    x = conv(x, 32, 3, 1, padding)
    x = conv(x, 64, 3)
    pyramid = [x]
    x = join(halve(x), conv(x, 96, 3, 2, padding))
    left = conv(conv(x, 64, 1), 96, 3, 1, padding)
    right = conv(chain(x, (64, 1), (64, (1, 7)), (64, (7, 1))), 96, 3, 1, padding)
    x = join(left, right)
    pyramid.append(x)
    x = join(conv(x, 192, 3, 2, padding), halve(x))
    for _ in range(spec.blocks[0]):
        x = block_a(x)
    pyramid.append(x)
    x = join(
        conv(x, 384, 3, 2, padding),
        conv(chain(x, (192, 1), (224, 3)), 256, 3, 2, padding),
        halve(x),
    )
    for _ in range(spec.blocks[1]):
        x = block_b(x)
    pyramid.append(x)
    x = join(
        conv(conv(x, 192, 1), 192, 3, 2, padding),
        conv(chain(x, (256, 1), (256, (1, 7)), (320, (7, 1))), 320, 3, 2, padding),
        halve(x),
    )
    for _ in range(spec.blocks[2]):
        x = block_c(x)
    pyramid.append(x)
    return keras.Model(inputs, pyramid, name=name)


ENCODERS = {
    "inceptionv4": Encoder(
        partial(inception_v4, spec=InceptionV4Spec(), name="inceptionv4"),
        "Inception-v4, same-padded",
        papers.INCEPTION,
    ),
}
