"""What an encoder is: normalised channels in, a feature pyramid out.

Every encoder is a functional model from (N, H, W, C), any C, H and W, to one map for each of its strides, aligned with
the input: the map at stride s has H / s rows for H a multiple of 32. Adding one is a row of ``ENCODERS`` in the file of
its family, or a file with rows of its own; ``tests/models/test_encoders.py`` holds every row to this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras

from tf_landslide.models.encoders.dilation import with_output_stride
from tf_landslide.models.encoders.weights import RGB, Pretrained, transfer


@dataclass(frozen=True)
class Encoder:
    """How an encoder is built and where it comes from.

    Attributes:
        build: ``(channels) -> keras.Model`` with one output for each stride.
        description: one line for people.
        paper: where it was published.
        strides: of the outputs.
        pretrained: ``(weights) -> keras.Model``, the same network for three channels with published weights, where
            ``weights`` is ``imagenet`` or the path of their file; None where nobody publishes any.
        expects: the scale and order of channels that those weights were trained with.
        dilated: ``(channels, output_stride) -> keras.Model``, where a network trades stride for dilation in a way of
            its own; None for ours, ``with_output_stride``.
    """

    build: Callable[[int], keras.Model]
    description: str
    paper: str
    strides: tuple[int, ...] = (2, 4, 8, 16, 32)
    pretrained: Callable[[str], keras.Model] | None = None
    expects: Pretrained | None = None
    dilated: Callable[[int, int], keras.Model] | None = None

    def pyramid(
        self,
        inputs: keras.KerasTensor,
        output_stride: int = 32,
        weights: str | None = None,
        channel_names: Sequence[str] = RGB,
    ) -> dict[int, keras.KerasTensor]:
        """Apply the encoder.

        Args:
            inputs: (N, H, W, C) normalised channels.
            output_stride: 8 or 16 dilate instead of striding on, so that the deepest map is that fine.
            weights: ``imagenet``, the path of a file of published weights (where there are any), or None for random
                ones.
            channel_names: of the C channels; red, green and blue take their own kernels.

        Returns:
            feature maps by stride; the deepest is at ``output_stride``.

        Raises:
            LandslideError: weights that cannot be downloaded, or that do not fit.
        """
        channels, own_way = inputs.shape[-1], self.dilated if output_stride < 32 else None
        model = own_way(channels, output_stride) if own_way else self.build(channels)
        if weights:
            assert self.pretrained is not None and self.expects is not None
            transfer(self.pretrained(weights), model, channel_names, self.expects.order)
            scale, offset = self.expects.input_scale(channel_names)
            inputs = keras.layers.Rescaling(scale, offset, name="pretrained_scale")(inputs)
        if output_stride < 32 and own_way is None:
            model = with_output_stride(model, output_stride)
        maps = dict(zip(self.strides, model(inputs), strict=True))
        return {
            **{stride: x for stride, x in maps.items() if stride < output_stride},
            output_stride: maps[max(maps)],
        }
