"""Published ImageNet weights, brought to any number of channels.

A published file expects three channels on a scale of its own. ``Pretrained`` says which; ``adapted`` gives each channel
of ours its kernel, and ``input_scale`` the affine map from normalised channels to what the file expects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import keras
import numpy as np

from tf_landslide.core.errors import LandslideError

RGB = ("red", "green", "blue")
_MOST_BYTES = 2**31  # of a weight file: ten times the largest encoder
_MEAN, _STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])  # of ImageNet's red, green, blue, 0-1


@dataclass(frozen=True)
class Pretrained:
    """What a published weight file expects of an image.

    Attributes:
        order: of its channels, ``rgb`` or ``bgr``.
        scale: of each of red, green and blue: one standard deviation of ImageNet, on the file's scale.
        offset: of each: ImageNet's mean, on the file's scale.
    """

    order: str
    scale: tuple[float, float, float]
    offset: tuple[float, float, float]

    def input_scale(self, names: Sequence[str]) -> tuple[list[float], list[float]]:
        """Scale and offset of each channel, taking mean 0 and variance 1 to ImageNet's on the file's scale.

        A channel that is not red, green or blue takes the mean of the three.
        """

        def per_channel(values):
            return [float(values[RGB.index(n)] if n in RGB else np.mean(values)) for n in names]

        return per_channel(self.scale), per_channel(self.offset)


def _pretrained(order: str, scale: float, offset: np.ndarray) -> Pretrained:
    def of_rgb(values: np.ndarray) -> tuple[float, float, float]:
        red, green, blue = map(float, values)
        return red, green, blue

    return Pretrained(order, of_rgb(scale * _STD), of_rgb(offset))


TORCH = Pretrained("rgb", (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))  # (x / 255 - mean) / std
CAFFE = _pretrained("bgr", 255.0, 255 * _MEAN - (123.68, 116.779, 103.939))  # x - Caffe's own mean, blue first
SYMMETRIC = _pretrained("rgb", 2.0, 2 * _MEAN - 1)  # x / 127.5 - 1
HALVES = _pretrained("rgb", 255 / 128, 255 / 128 * _MEAN - 1)  # x / 128 - 1
LITE = _pretrained("rgb", 255 / 128, (255 * _MEAN - 127) / 128)  # (x - 127) / 128
RAW = _pretrained("rgb", 255.0, 255 * _MEAN)  # x, 0-255


def adapted(weight: np.ndarray, shape: tuple[int, ...], names: Sequence[str], order: str) -> np.ndarray:
    """One array of a three-channel network, for a network of the named channels.

    The first kernel (k, k, 3, F) becomes (k, k, C, F): red, green and blue take their own slice, by name, any other the
    mean of the three, and all are scaled by 3 / C, so that the total response is preserved. A vector of three (a batch
    norm on the input) gives each channel its own or the mean. All else has the same shape in both and is kept.
    """
    first_kernel = weight.ndim == 4 and weight.shape[2] == 3
    of_input = weight.shape == (3,)
    if weight.shape == tuple(shape) and not (first_kernel or of_input):
        return weight
    axis = weight.ndim - 2 if weight.ndim == 4 else 0
    if weight.shape[axis] != 3 or shape[axis] != len(names):
        raise LandslideError(f"weights of shape {weight.shape} do not fit a layer of shape {tuple(shape)}")
    slices = np.moveaxis(weight, axis, 0)
    if order == "bgr":
        slices = slices[::-1]
    chosen = np.stack([slices[RGB.index(name)] if name in RGB else slices.mean(0) for name in names])
    if weight.ndim == 4:
        chosen = chosen * (3 / len(names))
    return np.moveaxis(chosen, 0, axis).astype(weight.dtype)


def transfer(pretrained: keras.Model, model: keras.Model, names: Sequence[str], order: str) -> None:
    """Give ``model`` the weights of a three-channel network of the same layers."""
    given = pretrained.get_weights()
    own = model.get_weights()
    if len(given) != len(own):
        raise LandslideError(f"the weights have {len(given)} arrays, encoder {model.name!r} has {len(own)}")
    model.set_weights([adapted(w, o.shape, names, order) for w, o in zip(given, own, strict=True)])


def set_layer(layer: keras.layers.Layer, arrays: Sequence[np.ndarray], origin: str) -> None:
    """Set a layer's weights. Raises ``LandslideError`` where they do not fit; ``origin`` says whose they are."""
    expected, found = [tuple(w.shape) for w in layer.weights], [tuple(a.shape) for a in arrays]
    if expected != found:
        raise LandslideError(
            f"{origin}: layer {layer.name!r} takes {expected}, the weights hold {found or 'none for it'}"
        )
    layer.set_weights(arrays)


@contextmanager
def explained(weights: str) -> Iterator[None]:
    """Turn what Keras raises when it cannot download or load weights into one line that says what to do."""
    try:
        yield
    except Exception as error:  # Keras raises bare exceptions here
        reason = " ".join(str(error).split())[:200]
        if weights == "imagenet":
            reason += "; fetch the file by hand and set model.encoder_weights to its path"
        raise LandslideError(f"encoder weights {weights!r} cannot be had: {reason}") from None


def fetch(url: str, md5: str) -> Path:
    """Download a published file once, into Keras's cache, and verify its MD5.

    Raises:
        LandslideError: offline, or another file than expected.
    """
    with explained("imagenet"):
        name = url.rsplit("/", 1)[-1]
        return Path(keras.utils.get_file(name, url, cache_subdir="models", file_hash=md5, hash_algorithm="md5"))


def read_h5_arrays(path: Path) -> dict[str, list[np.ndarray]]:
    """Arrays of a Keras 2 weight file (the published ``.h5`` format), by layer.

    Raises:
        LandslideError: not such a file, one whose values lie in another file, or more of them than a network has.
    """
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            names = [_text(name) for name in root.attrs["layer_names"]]
            stored = {name: [root[name][_text(w)] for w in root[name].attrs["weight_names"]] for name in names}
            _check_stored(path, [one for several in stored.values() for one in several])
            return {name: [np.asarray(one) for one in several] for name, several in stored.items()}
    except (OSError, KeyError):
        raise LandslideError(f"{path}: is not a weight file in Keras's .h5 format") from None


def _check_stored(path: Path, stored: Sequence[h5py.Dataset]) -> None:
    """Refuse, before a value is read, what points to other files, and what is too large."""
    if any(one.file.filename != str(path) or one.is_virtual or one.external for one in stored):
        raise LandslideError(f"{path}: its values lie in another file; give the file that holds them")
    nbytes = sum(one.size * one.dtype.itemsize for one in stored)
    if nbytes > _MOST_BYTES:
        raise LandslideError(f"{path}: declares {nbytes:,} bytes of weights, at most {_MOST_BYTES:,} are read")


def _text(name) -> str:
    return name.decode() if isinstance(name, bytes) else name
