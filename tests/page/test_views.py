"""Pictures and what their colours mean."""

import numpy as np
import pytest

from tf_landslide.bands.layouts import MMLS
from tf_landslide.page import views
from tf_landslide.page.legends import Scale, with_bar, with_swatches
from tf_landslide.page.uploads import Upload
from tf_landslide.predict.result import Result


@pytest.fixture(scope="module")
def judged(library):
    rng = np.random.default_rng(1)
    mask = (rng.random((8, 8)) < 0.4).astype(np.uint8)
    upload = Upload("x.h5", rng.random((8, 8, 6)).astype(np.float32), None, mask)
    return upload, Result("x.h5", library.card("tiny"), rng.random((8, 8)).astype(np.float32), 0.5)


def test_hits_misses_and_false_alarms(judged):
    upload, result = judged
    picture = views.outcomes(upload, result)
    found = {name: (picture == np.uint8(colour)).all(-1) for name, colour in views.OUTCOMES.items()}
    for row in range(8):
        for column in range(8):
            true, marked = upload.mask[row, column] == 1, result.probability[row, column] >= 0.5
            said = {(True, True): "hit", (True, False): "miss", (False, True): "false alarm"}.get((true, marked))
            assert [name for name in found if found[name][row, column]] == ([said] if said else [])
    counts = {name: int(pixels.sum()) for name, pixels in found.items()}
    caption = f"hits {counts['hit']}, misses {counts['miss']}, false alarms {counts['false alarm']} pixels"
    assert views.prediction(upload, result)[-1][1] == caption
    assert [text for _, text in views.prediction(upload, result)] == ["probability", "mask", "ground truth", caption]


# Machado et al. 2009, doi:10.1109/TVCG.2009.113: how colours look without one kind of cone, in linear RGB.
CONES = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


@pytest.mark.parametrize("kind", CONES)
def test_outcomes_are_told_apart_without_one_kind_of_cone(kind):
    from skimage.color import deltaE_ciede2000, rgb2lab

    colours = np.array([*views.OUTCOMES.values(), (40, 40, 40)]) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(CONES[kind]).T, 0, 1)
    lab = rgb2lab(np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055))
    apart = [deltaE_ciede2000(a, b) for i, a in enumerate(lab) for b in lab[i + 1 :]]
    assert min(apart) > 20  # 2.3 is just noticeable


def test_bars_and_swatches_are_below_and_leave_the_picture_as_it_is():
    picture = np.random.default_rng(0).integers(0, 255, (100, 500, 3), np.uint8)
    scale = Scale("plasma", (0, 1))
    below = with_bar(picture, scale)
    np.testing.assert_array_equal(below[:100], picture)
    strip = below[100:]
    ends = strip[20, [10, -11]].tolist()
    assert ends == [[13, 8, 135], [240, 249, 33]]  # Matplotlib's plasma from left to right
    assert (strip[45:] < 128).all(-1).any()  # words
    legend = with_swatches(picture, views.OUTCOMES)[100:]
    for colour in views.OUTCOMES.values():
        assert (legend == np.uint8(colour)).all(-1).sum() > 100
    narrow = with_bar(picture[:, :20], scale)
    assert narrow.shape[1] > 300
    np.testing.assert_array_equal(narrow[:100, :20], picture[:, :20])


def test_relative_terrain_says_so_and_has_a_round_range():
    image = np.random.default_rng(0).random((16, 16, 7)).astype(np.float32)
    image[..., 5] *= 0.650879  # the slope
    upload = Upload("m.h5", image, MMLS)
    captions = [caption for _, caption in views.inputs(upload)]
    assert captions == ["RGB", "slope (relative)", "hillshade (relative heights)"]


@pytest.mark.parametrize(("top", "high"), [(0.650879, 1), (0.2, 0.2), (0.31, 0.5), (3, 5), (90, 100), (0, 1)])
def test_ranges_are_round(top, high):
    low, _, found = views._round_ticks(np.array([[0.0, top, np.nan]]))
    assert low == 0 and found == pytest.approx(high)


def test_a_layout_without_colour_is_shown_in_grey():
    from tf_landslide.bands.layouts import Band, BandLayout

    upload = Upload(
        "s.h5",
        np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8, 1),
        BandLayout("sar", "SAR", (Band("vv"),), 10.0, ""),
    )
    picture = views.natural(upload)
    assert picture.shape == (8, 8, 3) and (picture[..., 0] == picture[..., 2]).all()
    assert [caption for _, caption in views.inputs(upload)] == ["vv"]
