"""What every encoder is held to: in ``make test`` a small one of each family, in ``make test-models`` all."""

import keras
import numpy as np
import pytest

from tf_landslide.models.encoders.contract import Encoder
from tf_landslide.models.encoders.dilation import with_output_stride

# Without image-wide pooling and with symmetric padding, every second pixel of the dilated map sees exactly what it saw.
EXACT = ("resnet", "resnext", "vgg", "densenet", "mobilenetv2", "convnext", "efficientnetlite")


def image(channels, height=64, width=96, seed=0):
    return np.random.default_rng(seed).normal(size=(1, height, width, channels)).astype(np.float32)


def arrays(outputs):
    return [keras.ops.convert_to_numpy(x) for x in (outputs if isinstance(outputs, list) else [outputs])]


class EncoderContract:
    """A subclass gives the fixture ``named``: an encoder's name and the ``Encoder``."""

    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls, named) -> Encoder:
        return named[1]

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, encoder):
        return encoder.build(3)

    def test_it_says_what_it_is(self, named):
        name, encoder = named
        assert encoder.description and encoder.paper and "\n" not in encoder.description + encoder.paper
        assert name == name.lower() and name.isidentifier()

    @pytest.mark.parametrize("size", [(32, 64), (96, 64)])
    def test_its_maps_are_aligned_at_every_stride(self, encoder, model, size):
        maps = arrays(model(image(3, *size), training=False))
        assert [x.shape[1:3] for x in maps] == [(size[0] // s, size[1] // s) for s in encoder.strides]
        assert all(np.isfinite(x).all() for x in maps) and encoder.strides[-1] == 32

    def test_it_takes_any_number_of_channels(self, encoder):
        assert encoder.build(14).input_shape == (None, None, None, 14)

    def test_it_reloads_as_it_was_saved(self, model, tmp_path):
        model.save(tmp_path / "m.keras")
        again = keras.saving.load_model(tmp_path / "m.keras", safe_mode=True)
        x = image(3)
        for ours, theirs in zip(arrays(model(x, training=False)), arrays(again(x, training=False)), strict=True):
            np.testing.assert_array_equal(ours, theirs)

    def test_it_trades_stride_for_dilation_with_its_weights_and_finer_maps_unchanged(self, named, model):
        own_way, x = named[1].dilated, image(3)
        dilated = own_way(3, 16) if own_way else with_output_stride(model, 16)
        if own_way:
            dilated.set_weights(model.get_weights())
        assert [w.shape for w in dilated.get_weights()] == [w.shape for w in model.get_weights()]
        strided, fine = arrays(model(x, training=False)), arrays(dilated(x, training=False))
        for before, after in zip(strided[:-1], fine[:-1], strict=True):
            np.testing.assert_array_equal(before, after)
        assert fine[-1].shape[1:3] == (4, 6)
        name = named[0].removeprefix("smp_")
        if name.startswith((*EXACT, "efficientnetb")) and not name.endswith("_v1") and not own_way:
            scale = max(1.0, float(np.abs(strided[-1]).max()))
            tolerance = 0.05 if name.startswith("efficientnetb") else 1e-4  # its excitation averages other pixels
            assert np.abs(fine[-1][:, ::2, ::2] - strided[-1]).max() / scale < tolerance

    def test_published_weights_come_with_what_they_expect(self, encoder):
        assert (encoder.pretrained is None) == (encoder.expects is None)
        if encoder.expects:
            assert encoder.expects.order in ("rgb", "bgr") and len(encoder.expects.scale) == 3
