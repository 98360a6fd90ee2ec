import json
import shutil

import h5py
import numpy as np
import pytest
from PIL import Image

from tf_landslide.bands.features import Features
from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError
from tf_landslide.data.folders import find_patches
from tf_landslide.data.hdf5 import read_image
from tf_landslide.predict.files import predict_files
from tf_landslide.predict.load import load_model, load_predictor
from tf_landslide.predict.predictor import Predictor
from tf_landslide.runs.card import ModelCard
from tf_landslide.runs.folder import Run


@pytest.fixture(scope="module")
def patches(sample):
    return [str(patch.image) for patch in find_patches(sample, "test")]


def direct(run_folder, path):
    """The plain way: read, features, ``model(…)``."""
    channels = Features("landslide4sense", "six")(read_image(path)[None])
    return np.asarray(load_model(run_folder)(channels, training=False))[0, ..., 0]


def test_predict_writes_loadable_files_that_equal_a_direct_call(run_folder, patches, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["predict", str(run_folder), *patches, "--out", str(out), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    threshold = Run.open(run_folder).threshold
    assert len(rows) == len(patches) and len(list(out.iterdir())) == 3 * len(patches)
    for row, path in zip(rows, patches, strict=True):
        probability = np.load(row["probability"])
        assert probability.shape == (128, 128) and probability.dtype == np.float32
        np.testing.assert_allclose(probability, direct(run_folder, path), atol=1e-5)
        mask = np.asarray(Image.open(row["mask"]))
        np.testing.assert_array_equal(mask, np.where(probability >= np.float32(threshold), 255, 0))
        assert np.asarray(Image.open(row["overlay"])).shape == (128, 128, 3)
        assert row["landslide_fraction"] == pytest.approx((mask > 0).mean())
        assert row["landslide_area_m2"] == pytest.approx((mask > 0).sum() * 100)
        assert row["mean_probability"] == pytest.approx(probability.mean(), abs=1e-6)
        assert row["channels"]["dem"]["mean"] > 300 and row["channels"]["ndvi"]["min"] >= -1


def test_run_and_savedmodel_predict_the_same(run_folder, exported, patches, tmp_path):
    for name, model in (("run", run_folder), ("version", exported), ("model", exported.parent)):
        assert main(["predict", str(model), patches[0], "--out", str(tmp_path / name)]) == 0
    run, version, parent = (np.load(next((tmp_path / n).glob("*.npy"))) for n in ("run", "version", "model"))
    np.testing.assert_allclose(version, run, atol=1e-5)
    np.testing.assert_array_equal(version, parent)


def test_the_threshold_can_be_moved(run_folder, patches, tmp_path):
    assert main(["predict", str(run_folder), patches[0], "--out", str(tmp_path), "--threshold", "0"]) == 0
    assert (np.asarray(Image.open(next(tmp_path.glob("*_mask.png")))) == 255).all()


def test_any_size_is_padded_and_cut_back(run_folder, patches, tmp_path):
    image = read_image(patches[0])
    for shape in ((128, 128), (100, 75), (31, 33)):
        path = tmp_path / f"image_{shape[0]}.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("img", data=image[: shape[0], : shape[1]])
    inputs = sorted(map(str, tmp_path.glob("*.h5")))
    assert main(["predict", str(run_folder), *inputs, "--out", str(tmp_path / "out")]) == 0
    whole = direct(run_folder, patches[0])
    for shape in ((128, 128), (100, 75), (31, 33)):
        probability = np.load(tmp_path / "out" / f"image_{shape[0]}_probability.npy")
        assert probability.shape == shape
        # Away from the cut, where the receptive field sees the same pixels, nothing changes.
        inner = np.s_[: shape[0] - 26, : shape[1] - 26]
        np.testing.assert_allclose(probability[inner], whole[: shape[0], : shape[1]][inner], atol=1e-5)


def test_missing_values_are_refused_unless_allowed(run_folder, patches, tmp_path, capsys):
    image = read_image(patches[0])
    image[:20, :20, 13] = np.nan
    with h5py.File(tmp_path / "image_1.h5", "w") as file:
        file.create_dataset("img", data=image)
    arguments = ["predict", str(run_folder), str(tmp_path / "image_1.h5"), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "NaN in dem" in capsys.readouterr().err
    assert main([*arguments, "--allow-missing", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)[0]
    assert row["missing"] == 400
    assert np.isfinite(np.load(row["probability"])).all()


def test_real_patches_give_plausible_channels_and_no_nan(run_folder, real_data, tmp_path, capsys):
    inputs = sorted(map(str, (real_data / "landslide4sense_samples" / "img").glob("*.h5")))
    assert main(["predict", str(run_folder), *inputs, "--out", str(tmp_path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 10 and all(row["missing"] == 0 for row in rows)
    assert np.mean([row["channels"]["ndvi"]["mean"] for row in rows]) == pytest.approx(0.58, abs=0.02)
    assert max(row["channels"]["slope"]["max"] for row in rows) == pytest.approx(72, abs=1)
    assert all(np.isfinite(np.load(row["probability"])).all() for row in rows)


def test_two_inputs_of_one_name_are_refused(run_folder, patches, tmp_path, capsys):
    shutil.copy(patches[0], tmp_path)
    arguments = ["predict", str(run_folder), patches[0], str(tmp_path / "image_1.h5"), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "would overwrite" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("model", "said"), [("nowhere", "no such run or SavedModel"), (".", "is neither a run"), ("empty", "is neither")]
)
def test_what_is_no_model_is_refused(model, said, patches, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["predict", str(tmp_path / model), patches[0], "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_predictor_refuses_wrong_channels_and_splits_large_batches():
    sizes = []

    class First:
        """Gives back the first channel."""

        name, batch_size, max_bytes, in_flight = "test", 4, 2**28, 1

        def probability(self, channels):
            sizes.append(channels.shape)
            return channels[..., :1]

    predictor = Predictor(ModelCard("m", "a", None, "mmls", ("red", "slope"), 0.5), First())
    x = np.random.default_rng(0).random((10, 33, 64, 2)).astype(np.float32)
    np.testing.assert_array_equal(predictor(x), x[..., :1])
    assert sizes == [(4, 64, 64, 2), (4, 64, 64, 2), (2, 64, 64, 2)]
    assert predictor(x[:0]).shape == (0, 33, 64, 1)
    for wrong in (x[0], x[..., :1]):
        with pytest.raises(LandslideError, match=r"takes \(N, H, W, 2\) channels \(red, slope\)"):
            predictor(wrong)


def test_files_are_stacked_by_bytes(tmp_path, monkeypatch):
    """Sixteen small files are one batch, sixteen large ones are not."""

    class Mean:
        name, batch_size, max_bytes, in_flight = "test", 16, 2**20, 1

        def probability(self, channels):
            return np.full((*channels.shape[:-1], 1), 0.5, np.float32)

    stacked = []
    predictor = Predictor(ModelCard("m", "a", None, "mmls", ("red", "slope"), 0.5), Mean())
    original = predictor.from_bands
    monkeypatch.setattr(predictor, "from_bands", lambda x: stacked.append((len(x), x.nbytes)) or original(x))
    sizes = [16] * 16 + [96] * 16 + [256]
    for i, side in enumerate(sizes):
        with h5py.File(tmp_path / f"image_{i:02}.h5", "w") as file:
            file["img"] = np.random.default_rng(i).random((side, side, 7)).astype(np.float32)
    predictions = predict_files(predictor, sorted(tmp_path.glob("*.h5")), tmp_path / "out")
    assert [row.input[-5:-3] for row in predictions] == [f"{i:02}" for i in range(len(sizes))]
    assert [count for count, _ in stacked] == [16, 4, 4, 4, 4, 1]
    assert max(nbytes for count, nbytes in stacked if count > 1) <= 2**20


def test_card_round_trips(exported):
    card = load_predictor(exported).card
    assert ModelCard.from_dict(json.loads(json.dumps(card.as_dict()))) == card
    assert card.channel_names == ("red", "green", "blue", "ndvi", "slope", "dem") and card.scores["test"]["f1"] >= 0
