"""A PyTorch checkpoint becomes a run that does all a run does, and a state dict again."""

import hashlib
import json
import shutil

import keras
import numpy as np
import pytest
import yaml

from tests.models.twin_weights import random_tensor
from tests.scenes.test_map import command, scene  # noqa: F401  (a fixture)
from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideWarning
from tf_landslide.core.safe_torch import read_tensors, write_tensors
from tf_landslide.data.folders import find_patches
from tf_landslide.data.hdf5 import read_image, read_mask
from tf_landslide.jobs.train import begin
from tf_landslide.models.build import build_model
from tf_landslide.models.encoders import ENCODERS
from tf_landslide.models.encoders.contract import Encoder
from tf_landslide.models.encoders.smp.classic import vgg
from tf_landslide.models.torch_names import load_state_dict, state_dict_of
from tf_landslide.runs import formats
from tf_landslide.runs.config import load_config
from tf_landslide.runs.folder import Run

pytestmark = pytest.mark.slow

BANDS = ("red", "green", "blue", "nir", "slope", "dem")
PLACES = (3, 2, 1, 7, 12, 13)  # of those bands in a patch of Landslide4Sense: B4, B3, B2, B8, slope, DEM
FILTERS = [16, 8, 8, 4, 4]
CONFIG = f"""
name: tiny_vgg
model: {{architecture: smp_unet, encoder: tiny_vgg, options: {{filters: {FILTERS}, center: true}}}}
training: {{epochs: 1, batch_size: 4, learning_rate: 1.0e-30, seed: 3}}
"""


@pytest.fixture(scope="module", autouse=True)
def tiny_vgg():
    """A name in the table of encoders for a small one."""
    with pytest.MonkeyPatch.context() as patch:
        build = lambda channels: vgg(channels, convolutions=(1,) * 5, width=4, name="tiny_vgg")  # noqa: E731
        patch.setitem(ENCODERS, "tiny_vgg", Encoder(build, "", ""))
        yield


def stored_bands(sample):
    """The test patches and their bands as they are stored, read without our recipes."""
    patches = find_patches(sample, "test")
    stored = np.stack([read_image(patch.image)[..., list(PLACES)] for patch in patches])
    return patches, np.where(np.isnan(stored), 1e-6, stored).astype(np.float32)


@pytest.fixture(scope="module")
def network(sample):
    """The network with weights of its own, its logits spread around 0; and these as a state dict."""
    model = build_model("smp_unet", "tiny_vgg", channels=6, filters=FILTERS, center=True)
    state = {name: random_tensor(name, x.shape) for name, x in state_dict_of(model, "smp_unet").items()}
    load_state_dict(model, "smp_unet", state, "")
    bands = stored_bands(sample)[1]
    logits = keras.Model(model.inputs[0], model.get_layer("logits").output).predict(bands, verbose=0)
    head = "segmentation_head.0."
    state[f"{head}bias"] = (state[f"{head}bias"] - np.median(logits)) / logits.std()
    state[f"{head}weight"] = state[f"{head}weight"] / logits.std()
    load_state_dict(model, "smp_unet", state, "")
    return model, state


@pytest.fixture(scope="module")
def made(tmp_path_factory, network):
    """A checkpoint as trainers save it, and the run it becomes."""
    folder = tmp_path_factory.mktemp("convert")
    write_tensors(folder / "w.pth", {f"model.{name}": tensor for name, tensor in network[1].items()})
    (folder / "c.yaml").write_text(CONFIG)
    channels = ",".join(f"{band}_stored" for band in BANDS)
    out = folder / "run"
    arguments = ["convert", folder / "w.pth", "--model", folder / "c.yaml", "--channels", channels, "--out", out]
    assert main([str(part) for part in arguments]) == 0
    return folder, out


def expected(network, sample):
    """The test patches, and what the network makes of them."""
    patches, bands = stored_bands(sample)
    return patches, keras.ops.convert_to_numpy(network[0](bands, training=False))[..., 0]


def test_the_run_says_where_it_comes_from(made):
    folder, out = made
    run = Run.open(out)
    assert run.threshold == 0.5 and run.config.data.normalise is False
    said = run.environment["converted_from"]
    assert said["sha256"] == hashlib.sha256((folder / "w.pth").read_bytes()).hexdigest()
    assert said["file"] == str(folder / "w.pth") and said["left_out"] == []
    card = run.card()
    assert card.threshold == 0.5 and card.scores == {} and formats.is_finished_run(out)
    assert card.training == {"converted_from": "w.pth", "sha256": said["sha256"]}
    assert "The threshold came with the model, which was trained elsewhere" in card.markdown()
    assert "epochs" not in card.markdown() and "validation" not in card.markdown()


