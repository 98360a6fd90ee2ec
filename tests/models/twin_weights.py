"""Numbers that either side of a comparison with PyTorch makes for itself, by name: nothing but NumPy is imported."""

import zlib

import numpy as np

SMALL_SIZE, FULL_SIZES, CHANNELS = (64, 96), ((128, 128), (96, 160)), 6
EVERY = 5  # pixel of a small network's logits is kept
SMALL_FILTERS = (32, 16, 16, 8, 8)


def random_tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor of a state dict, random: norms and statistics of their own, kernels that let no activation grow.

    With kernels of twice the variance SE-ResNeXt-50's do, and PyTorch's float32 is a thousandth off its own float64.
    """
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.endswith("running_var"):
        values = rng.uniform(0.5, 1.5, shape)
    elif name.endswith("weight") and len(shape) > 1:
        values = rng.standard_normal(shape, np.float32) * np.sqrt(1 / np.prod(shape[1:]))
    elif name.endswith("weight"):
        values = rng.uniform(0.7, 1.3, shape)
    else:  # running_mean, bias
        values = rng.normal(0, 0.1, shape)
    return values.astype(np.float32)


def image(size: tuple[int, int], count: int = 1) -> np.ndarray:
    """(count, H, W, 6)."""
    return np.random.default_rng(0).standard_normal((count, *size, CHANNELS), np.float32)
