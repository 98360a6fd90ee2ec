"""What windows do to a network's answer: nothing where it sees no further than the margin, and no seam where it does.

The references are the network's own single shot over the whole scene, and the gradients away from the seams.
"""

import numpy as np
import pytest

from tf_landslide.bands.layouts import LANDSLIDE4SENSE_DIVISORS
from tf_landslide.data.landscape import make_scene
from tf_landslide.predict.load import load_predictor, start_tensorflow
from tf_landslide.scenes.blocks import tiling


@pytest.fixture(scope="module")
def trained(run_folder):
    return load_predictor(run_folder)


@pytest.fixture(scope="module")
def channels(trained):
    """(512, 512, 6) of a synthetic scene."""
    return trained.channels((make_scene(5).original / LANDSLIDE4SENSE_DIVISORS).astype(np.float32)[None])[0]


def assembled(cut, channels, predict):
    total = np.zeros(channels.shape[:2], np.float32)
    for block in cut.blocks():
        windows = np.stack([channels[window.rows, window.columns] for window in block.windows])
        total[block.region.rows, block.region.columns] += cut.blended(block, predict(windows)[..., 0])
    return total


def reach(predict, channels):
    """How many pixels away from the middle a change of one pixel shows: half the receptive field."""
    changed = channels.copy()
    changed[128, 128] += 0.5 * channels.std((0, 1))
    before, after = predict(np.stack([channels[:256, :256], changed[:256, :256]]))[..., 0]
    rows, columns = np.nonzero(before != after)
    return int(max(np.abs(rows - 128).max(), np.abs(columns - 128).max()))


def test_a_network_that_sees_less_than_the_margin_gives_its_single_shot(trained, channels):
    """Plain U-Net of depth 2, without pooling over the whole image: but for the last digit of a weighted sum."""
    seen = reach(trained, channels)
    whole = trained(channels[None])[0, ..., 0]
    assert 8 < seen < 32
    found = assembled(tiling((512, 512), 128, 64, 31), channels, trained)
    assert np.ptp(whole) > 0.05
    np.testing.assert_allclose(found, whole, atol=1e-6)
    narrow = assembled(tiling((512, 512), 128, 16, 2), channels, trained)
    assert np.abs(narrow - whole).max() > 1e-4


def test_a_scene_moved_by_a_stride_has_its_map_moved(trained, channels):
    cut = tiling((416, 416), 128, 32, 8)
    stride = 96
    first, moved = (assembled(cut, channels[at : at + 416, :416], trained) for at in (0, stride))
    inner = slice(128, 416 - 128 - stride)  # away from windows that end the scene
    np.testing.assert_allclose(moved[inner], first[inner.start + stride : inner.stop + stride], atol=1e-6)


@pytest.fixture(scope="module")
def far_seeing():
    """A deep network, untrained, which sees further than any margin here, up to a window's edges and their zeros."""
    start_tensorflow()
    import keras

    from tf_landslide.models.build import build_model

    keras.utils.set_random_seed(1)
    model = build_model("plain_unet", width=4, depth=4)
    return lambda windows: model(windows, training=False).numpy()


def seam_ratio(cut, found, natural):
    """Steps across the middles of overlaps, over those of the single shot at the same places."""
    ratios = []
    for axis in (0, 1):
        seams = [start + cut.rows.overlap // 2 - 1 for start in cut.rows.starts[1:]]
        steps, usual = (np.abs(np.diff(x, axis=axis)).mean(1 - axis)[seams].mean() for x in (found, natural))
        ratios.append(steps / usual)
    return max(ratios)


def test_no_seam_is_steeper_than_the_networks_own_gradient_there(far_seeing, channels):
    scaled = (channels - channels.mean((0, 1))) / channels.std((0, 1))
    whole = far_seeing(scaled[None])[0, ..., 0]
    blended, cropped = tiling((512, 512), 128, 64, 16), tiling((512, 512), 128, 64, 31)
    smooth, stepped = (seam_ratio(cut, assembled(cut, scaled, far_seeing), whole) for cut in (blended, cropped))
    print(f"across seams over the single shot's: blended {smooth:.3f}, cropped {stepped:.3f}")
    assert smooth <= 1.05