def test_it_predicts_what_the_network_says(made, network, sample, tmp_path):
    patches, probability = expected(network, sample)
    assert probability.std() > 0.05 and probability.min() < 0.5 < probability.max()
    files = [str(patch.image) for patch in patches]
    assert main(["predict", str(made[1]), *files, "--out", str(tmp_path)]) == 0
    for patch, wanted in zip(patches, probability, strict=True):
        (file,) = tmp_path.glob(f"{patch.image.stem}*.npy")
        np.testing.assert_allclose(np.load(file), wanted, atol=1e-4)


def test_it_is_exported_and_evaluated(made, network, sample, tmp_path, capsys):
    assert main(["export", str(made[1]), "--to", str(tmp_path / "models")]) == 0
    patches, probability = expected(network, sample)
    assert main(["predict", str(tmp_path / "models" / "tiny_vgg"), str(patches[0].image), "--out", str(tmp_path)]) == 0
    np.testing.assert_allclose(np.load(next(tmp_path.glob("*.npy"))), probability[0], atol=1e-4)
    capsys.readouterr()
    arguments = ["evaluate", str(made[1]), "--data", str(sample), "--split", "test", "--json"]
    assert main([*arguments, "--out", str(tmp_path / "report")]) == 0
    scores = json.loads(capsys.readouterr().out)
    report = (tmp_path / "report" / "report.md").read_text()
    assert "The threshold came with the model" in report and "learning_curve" not in report
    truth = np.stack([read_mask(patch.mask) for patch in patches]) > 0
    found = probability >= 0.5
    f1 = 2 * (truth & found).sum() / (truth.sum() + found.sum())
    assert scores["f1"] == pytest.approx(f1, abs=1e-3)


def test_it_maps_a_scene(made, scene, tmp_path):  # noqa: F811
    assert main(command(made[1], scene, tmp_path / "map", "--window", "96", "--overlap", "32")) == 0
    assert json.loads((tmp_path / "map" / "summary.json").read_text())["threshold"] == 0.5


def test_it_is_where_training_begins(made, sample, tmp_path, network):
    """A step of next to nothing leaves the weights that came."""
    settings = [f"model.init_from={made[1]}", f"data.channels=[{','.join(f'{band}_stored' for band in BANDS)}]"]
    settings += ["data.normalise=false", "data.augment=false"]
    config = str(made[0] / "c.yaml")
    assert main(["train", config, *settings, "--data", str(sample), "--out", str(tmp_path / "run")]) == 0
    run = Run.open(tmp_path / "run")
    assert run.threshold == run.metrics()["valid"]["threshold"]
    model = keras.saving.load_model(run.model_path, compile=False)
    kernels = {name: x for name, x in state_dict_of(model, "smp_unet").items() if "running" not in name}
    for name, tensor in kernels.items():
        np.testing.assert_allclose(tensor, network[1][name], rtol=1e-5, atol=1e-7)
    assert not np.any(model.get_layer("normalization").mean) and np.all(model.get_layer("normalization").variance == 1)


def test_training_that_would_normalise_where_it_did_not_says_so(made, tmp_path):
    channels = [f"{band}_stored" for band in BANDS]
    config = load_config(made[0] / "c.yaml", [f"model.init_from={made[1]}", f"data.channels=[{','.join(channels)}]"])
    with pytest.warns(LandslideWarning, match=r"does not normalise its channels, .* data\.normalise=false"):
        begin(Run(tmp_path / "run", config))


@pytest.mark.parametrize("name", ["back.pth", "back.safetensors"])
def test_it_goes_back_bit_for_bit(made, network, tmp_path, name):
    assert main(["convert", str(made[1]), "--to-torch", str(tmp_path / name), "--json"]) == 0
    back = read_tensors(tmp_path / name)
    assert back.keys() == network[1].keys()
    assert all(
        np.array_equal(back[key], tensor) and back[key].dtype == tensor.dtype for key, tensor in network[1].items()
    )
    beside = json.loads((tmp_path / "back.json").read_text())
    assert beside["channels"] == [f"{band}_stored" for band in BANDS] and beside["threshold"] == 0.5
    assert beside["mean"] == [0] * 6 and beside["std"] == [1] * 6


