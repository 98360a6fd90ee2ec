"""Architecture x encoder -> a Keras model."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras

from tf_landslide.bands.recipes import RECIPES
from tf_landslide.core.errors import LandslideError, lookup, require_known
from tf_landslide.models.decoders.deeplab import deeplab_decoder
from tf_landslide.models.decoders.segformer import segformer_decoder
from tf_landslide.models.decoders.smp import hf_segformer_decoder, smp_deeplab_decoder, smp_unet_decoder
from tf_landslide.models.decoders.unet import unet_decoder
from tf_landslide.models.encoders import ENCODERS
from tf_landslide.models.encoders.contract import Encoder
from tf_landslide.models.heads import probability_head
from tf_landslide.models.layers.norm import ChannelNormalization, fuse_batch_norm
from tf_landslide.models.options import check_options
from tf_landslide.models.plain_unet import plain_unet

PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
BATCH_NORM_MOMENTUM = 0.9  # Keras's 0.99 lags hundreds of steps behind, which is whole epochs on small datasets


@dataclass(frozen=True)
class Architecture:
    """How features come from normalised channels.

    Attributes:
        features: with an encoder ``(pyramid, **options)``, without one ``(inputs, **options)``, to features and their
            stride.
        takes_encoder: whether it stands on an encoder's pyramid.
        head_kernel: side of the convolution that gives the logits.
        description: one line for people.
        paper: where it was published.
        output_stride: of the encoder's deepest map.
        upsample: what the head brings to full resolution, see ``probability_head``.
    """

    features: Callable[..., tuple[keras.KerasTensor, int]]
    takes_encoder: bool
    head_kernel: int
    description: str
    paper: str
    output_stride: int = 32
    upsample: str = "logits"


ARCHITECTURES: dict[str, Architecture] = {
    "unet": Architecture(
        unet_decoder, True, 3, "U-Net decoder on any encoder", "Ronneberger et al. 2015, arXiv:1505.04597"
    ),
    "deeplabv3plus": Architecture(
        deeplab_decoder,
        True,
        1,
        "DeepLabV3+ on any encoder, dilated to stride 16",
        "Chen et al. 2018, arXiv:1802.02611",
        16,
    ),
    "segformer": Architecture(
        segformer_decoder, True, 1, "SegFormer's MLP head on any encoder", "Xie et al. 2021, arXiv:2105.15203"
    ),
    "plain_unet": Architecture(
        plain_unet,
        False,
        1,
        "plain U-Net, configurable in width and depth",
        "Ronneberger et al. 2015, arXiv:1505.04597",
    ),
    "smp_unet": Architecture(
        smp_unet_decoder, True, 3, "U-Net as smp has it (the paper's)", "Ronneberger et al. 2015, arXiv:1505.04597"
    ),
    "smp_deeplabv3plus": Architecture(
        smp_deeplab_decoder,
        True,
        1,
        "DeepLabV3+ as smp has it (the paper's): separable, rates 12, 24, 36",
        "Chen et al. 2018, arXiv:1802.02611",
        16,
        upsample="aligned",
    ),
    "hf_segformer": Architecture(
        hf_segformer_decoder,
        True,
        1,
        "SegFormer as transformers has it (the paper's)",
        "Xie et al. 2021, arXiv:2105.15203",
        upsample="probability",
    ),
}


def build_model(
    architecture: str = "unet",
    encoder: str | None = None,
    *,
    channels: int | str | Sequence[str] = 6,
    encoder_weights: str | None = None,
    precision: str | None = None,
    head_dropout: float = 0.0,
    adapt_to: Iterable[Any] | None = None,
    name: str | None = None,
    **options: Any,
) -> keras.Model:
    """Build a segmentation model, normalisation inside.

    Args:
        architecture: a key of ``ARCHITECTURES``.
        encoder: a key of ``ENCODERS``, for an architecture that takes one.
        channels: number of input channels C, or a recipe by name (``six``, ``fourteen``, ``legacy_ratio``), or the
            channels' names in order; pretrained weights go by name.
        encoder_weights: ``imagenet`` (downloaded once), the path of a published weight file, or None for random ones.
        precision: Keras's dtype policy for what lies between normalisation and probability, which stay float32:
            ``float32``, ``mixed_float16`` or ``mixed_bfloat16``; None takes Keras's global policy.
        head_dropout: share of the features that the last convolution does without while it is trained, 0 to below 1;
            see ``probability_head``. No weight's name or shape depends on it.
        adapt_to: batches of channels (or a dataset) whose mean and variance the model normalises by: the training
            split in order, since a shuffled dataset leaves out what does not fill its last batch.
        name: of the model; by default ``architecture_encoder``.
        **options: the architecture's own, e.g. ``width`` and ``depth`` of ``plain_unet``, ``filters`` of ``unet``.

    Returns:
        A model from ``channels`` (N, H, W, C) float32 in physical units, NaN where missing, to ``probability``
        (N, H, W, 1) float32; H and W any multiples of 32.

    Raises:
        LandslideError: an unknown name or option, an encoder missing or too many, or weights that cannot be had.

    Example:
        >>> model = build_model("unet", "resnet34", channels=6)
        >>> model.predict(channels).shape  # channels: (2, 128, 128, 6)
        (2, 128, 128, 1)
    """
    chosen = lookup(ARCHITECTURES, architecture, "architecture")
    check_options(chosen.features, options, f"architecture {architecture!r}")
    if not 0 <= head_dropout < 1:
        raise LandslideError(f"head_dropout is a share of features, 0 or more and below 1, got {head_dropout}")
    backbone = _encoder(architecture, encoder, encoder_weights)
    names = _channel_names(channels, encoder_weights)

    with _dtype_policy(precision):
        inputs = keras.Input((None, None, len(names)), name="channels", dtype="float32")
        normalization = ChannelNormalization(name="normalization")
        x = normalization(inputs)
        if backbone:
            x = backbone.pyramid(x, chosen.output_stride, encoder_weights, names)
        x, stride = chosen.features(x, **options)
        probability = probability_head(x, stride, chosen.head_kernel, chosen.upsample, head_dropout)
        model = keras.Model(inputs, probability, name=name or "_".join(filter(None, (architecture, encoder))))
    fuse_batch_norm(model, BATCH_NORM_MOMENTUM)
    if adapt_to is not None:
        normalization.adapt(adapt_to)
    return model


@contextmanager
def _dtype_policy(precision: str | None) -> Iterator[None]:
    """Build layers of a dtype policy, by Keras's global one: networks of other packages take no policy themselves."""
    before = keras.config.dtype_policy()
    if precision is not None:
        require_known(precision, PRECISIONS, "precision")
        keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _encoder(architecture: str, encoder: str | None, weights: str | None) -> Encoder | None:
    """The encoder that an architecture is asked to stand on."""
    takes_encoder = ARCHITECTURES[architecture].takes_encoder
    if takes_encoder and encoder is None:
        raise LandslideError(f"architecture {architecture!r} needs an encoder; known: {', '.join(sorted(ENCODERS))}")
    if not takes_encoder and encoder is not None:
        raise LandslideError(f"architecture {architecture!r} takes no encoder, got {encoder!r}")
    if encoder is None:
        if weights:
            raise LandslideError("encoder_weights are for an encoder, and this architecture takes none")
        return None
    chosen = lookup(ENCODERS, encoder, "encoder")
    if weights and chosen.pretrained is None:
        having = ", ".join(name for name, encoder in ENCODERS.items() if encoder.pretrained)
        raise LandslideError(f"nobody publishes weights for {encoder!r} that fit; there are some for: {having}")
    return chosen


def _channel_names(channels: int | str | Sequence[str], weights: str | None) -> Sequence[str]:
    """The channels' names; empty ones where only their number is given."""
    if isinstance(channels, str):
        names = list(lookup(RECIPES, channels, "channel recipe"))
    elif isinstance(channels, Iterable):
        names = [str(name) for name in channels]
    else:
        names = [""] * _whole_number(channels)
    if not names:
        raise LandslideError(f"a model needs at least one channel, got {channels}")
    if weights and not all(names):
        raise LandslideError("pretrained weights go by channel name: pass channels as a list, e.g. ['red', 'green', …]")
    return names


def _whole_number(channels: Any) -> int:
    """A number of channels, of Python or of NumPy."""
    try:
        if isinstance(channels, bool):
            raise TypeError
        return operator.index(channels)
    except TypeError:
        raise LandslideError(f"channels are a number, a recipe's name or a list of names, got {channels!r}") from None
