"""Runs combined into one, and adapted to a region, against NumPy; the run does all that a run does."""

import hashlib
import json
import shutil

import h5py
import keras
import numpy as np
import pytest
from scipy.special import entr

from tests.scenes.test_map import command, scene  # noqa: F401  (a fixture)
from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError, LandslideWarning
from tf_landslide.data.folders import find_patches
from tf_landslide.data.hdf5 import read_image, read_mask
from tf_landslide.jobs.adapt import adapt
from tf_landslide.jobs.combine import Recipe, combine
from tf_landslide.models.batch_statistics import recompute
from tf_landslide.models.build import build_model
from tf_landslide.models.combine import SYMMETRIES, average_weights, combined
from tf_landslide.models.uncertainty import PASSES, of_votes, uncertainty
from tf_landslide.predict.backends.server import ServerBackend
from tf_landslide.predict.load import load_model, load_predictor
from tf_landslide.runs import formats
from tf_landslide.runs.folder import Run
from tf_landslide.runs.sections import Config

SETTINGS = "{architecture: plain_unet, encoder: null, options: {width: 4, depth: 2, batch_norm: true}}"


def answer(model, x):
    return keras.ops.convert_to_numpy(model(x, training=False))


def over_symmetries(model, x, which):
    """The mean over turned images."""
    return np.mean(of_symmetries(model, x, which), axis=0)


def of_symmetries(model, x, which):
    """The answers for turned images, turned back, by NumPy's own rotations and flips."""
    answers = []
    for turns in range(4) if which == "eight" else (0, 2):
        for flip in (False, True):
            y = np.rot90(x, turns, (1, 2))
            p = answer(model, (y[:, :, ::-1] if flip else y).copy())
            answers.append(np.rot90(p[:, :, ::-1] if flip else p, -turns, (1, 2)))
    return answers


def cooled(p, temperature):
    return 1 / (1 + np.exp(-np.log(p / (1 - p)) / temperature))


@pytest.fixture(scope="module")
def networks():
    keras.utils.set_random_seed(4)
    models = [build_model("plain_unet", channels=3, width=4, depth=2, batch_norm=True, name=f"n{i}") for i in range(3)]
    for model in models:
        logits = model.get_layer("logits")
        logits.kernel.assign(logits.kernel * 3)
    x = np.random.default_rng(0).normal(size=(2, 32, 64, 3)).astype(np.float32)
    x[0, :3, :4] = np.nan
    return models, x


@pytest.mark.parametrize("symmetries", [name for name in SYMMETRIES if name != "none"])
def test_symmetries_are_a_loop_of_numpys(networks, symmetries):
    (model, *_), x = networks
    expected = over_symmetries(model, x, symmetries)
    assert np.abs(expected - answer(model, x)).max() > 0.01
    np.testing.assert_allclose(answer(combined([model], symmetries), x), expected, atol=2e-6)


def test_members_symmetries_and_temperature_together(networks):
    models, x = networks
    mean = np.mean([answer(model, x) for model in models], axis=0)
    np.testing.assert_allclose(answer(combined(models), x), mean, atol=1e-6)
    np.testing.assert_allclose(answer(combined(models, temperature=2.5), x), cooled(mean, 2.5), atol=1e-6)
    all_of_it = cooled(np.mean([over_symmetries(model, x, "eight") for model in models], axis=0), 0.4)
    np.testing.assert_allclose(answer(combined(models, "eight", 0.4), x), all_of_it, atol=5e-6)


def test_a_temperature_leaves_certainty_what_it_is():
    from tf_landslide.models.layers.combining import Temperature

    p = np.array([0, 1e-30, 0.5, 1, np.nan], np.float32)
    np.testing.assert_allclose(Temperature(3.0)(p), [0, 1e-10, 0.5, 1, np.nan], rtol=1e-4)


def test_weights_are_numpys_mean(networks):
    models, _ = networks
    expected = [np.mean(of_each, axis=0) for of_each in zip(*(m.get_weights() for m in models), strict=True)]
    copy = keras.models.clone_model(models[0])
    copy.set_weights(models[0].get_weights())
    for ours, numpys in zip(average_weights([copy, *models[1:]]).get_weights(), expected, strict=True):
        np.testing.assert_allclose(ours, numpys, atol=1e-6)
    other = build_model("plain_unet", channels=3, width=8, depth=2, batch_norm=True)
    with pytest.raises(LandslideError, match="of one architecture only"):
        average_weights([copy, other])