def test_fourteen_bands_are_the_default(tmp_path):
    build = build_model("smp_unet", "tiny_vgg", channels=14, filters=FILTERS, center=True)
    write_tensors(tmp_path / "w.safetensors", state_dict_of(build, "smp_unet"))
    (tmp_path / "c.yaml").write_text(CONFIG)
    arguments = ["convert", tmp_path / "w.safetensors", "--model", tmp_path / "c.yaml", "--out", tmp_path / "run"]
    assert main([*map(str, arguments), "--threshold", "0.3"]) == 0
    run = Run.open(tmp_path / "run")
    assert len(run.recipe.channel_names) == 14 and run.recipe.channel_names[0].endswith("_stored")
    assert run.threshold == 0.3


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--model", "{folder}/c.yaml"], "convert needs --model CONFIG (whose network it is) and --out RUN"),
        (["--model", "{folder}/c.yaml", "--out", "{out}"], "is (4, 6, 3, 3), the network takes (4, 14, 3, 3)"),
        (["--model", "{folder}/c.yaml", "--out", "{run}"], "already exists; name another folder"),
        (["--model", "unet_mobilenetv2", "--out", "{out}"], "is it of another network?"),
        (["--model", "unet", "--out", "{out}"], "architecture 'plain_unet' has no counterpart in PyTorch"),
        (["--model", "{folder}/c.yaml", "--out", "{out}", "--sha256", "0" * 64], "expected 000000"),
        (
            ["--model", "{folder}/c.yaml", "--out", "{out}", "--threshold", "0.12345", "--sha256", "0" * 64],
            "threshold 0.12345: expected a multiple of 0.001, from 0 to 1",
        ),
        (["--to-torch", "{out}"], "is not a run folder"),
        (["--model", "{folder}/c.yaml", "--out", "{folder}/w.pth/run"], "w.pth is a file; name a folder"),
    ],
    ids=[
        "no out",
        "channels",
        "in the way",
        "another network",
        "no counterpart",
        "checksum",
        "threshold",
        "no run",
        "in a file",
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(made, tmp_path, capsys, more, said):
    folder, run = made
    words = [word.format(folder=folder, run=run, out=tmp_path / "out") for word in more]
    assert main(["convert", str(folder / "w.pth"), *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.startswith("error: ") and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_settings_may_stand_behind_the_options(made, tmp_path, capsys):
    """As the help and the docs write them."""
    arguments = ["convert", made[0] / "w.pth", "--model", made[0] / "c.yaml", "--out", tmp_path / "out"]
    arguments += ["--channels", ",".join(f"{band}_stored" for band in BANDS)]
    assert main([*map(str, arguments), "model.options.filters=[8,8,8,4,4]"]) == 2
    error = capsys.readouterr().err
    assert "'decoder.blocks.0.conv1.0.weight' is (16, 64, 3, 3), the network takes (8, 64, 3, 3)" in error


@pytest.mark.parametrize(
    ("name", "said"),
    [("w.json", "w.json: expected a name that ends with .pth"), ("mine.pth", "mine.json: already exists")],
)
def test_a_state_dict_is_written_over_nothing(made, tmp_path, capsys, name, said):
    (tmp_path / "mine.json").write_text("mine")
    assert main(["convert", str(made[1]), "--to-torch", str(tmp_path / name)]) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.json"] and (
        tmp_path / "mine.json"
    ).read_text() == "mine"


def test_a_run_without_scores_has_no_state_dict_yet(made, tmp_path, capsys):
    """As one that was trained here and stopped before it was judged."""
    shutil.copytree(made[1], tmp_path / "run")
    (tmp_path / "run" / formats.ENVIRONMENT).unlink()
    assert main(["convert", str(tmp_path / "run"), "--to-torch", str(tmp_path / "w.pth")]) == 2
    assert "has no metrics.json; resume its training to the end" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    "more",
    [["--threshold", "0.3"], ["--channels", "six"], ["--layout", "mmls"], ["--sha256", "0" * 64], ["--prefix", "a."]],
    ids=lambda more: more[0],
)
def test_what_a_state_dict_does_not_take_is_refused(made, tmp_path, capsys, more):
    assert main(["convert", str(made[1]), "--to-torch", str(tmp_path / "w.pth"), *more]) == 2
    error = capsys.readouterr().err
    assert "leave out --model" in error and more[0] in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_plain_run_has_no_state_dict_of_smp(run_folder, tmp_path, capsys):
    assert main(["convert", str(run_folder), "--to-torch", str(tmp_path / "w.pth")]) == 2
    assert "architecture 'plain_unet' has no counterpart in PyTorch" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_config_of_a_run_reads_as_it_was_written(made):
    config = yaml.safe_load((made[1] / "config.yaml").read_text())
    assert config["threshold"] == 0.5 and config["data"]["channels"] == [f"{band}_stored" for band in BANDS]