def numpy_batch_norm(x, gamma, beta, epsilon):
    """Batch statistics, and what is passed on."""
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return mean, variance, gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def test_batch_norms_statistics_are_those_of_numpy():
    """Two layers, three batches of two sizes: each batch is normalised by its own, what is kept is of all pixels."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((None, None, 2))
    norm = [keras.layers.BatchNormalization(epsilon=0.01) for _ in range(2)]
    dense = [keras.layers.Dense(2) for _ in range(2)]
    x = norm[1](dense[1](keras.layers.Dropout(0.5)(keras.layers.ReLU()(norm[0](dense[0](inputs))))))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(x))
    rng = np.random.default_rng(0)
    for layer in norm:
        layer.gamma.assign(rng.uniform(0.5, 2, 2))
        layer.beta.assign(rng.normal(size=2))
    batches = [rng.normal(i, 1 + i, (2, 8, 6 + 2 * i, 2)).astype(np.float32) for i in range(3)]
    means, variances, counts = [[], []], [[], []], []
    for batch in batches:
        x = batch
        counts.append(x[..., 0].size)
        for i in range(2):
            kernel, bias = dense[i].get_weights()
            mean, variance, x = numpy_batch_norm(x @ kernel + bias, norm[i].gamma.numpy(), norm[i].beta.numpy(), 0.01)
            x = np.maximum(x, 0)
            means[i].append(mean)
            variances[i].append(variance)
    wrapped = combined([model], "none", 1.5)  # as a member of another model
    assert recompute(wrapped, batches) == 2
    for i in range(2):
        mean = np.average(means[i], axis=0, weights=counts)
        second = np.average(np.array(variances[i]) + np.array(means[i]) ** 2, axis=0, weights=counts)
        np.testing.assert_allclose(norm[i].moving_mean, mean, atol=1e-5)
        np.testing.assert_allclose(norm[i].moving_variance, second - mean**2, rtol=1e-4)
    assert recompute(build_model("plain_unet", channels=2, width=4, depth=1), batches) == 0


def test_batch_norms_that_are_called_twice_see_both(networks):
    """As by a model over symmetries: what is kept is of all that a layer is given, here an image and three times it."""
    inputs = keras.Input((None, None, 3))
    norm = keras.layers.BatchNormalization()
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(norm(inputs)))
    x = np.nan_to_num(networks[1])
    threefold = keras.layers.Rescaling(3.0)(inputs)
    twice = keras.Model(inputs, keras.layers.Average()([model(inputs), model(threefold)]))
    assert recompute(twice, [x]) == 1
    both = np.concatenate([x, 3 * x])
    np.testing.assert_allclose(norm.moving_mean, both.mean((0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, both.var((0, 1, 2)), rtol=1e-4)


def run_of(path, seed, sample, *, channels="six", batch_norm=True):
    """A run as training leaves it: random weights whose answers vary, and scores that say a threshold."""
    options = {"width": 4, "depth": 2, "batch_norm": batch_norm}
    config = Config.model_validate(
        {
            "name": "tiny",
            "data": {"channels": channels},
            "model": {"architecture": "plain_unet", "encoder": None, "options": options},
            "training": {"batch_size": 4, "seed": seed},
        }
    )
    keras.utils.set_random_seed(seed)
    model = build_model("plain_unet", channels=config.data.recipe.channel_names, **options)
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_variance.assign(rng.uniform(0.5, 2, layer.moving_variance.shape))
    model.get_layer("normalization").adapt([config.data.recipe(stacked(sample, "train")[0])])
    model.get_layer("logits").bias.assign([-6.0])  # too sure that there is nothing
    path.mkdir(parents=True)
    (path / formats.CONFIG).write_text(config.to_yaml())
    model.save(path / formats.MODEL)
    scores = dict.fromkeys(("f1", "precision", "recall", "iou"), 0.5)
    valid = {**scores, "threshold": 0.4 + seed / 10, "patches": 1, "interval": dict.fromkeys(scores, (0.0, 1.0))}
    (path / formats.METRICS).write_text(json.dumps({"valid": valid}))
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory, sample):
    folder = tmp_path_factory.mktemp("members")
    return [run_of(folder / name, seed, sample) for name, seed in (("one", 0), ("two", 1))]


@pytest.fixture(scope="module")
def made(runs, sample, tmp_path_factory):
    """Two runs as one, over eight symmetries, calibrated."""
    out = tmp_path_factory.mktemp("combined") / "both"
    arguments = [
        "combine",
        *map(str, runs),
        "--out",
        str(out),
        "--data",
        str(sample),
        "--tta",
        "eight",
        "--temperature",
    ]
    assert main(arguments) == 0
    return out


def stacked(sample, split="test"):
    patches = find_patches(sample, split)
    return np.stack([read_image(patch.image) for patch in patches]), np.stack([read_mask(p.mask) for p in patches])


def expected(runs, channels, temperature):
    models = [load_model(path, compile=False) for path in runs]
    return cooled(np.mean([over_symmetries(model, channels, "eight") for model in models], axis=0), temperature)


@pytest.mark.slow
def test_the_record_says_of_what_and_how(runs, made):
    derived = Run.open(made).derived
    assert [m.run for m in derived.members] == ["one", "two"] and derived.symmetries == "eight" and derived.copies == 4
    assert [m.sha256 for m in derived.members] == [
        hashlib.sha256((path / "model.keras").read_bytes()).hexdigest() for path in runs
    ]
    card = Run.open(made).card()
    assert "one, two" in card.markdown() and "scaled by one temperature" in card.markdown()
    assert card.scores["valid"]["threshold"] == card.threshold and formats.is_finished_run(made)


@pytest.mark.slow
def test_the_temperature_is_the_one_of_least_loss_and_f1_stays(runs, made, sample):
    run = Run.open(made)
    derived, predictor = run.derived, load_predictor(made)
    stored, masks = stacked(sample, "valid")
    channels, answered = predictor.from_bands(stored)
    before = expected(runs, channels, 1.0)[..., 0].astype(np.float64)

    def loss(p):
        return -np.mean(np.where(masks == 1, np.log(p), np.log1p(-p)))

    best = loss(cooled(before, derived.temperature))
    assert derived.temperature != pytest.approx(1, abs=0.01)
    assert all(best <= loss(cooled(before, derived.temperature * by)) for by in (0.98, 1.02))
    assert derived.validation["nll_after"] == pytest.approx(best, abs=2e-4)

    def best_f1(p):
        scores = []
        for t in np.arange(0, 1.0005, 0.001):
            marked = p >= t
            both = (marked & (masks == 1)).sum()
            scores.append(2 * both / max(marked.sum() + (masks == 1).sum(), 1))
        return max(scores)

    assert derived.validation["f1"]["eight"] == pytest.approx(best_f1(before), abs=1e-6)
    marked = before >= 0.37
    np.testing.assert_array_equal(cooled(before, derived.temperature) >= cooled(0.37, derived.temperature), marked)
    assert run.metrics()["valid"]["f1"] == pytest.approx(best_f1(answered[..., 0]), abs=1e-6)


@pytest.mark.slow
def test_it_predicts_what_its_members_say_together(runs, made, sample, tmp_path):
    files = [str(patch.image) for patch in find_patches(sample, "test")[:2]]
    assert main(["predict", str(made), *files, "--out", str(tmp_path)]) == 0
    predictor = load_predictor(made)
    assert predictor.batch_of(4) == 4  # of sixteen images, since each becomes four
    channels = predictor.channels(stacked(sample)[0][:2])
    wanted = expected(runs, channels, Run.open(made).derived.temperature)
    found = np.stack(
        [np.load(tmp_path / f"{patch.image.stem}_probability.npy") for patch in find_patches(sample, "test")[:2]]
    )
    np.testing.assert_allclose(found, wanted[..., 0], atol=1e-5)


def spread(votes):
    """Standard deviation and mutual information of (V, N, H, W, 1) answers, in float64."""
    votes = np.asarray(votes, np.float64)

    def entropy(p):
        return entr(p) + entr(1 - p)

    return votes.std(0), entropy(votes.mean(0)) - entropy(votes).mean(0)


def test_members_that_disagree_are_unsure(networks):
    models, x = networks
    deviation, information = spread([answer(model, x) for model in models])
    found = answer(of_votes(combined(models, temperature=2.0)), x)
    np.testing.assert_allclose(found[..., :1], answer(combined(models, temperature=2.0), x), atol=1e-6)
    np.testing.assert_allclose(found[..., 1:2], deviation, atol=1e-5)
    np.testing.assert_allclose(found[..., 2:], information, atol=1e-5)
    assert information.max() > 1e-3
    assert of_votes(models[0]) is None
    with pytest.raises(LandslideError, match="cannot say how sure it is; combine runs"):
        uncertainty(models[0])


def test_dropout_alone_is_random_and_alike_each_time():
    """Of one layer: passes keep a channel or drop it, so that the answers are known."""
    inputs = keras.Input((None, None, 1))
    norm = keras.layers.BatchNormalization()
    x = keras.layers.Activation("sigmoid")(keras.layers.Dropout(0.5, noise_shape=(None, 1, 1, 1))(norm(inputs)))
    model = keras.Model(inputs, x)
    x = np.full((64, 4, 4, 1), 2.0, np.float32)
    compute = uncertainty(model)
    found = compute(x).numpy()
    np.testing.assert_array_equal(compute(x).numpy(), found)
    z = 2 / np.sqrt(1 + norm.epsilon)
    low, high = 1 / (1 + np.exp(-np.array([0, 2 * z])))  # dropped, or kept and doubled
    np.testing.assert_allclose(found[..., 0], 1 / (1 + np.exp(-z)), rtol=1e-5)
    shares = np.arange(PASSES + 1) / PASSES  # how many of the passes kept it
    possible = (high - low) * np.sqrt(shares * (1 - shares))
    assert np.abs(found[..., 1:2] - possible).min(-1).max() < 1e-5
    assert found[..., 1].mean() == pytest.approx((high - low) / 2, rel=0.1)
    assert norm.moving_mean.numpy() == 0


@pytest.mark.slow
def test_predict_writes_how_sure_it_is(runs, made, sample, tmp_path, capsys):
    patch = find_patches(sample, "test")[0]
    assert main(["predict", str(made), str(patch.image), "--uncertainty", "--out", str(tmp_path), "--json"]) == 0
    (said,) = json.loads(capsys.readouterr().out)
    channels = load_predictor(made).channels(read_image(patch.image)[None])
    models = [load_model(path, compile=False) for path in runs]
    deviation, information = spread([p for model in models for p in of_symmetries(model, channels, "eight")])
    np.testing.assert_allclose(np.load(said["deviation"]), deviation[0, ..., 0], atol=1e-5)
    np.testing.assert_allclose(np.load(said["mutual_information"]), information[0, ..., 0], atol=1e-5)
    assert main(["predict", str(runs[0]), str(patch.image), "--uncertainty", "--out", str(tmp_path / "no")]) == 2
    assert "cannot say how sure it is" in capsys.readouterr().err and not (tmp_path / "no").exists()


@pytest.mark.long
def test_it_is_exported_and_every_runtime_gives_the_same(runs, made, sample, tmp_path):
    assert main(["export", str(made), "--to", str(tmp_path / "models")]) == 0
    channels = load_predictor(made).channels(stacked(sample)[0][:2])
    wanted = expected(runs, channels, Run.open(made).derived.temperature)
    for runtime in ("tensorflow", "openvino"):
        if runtime == "openvino":
            pytest.importorskip("openvino")
        predictor = load_predictor(tmp_path / "models" / "tiny", runtime=runtime)
        assert predictor.card.copies == 4
        np.testing.assert_allclose(predictor(channels), wanted, atol=1e-4)
        if runtime == "openvino":
            with pytest.raises(LandslideError, match="OpenVINO computes probabilities alone"):
                predictor.uncertainty(channels)
        else:
            ours, theirs = load_predictor(made).uncertainty(channels), predictor.uncertainty(channels)
            for name in ("probability", "deviation", "mutual_information"):
                np.testing.assert_allclose(getattr(theirs, name), getattr(ours, name), atol=1e-5)


@pytest.mark.slow
def test_it_maps_a_scene_and_is_evaluated(made, scene, sample, tmp_path):  # noqa: F811
    assert main(command(made, scene, tmp_path / "map", "--window", "96", "--overlap", "32")) == 0
    threshold = Run.open(made).threshold
    assert json.loads((tmp_path / "map" / "summary.json").read_text())["threshold"] == threshold
    arguments = ["evaluate", str(made), "--data", str(sample), "--split", "valid", "--out", str(tmp_path / "report")]
    assert main(arguments) == 0
    judged = json.loads((tmp_path / "report" / "metrics.json").read_text())["valid"]
    assert judged["f1"] == Run.open(made).metrics()["valid"]["f1"] and judged["threshold"] == threshold


@pytest.mark.slow
def test_the_page_offers_it(made):
    from tf_landslide.page.library import Library, find_models

    (entry,) = find_models([made])
    assert "one, two" in Library([entry]).details(entry.name)


@pytest.mark.slow
def test_weights_are_averaged_and_their_batch_norms_seen_to(runs, sample, tmp_path):
    out = tmp_path / "mean"
    made = combine([Run.open(path) for path in runs], out, Recipe(average="weights"), sample)
    models = [load_model(path, compile=False) for path in runs]
    channels = load_predictor(out).channels(stacked(sample, "train")[0])
    wanted = average_weights(models)
    recompute(wanted, [channels[:4], channels[4:7], channels[7:]])
    for ours, theirs in zip(load_model(out, compile=False).get_weights(), wanted.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert made.derived.same_network and not made.came_with_threshold


@pytest.mark.slow
def test_auto_takes_symmetries_only_where_validation_gains(runs, sample, tmp_path):
    made = combine([Run.open(runs[0])], tmp_path / "auto", Recipe("auto", temperature=True), sample)
    f1 = made.derived.validation["f1"]
    assert set(f1) == {"none", "flips", "eight"}
    assert made.derived.symmetries == max(f1, key=f1.get)


def test_the_mean_of_thresholds_is_one_that_scores_are_kept_for(runs, sample, tmp_path):
    """Of 0.4 and 0.4313 it is 0.41565, and judged is at thousandths."""
    other = shutil.copytree(runs[0], tmp_path / "other")
    metrics = json.loads((other / "metrics.json").read_text())
    metrics["valid"]["threshold"] = 0.4313
    (other / "metrics.json").write_text(json.dumps(metrics))
    out = tmp_path / "out"
    assert main(["combine", str(runs[0]), str(other), "--out", str(out)]) == 0
    assert Run.open(out).threshold == 0.416
    assert main(["evaluate", str(out), "--data", str(sample), "--split", "valid"]) == 0


@pytest.mark.parametrize("threshold", ["0.12345", "nan", "7", "inf"])
def test_a_threshold_that_nothing_is_judged_at_is_refused_before_any_work(runs, sample, tmp_path, capsys, threshold):
    words = ["--data", str(sample), "--out", str(tmp_path / "out"), "--threshold", threshold]
    assert main(["combine", *map(str, runs), *words]) == 2
    said = capsys.readouterr().err
    assert f"threshold {threshold.removeprefix('7') or '7.0'}: expected a multiple of 0.001, from 0 to 1" in said
    assert said.count("\n") == 1 and list(tmp_path.iterdir()) == []


def said_of_data(run, **said):
    (run / "environment.json").write_text(json.dumps(said))
    return run


@pytest.mark.parametrize("split", ["train", "valid"])
def test_runs_of_different_data_are_not_judged_together(runs, sample, tmp_path, capsys, split):
    same = {"train": {"patches": 10, "sha256": "a"}, "valid": {"patches": 6, "sha256": "b"}}
    other = same | {split: {"patches": 10, "sha256": "c"}, "test": {"patches": 5, "sha256": "d"}}
    mine, theirs = (shutil.copytree(path, tmp_path / path.name) for path in runs)
    said_of_data(mine, data="here", data_fingerprint=same)
    said_of_data(theirs, data="there", data_fingerprint=other)
    assert main(["combine", str(mine), str(theirs), "--out", str(tmp_path / "out"), "--data", str(sample)]) == 2
    said = capsys.readouterr().err
    assert "they were trained on different data" in said and str(theirs) in said and said.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert main(["combine", str(mine), str(theirs), "--out", str(tmp_path / "out")]) == 0  # nothing is judged
    assert not {"data", "data_fingerprint"} & Run.open(tmp_path / "out").environment.keys()  # no one dataset's
    said_of_data(theirs, data="there", data_fingerprint=same)
    assert main(["combine", str(mine), str(theirs), "--out", str(tmp_path / "same")]) == 0
    said = Run.open(tmp_path / "same").environment
    assert (said["data"], said["data_fingerprint"]) == ("here", same)


def test_the_record_names_the_data_that_it_was_judged_on(runs, sample, tmp_path):
    run = said_of_data(shutil.copytree(runs[0], tmp_path / "run"), data="/before", data_fingerprint={}, packages={})
    made = combine([Run.open(run)], tmp_path / "out", Recipe(temperature=True), sample).environment
    assert made["data"] == str(sample) and made["synthetic"] and made["packages"] == {}
    patches = {split: said["patches"] for split, said in made["data_fingerprint"].items()}
    assert patches == {"train": 10, "valid": 6, "test": 5}


def test_copies_are_those_of_the_member_that_needs_the_most(runs, tmp_path):
    """One that looks at four flips computes four images for one, in whatever place it stands."""
    flips = combine([Run.open(runs[1])], tmp_path / "flips", Recipe("flips"))
    assert combine([Run.open(runs[0]), flips], tmp_path / "both", Recipe()).derived.copies == 4


def test_weights_of_a_combined_model_are_not_averaged(runs, sample, tmp_path, capsys):
    """They are those of one of its networks, without what it does with their answers."""
    names = [tmp_path / "flips_one", tmp_path / "flips_two"]
    for run, out in zip(runs, names, strict=True):
        combine([Run.open(run)], out, Recipe("flips"))
    words = ["--average", "weights", "--data", str(sample), "--out", str(tmp_path / "out")]
    for first, second in (names, (runs[0], names[1])):
        assert main(["combine", str(first), str(second), *words]) == 2
        said = capsys.readouterr().err
        assert "is a combined model; average the weights of the runs that it is made of" in said
        assert said.count("\n") == 1 and not (tmp_path / "out").exists()


def test_thresholds_are_taken_over_where_there_is_no_data(runs, tmp_path):
    opened = [Run.open(path) for path in runs]
    assert combine(opened, tmp_path / "a", Recipe()).threshold == pytest.approx(0.45)
    assert combine(opened, tmp_path / "b", Recipe(threshold=0.2)).threshold == 0.2
    assert combine(opened[:1], tmp_path / "c", Recipe("flips")).threshold == 0.4
    (runs[0].parent / "folds.json").write_text('{"threshold": 0.61, "by_fold": []}')
    try:
        made = combine(opened, tmp_path / "d", Recipe())
    finally:
        (runs[0].parent / "folds.json").unlink()
    assert made.threshold == 0.61 and "out of fold" in made.threshold_from
    card = made.card()
    assert card.scores == {} and any("out of fold" in limit for limit in card.limits)


def test_what_does_not_fit_together_is_refused_by_name(runs, sample, tmp_path, capsys):
    def refused(*arguments):
        assert main(["combine", *map(str, arguments), "--out", str(tmp_path / "out")]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and not (tmp_path / "out").exists()
        return said

    other = run_of(tmp_path / "other", 2, sample, channels=["red", "slope"])
    said = refused(runs[0], other)
    assert "channels red, green, blue, ndvi, slope, dem and red, slope" in said and str(other) in said
    assert "give --tta or --temperature" in refused(runs[0])
    assert "give --data DIR" in refused(*runs, "--temperature")
    assert "give --data DIR" in refused(*runs, "--average", "weights")
    assert "unknown symmetries 'nine'" in refused(*runs, "--tta", "nine")
    scaled = shutil.copytree(runs[1], tmp_path / "scaled")  # published weights scale what the encoder is given
    config = scaled / "config.yaml"
    config.write_text(config.read_text().replace("encoder_weights: none", "encoder_weights: imagenet"))
    said = refused(runs[0], scaled, "--average", "weights", "--data", sample)
    assert "averaged of one architecture, encoder, encoder_weights and options only" in said
    shares = [shutil.copytree(path, tmp_path / path.name) for path in runs]
    for path in shares:
        config = path / "config.yaml"
        config.write_text(config.read_text().replace("valid_share: null", "valid_share: 0.2"))
    assert "hold out different patches" in refused(*shares, "--data", sample)
    layout = {"name": "own", "bands": [{"name": "red"}, {"name": "aspect_deg"}]}
    own = shutil.copytree(other, tmp_path / "own")
    text = (own / "config.yaml").read_text().replace("- slope", "- aspect_deg")
    (own / "config.yaml").write_text(text.replace("layout: landslide4sense", f"layout: {json.dumps(layout)}"))
    assert "aspect_deg would have to turn with the image" in refused(own, "--tta", "eight")


@pytest.mark.slow
def test_a_combined_run_is_not_trained_on_and_gives_no_state_dict(made, sample, config_file, tmp_path, capsys):
    base = ["train", str(config_file), "--data", str(sample)]
    assert main([*base, "--out", str(made), "--resume"]) == 2 and "was not trained here" in capsys.readouterr().err
    assert main([*base, "--out", str(tmp_path / "r"), f"model.init_from={made}"]) == 2
    assert "is a combined model" in capsys.readouterr().err
    assert main(["convert", str(made), "--to-torch", str(tmp_path / "w.pth")]) == 2
    assert "is a combined model" in capsys.readouterr().err


@pytest.mark.slow
def test_a_damaged_record_is_one_line(made, tmp_path):
    run = shutil.copytree(made, tmp_path / "run")
    said = json.loads((run / "environment.json").read_text())
    said["combined_from"]["copies"] = 0
    (run / "environment.json").write_text(json.dumps(said))
    with pytest.raises(LandslideError, match=r"environment\.json: combined_from: copies: input should be greater"):
        Run.open(run).card()


@pytest.fixture
def region(sample, tmp_path):
    """Another region, twice as bright, without masks."""
    folder = shutil.copytree(sample, tmp_path / "region")
    shutil.rmtree(folder / "TestData/mask")
    return folder


@pytest.mark.slow
def test_a_run_is_adapted_to_a_region_without_its_masks(runs, region, tmp_path, capsys):
    out = tmp_path / "adapted"
    assert main(["adapt", str(runs[0]), "--data", str(region), "--out", str(out)]) == 0
    assert "no mask was read" in capsys.readouterr().out
    channels = Run.open(runs[0]).recipe(np.stack([read_image(p.image) for p in find_patches(region, "test")]))
    wanted = load_model(runs[0], compile=False)
    recompute(wanted, [channels[:3], channels[3:]])
    for ours, theirs in zip(load_model(out, compile=False).get_weights(), wanted.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    run = Run.open(out)
    assert run.threshold == 0.4 and run.derived.images == "region, test, 5 images"
    card = run.card()
    assert card.scores == {} and card.training["statistics"] == "batch norm" and "region, test" in card.markdown()


def test_the_inputs_statistics_are_numpys(runs, region, tmp_path):
    out = tmp_path / "adapted"
    assert main(["adapt", str(runs[0]), "--data", str(region), "--statistics", "input", "--out", str(out)]) == 0
    channels = Run.open(runs[0]).recipe(np.stack([read_image(p.image) for p in find_patches(region, "test")]))
    layer = load_model(out, compile=False).get_layer("normalization")
    np.testing.assert_allclose(layer.mean, np.nanmean(channels.astype(np.float64), (0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(layer.variance, np.nanvar(channels.astype(np.float64), (0, 1, 2)), rtol=1e-4)


def test_a_channel_that_never_varies_in_a_region_is_warned_of_by_name(runs, region, tmp_path):
    for patch in find_patches(region, "test"):
        with h5py.File(patch.image, "r+") as file:
            file["img"][..., 13] = 0.1
    with pytest.warns(LandslideWarning, match=r"^constant over all 5 images: dem; the adapted model takes it as zero"):
        made, _ = adapt(Run.open(runs[0]), region, "test", tmp_path / "adapted", "input")
    layer = load_model(made.path, compile=False).get_layer("normalization")
    assert (np.asarray(layer.variance) == 0).tolist() == [False] * 5 + [True]


def test_a_network_without_batch_norm_is_told_so(region, tmp_path, capsys):
    run = run_of(tmp_path / "plain", 3, region, batch_norm=False)
    assert main(["adapt", str(run), "--data", str(region), "--out", str(tmp_path / "out")]) == 2
    assert "has no batch norm" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_server_that_answers_something_else_is_told():
    class Client:
        url = "grpc://host:1/m"

        def predict(self, inputs, signature="serving_default"):
            return {"spread": inputs["channels"]}

    for ask, expected in (("probability", "'probability'"), ("uncertainty", "'probability', 'deviation', ")):
        with pytest.raises(LandslideError, match=f"the model gives spread, expected {expected}"):
            getattr(ServerBackend(Client()), ask)(np.zeros((1, 32, 32, 3), np.float32))
