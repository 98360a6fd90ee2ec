"""Float32 rewritten for OpenVINO, and short formats: proven on validation, or refused."""

import json
import shutil
from collections import Counter

import h5py
import numpy as np
import pytest

from tests.test_export import CARD
from tf_landslide.cli.main import main
from tf_landslide.core.cpu import instructions
from tf_landslide.core.errors import LandslideError, LandslideWarning
from tf_landslide.jobs.export import export_run
from tf_landslide.jobs.prove import prove
from tf_landslide.predict.load import load_predictor
from tf_landslide.runs import formats, precision
from tf_landslide.runs.config import load_config
from tf_landslide.runs.folder import Run

openvino = pytest.importorskip("openvino", reason="OpenVINO is optional: pip install openvino")


@pytest.fixture(scope="module", autouse=True)
def any_cpu():
    """A CPU that has every instruction; OpenVINO computes in float32 what the real one has none for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precision, "instructions", lambda: ("avx512_bf16", "avx512_vnni"))
        yield


def splits(folder, split):
    """Channels (N, H, W, 6) and masks (N, H, W) of a split."""
    from tf_landslide.data.pipeline import load_dataset

    parts = list(load_dataset(folder, split, batch_size=4).as_numpy_iterator())
    return (np.concatenate(part) for part in zip(*parts, strict=True))


# --- float32, rewritten


def small_unet(activation_last: bool):
    """Convolutions, batch norms and doubled maps, with maps behind them or not, and one doubled before the head."""
    import keras
    from keras import layers

    from tf_landslide.models.layers.norm import ChannelNormalization

    rng = np.random.default_rng(0)

    def block(x, filters):
        def norm(x):
            return layers.ReLU()(layers.BatchNormalization()(x))

        convolution = layers.Conv2D(filters, 3, padding="same", use_bias=False)
        return norm(convolution(x)) if activation_last else convolution(norm(x))

    inputs = keras.Input((None, None, 6), name="channels")
    skip = block(ChannelNormalization(name="normalization")(inputs), 5)
    deep = block(layers.MaxPooling2D(2)(skip), 7)
    deeper = block(layers.MaxPooling2D(2)(deep), 9)
    x = block(layers.Concatenate()([layers.UpSampling2D(2)(deeper), deep]), 6)
    x = block(layers.Conv2D(4, 3, padding="same")(layers.UpSampling2D(2)(x)), 4)
    x = layers.UpSampling2D(2)(layers.MaxPooling2D(2)(x))
    model = keras.Model(inputs, layers.Conv2D(1, 1, activation="sigmoid", name="probability")(x))
    for weight in model.weights:
        low, high = (0.5, 1.5) if weight.path.endswith(("variance", "gamma")) else (-0.2, 0.2)
        weight.assign(rng.uniform(low, high, weight.shape))
    return model


@pytest.mark.parametrize("activation_last", [True, False])
def test_what_is_rewritten_gives_what_tensorflow_gives(tmp_path, activation_last):
    from tf_landslide.predict.backends.openvino_graph import read_saved_model
    from tf_landslide.predict.export import save_model

    model = small_unet(activation_last)
    save_model(model, CARD, tmp_path)
    graph = read_saved_model(tmp_path)
    kinds = Counter(node.get_type_name() for node in graph.get_ordered_ops())
    doubled = 2 if activation_last else 1  # else batch norm comes between, but where there is none
    assert (kinds["ConvolutionBackpropData"], kinds["Interpolate"], kinds["Tile"]) == (doubled, 3 - doubled, 0)
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for shape in ((1, 32, 32), (3, 64, 96)):
        x = np.random.default_rng(1).normal(size=(*shape, 6)).astype(np.float32)
        x[0, :5, :7, 2], x[0, 3, 3], x[0, 9, 9, 1], x[0, 9, 8, 1] = np.nan, np.nan, np.inf, -np.inf
        np.testing.assert_allclose(compiled(x)[0], np.asarray(model(x, training=False)), atol=1e-5)
    if activation_last:  # every batch norm is in its convolution: what is left is the normalisation of the input
        assert kinds["Multiply"] + kinds["Divide"] <= 1


# --- short formats


@pytest.fixture(scope="module")
def proven(tmp_path_factory, run_folder, sample):
    """A copy of the tiny run with bfloat16 proven; it may lose anything, since a toy's scores jump."""
    folder = tmp_path_factory.mktemp("proven") / "tiny"
    shutil.copytree(run_folder, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(precision.ALLOWED, "bfloat16", 1.0)
        prove(Run.open(folder), sample, "bfloat16")
    return folder


@pytest.fixture
def run(proven, tmp_path, monkeypatch):
    """A copy of it, to spoil."""
    monkeypatch.setitem(precision.ALLOWED, "bfloat16", 1.0)
    return shutil.copytree(proven, tmp_path / "run")


@pytest.fixture(scope="module")
def published(proven, tmp_path_factory):
    """It, published in bfloat16."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(precision.ALLOWED, "bfloat16", 1.0)
        return export_run(Run.open(proven), tmp_path_factory.mktemp("models"), precision="bfloat16")


@pytest.fixture
def version(published, tmp_path, monkeypatch):
    """A copy of that, to spoil."""
    monkeypatch.setitem(precision.ALLOWED, "bfloat16", 1.0)
    return shutil.copytree(published, tmp_path / "models" / "1")


def best_f1(probability, mask):
    """The highest F1 and its thresholds, by trying all of a thousand."""
    found = {}
    for threshold in np.arange(1001) / 1000:
        marked = probability >= np.float32(threshold)
        hit = (marked & (mask == 1)).sum()
        found[threshold] = 2 * hit / max(1, marked.sum() + (mask == 1).sum())
    best = max(found.values())
    return best, [threshold for threshold, f1 in found.items() if np.isclose(f1, best, atol=1e-9)]


def ece(probability, mask, bins=10):
    """Expected calibration error, from the probabilities themselves."""
    of_pixel = np.minimum((probability * bins).astype(int), bins - 1)
    parts = [of_pixel == i for i in range(bins) if (of_pixel == i).any()]
    return sum(abs(mask[part].mean() - probability[part].mean()) * part.mean() for part in parts)


def test_a_proof_says_what_is_computed(run, sample):
    proof = json.loads((run / "precision/bfloat16/proof.json").read_text())
    x, y = splits(sample, "valid")
    mask = y[..., 0].astype(int)
    for predictor, f1, error in (
        (load_predictor(run, precision="bfloat16"), "f1", "ece"),
        (load_predictor(run, precision="float32"), "f1_float32", "ece_float32"),
    ):
        found = predictor(x)[..., 0]
        best, thresholds = best_f1(found, mask)
        assert proof[f1] == pytest.approx(best, abs=1e-6)
        assert proof[error] == pytest.approx(ece(found, mask), abs=2e-3)
        if f1 == "f1":
            assert np.isclose(proof["threshold"], thresholds, atol=1e-9).any()
            assert predictor.card.threshold == proof["threshold"] and predictor.card.precision == "bfloat16"
    assert proof["valid"]["patches"] == len(x) and proof["made"] and proof["cpu"]
    assert proof["valid"]["sha256"] == Run.open(run).environment["data_fingerprint"]["valid"]["sha256"]


def test_without_a_proof_a_short_format_is_refused(run_folder, exported):
    for model in (run_folder, exported):
        with pytest.raises(
            LandslideError, match=r"bfloat16 is not proven.*tf-landslide prove RUN --data DIR --precision"
        ):
            load_predictor(model, precision="bfloat16")
    with pytest.raises(LandslideError, match="int8 is not proven"):
        export_run(Run.open(run_folder), "nowhere", precision="int8")


def spoilt(path, change):
    proof = json.loads(path.read_text())
    path.write_text(json.dumps(change(proof)))


def with_other_weights(run):
    with (run / formats.MODEL).open("ab") as file:
        file.write(b"!")


def with_another_graph(run):
    with (run / "precision/bfloat16/model.bin").open("r+b") as file:
        file.write(b"\x01\x02\x03\x04")


def without_a_graph(run):
    (run / "precision/bfloat16/model.bin").unlink()


def with_too_great_a_loss(run):
    spoilt(run / "precision/bfloat16/proof.json", lambda proof: proof | {"f1": 0.0, "f1_float32": 1.0})


def of_another_format(run):
    (run / "precision/bfloat16").rename(run / "precision/int8")


def with_a_proof_of_words(run):
    spoilt(run / "precision/bfloat16/proof.json", lambda proof: proof | {"threshold": "high"})


@pytest.mark.parametrize(
    ("spoil", "asked", "said"),
    [
        (with_other_weights, "bfloat16", "is of other weights"),
        (with_another_graph, "bfloat16", "another graph than was judged"),
        (without_a_graph, "bfloat16", "model.bin: is missing"),
        (with_too_great_a_loss, "bfloat16", "loses 1.0000 of F1"),
        (of_another_format, "int8", "is of bfloat16, not of int8"),
        (with_a_proof_of_words, "bfloat16", "threshold: input should be a valid number"),
    ],
)
def test_a_proof_that_does_not_hold_is_refused(run, monkeypatch, spoil, asked, said):
    monkeypatch.setitem(precision.ALLOWED, "bfloat16", 0.5)
    spoil(run)
    with pytest.raises(LandslideError, match=said):
        load_predictor(run, precision=asked)


def test_other_data_prove_nothing(run, copy):
    next((copy / "ValidData" / "img").glob("*.h5")).unlink()
    with pytest.raises(LandslideError, match=r"is not the data that .* was validated on"):
        prove(Run.open(run), copy, "bfloat16")


def test_an_export_is_computed_as_it_was_published(version, run, sample):
    x, _ = splits(sample, "valid")
    own, plain = load_predictor(version), load_predictor(version, precision="float32")
    assert own.card.precision == "bfloat16" and own.card.proof and plain.card.precision == "float32"
    np.testing.assert_array_equal(own(x), load_predictor(run, precision="bfloat16")(x))
    np.testing.assert_allclose(plain(x), load_predictor(version, runtime="tensorflow")(x), atol=1e-5)
    assert own.backend.fingerprint() != plain.backend.fingerprint()  # a stopped map does not go on with the other
    assert "precision: bfloat16" in own.card.markdown() and "precision" not in plain.card.as_dict()
    with (version / formats.VARIABLES / "variables.index").open("ab") as file:
        file.write(b"!")
    with pytest.raises(LandslideError, match="is of other weights"):
        load_predictor(version, precision="bfloat16")


def test_a_cpu_without_the_instructions_computes_in_float32(version, monkeypatch):
    monkeypatch.setattr(precision, "instructions", lambda: ("avx2", "avx512f"))
    with pytest.warns(
        UserWarning, match=r"was published in bfloat16, is computed in float32: this CPU has none of the"
    ):
        assert load_predictor(version).card.precision == "float32"
    with pytest.raises(LandslideError, match="none of the instructions that bfloat16 needs"):
        load_predictor(version, precision="bfloat16")


def test_where_openvino_cannot_run_it_an_export_computes_in_float32(version, monkeypatch):
    from tf_landslide.predict.backends import openvino

    def cannot(*_):
        raise openvino.Unfit("an operation of a later version")

    monkeypatch.setattr(openvino, "of_graph", cannot)
    with pytest.warns(UserWarning, match=r"cannot run it: an operation of a later version; float32 is taken"):
        assert load_predictor(version).card.precision == "float32"
    with pytest.raises(LandslideError, match="cannot run it: an operation of a later version"):
        load_predictor(version, precision="bfloat16")


def test_what_loses_too_much_is_not_kept_nor_is_an_earlier_proof(run, sample, monkeypatch):
    monkeypatch.setitem(precision.ALLOWED, "bfloat16", -1.0)
    with pytest.raises(LandslideError, match=r"bfloat16 loses .* of F1 on validation .*keep float32"):
        prove(Run.open(run), sample, "bfloat16")
    with pytest.raises(LandslideError, match="bfloat16 is not proven"):
        load_predictor(run, precision="bfloat16")
    assert not [*(run / "precision").iterdir()]


def test_another_openvino_than_the_proof_s_is_told(run):
    spoilt(run / "precision/bfloat16/proof.json", lambda proof: proof | {"versions": {"openvino": "2020.1"}})
    with pytest.warns(LandslideWarning, match=r"proven with OpenVINO 2020\.1, this is .*; prove it anew"):
        load_predictor(run, precision="bfloat16")


def test_what_openvino_cannot_take_is_told_in_a_line(run, sample, monkeypatch):
    def refused(_):
        raise RuntimeError("Check 'false' failed at src/x.cpp:1:\nno such operation")

    monkeypatch.setattr("tf_landslide.predict.backends.openvino_graph.read_saved_model", refused)
    with pytest.raises(LandslideError, match=r"OpenVINO cannot run it: [^\n]*$"):
        prove(Run.open(run), sample, "bfloat16")


def test_a_graph_that_openvino_cannot_read_is_told_without_the_temporary_folder(run, sample, monkeypatch):
    def damaged(_, folder):
        (folder / formats.GRAPH).write_text("no graph")

    monkeypatch.setattr("tf_landslide.predict.backends.openvino_graph.write_graph", damaged)
    with pytest.raises(LandslideError, match=r"OpenVINO cannot run it: [^\n]*$") as refused:
        prove(Run.open(run), sample, "bfloat16")
    assert "partial" not in str(refused.value)


def changed(run, **values):
    """The run with other values in its config and its environment."""
    path = run / "config.yaml"
    path.write_text(path.read_text().replace("threshold: null", f"threshold: {values['threshold']}", 1))
    path = run / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values["environment"]))


def test_a_threshold_that_came_with_the_model_is_kept(run, sample):
    changed(
        run, threshold=0.25, environment={"converted_from": {"file": "m.pth", "sha256": "0"}, "data_fingerprint": {}}
    )
    proof = prove(Run.open(run), sample, "bfloat16")
    assert proof.threshold == 0.25 == load_predictor(run, precision="bfloat16").card.threshold
    x, y = splits(sample, "valid")
    for f1, name in ((proof.f1, "bfloat16"), (proof.f1_float32, "float32")):
        marked, mask = load_predictor(run, precision=name)(x)[..., 0] >= 0.25, y[..., 0] == 1
        assert f1 == pytest.approx(2 * (marked & mask).sum() / (marked.sum() + mask.sum()))


def test_members_that_left_out_other_patches_prove_nothing(run, sample):
    members = [{"run": name, "sha256": "0", "threshold": 0.5, "architecture": "unet"} for name in "ab"]
    derived = {"members": members, "threshold_from": "the mean of the members' own"}
    changed(run, threshold=0.5, environment={"combined_from": derived})
    with pytest.raises(LandslideError, match="was combined without --data"):
        prove(Run.open(run), sample, "bfloat16")


def test_members_that_left_out_the_same_patches_are_proven_at_the_threshold_that_was_given(run, sample):
    members = [{"run": name, "sha256": "0", "threshold": 0.5, "architecture": "unet"} for name in "ab"]
    derived = {"members": members, "threshold_from": "given", "validation": {"f1": {"none": 0.5}}}
    changed(run, threshold=0.25, environment={"combined_from": derived})
    assert prove(Run.open(run), sample, "bfloat16").threshold == 0.25


@pytest.mark.long
def test_validation_that_is_a_part_of_train_is_that_of_the_run(run, copy, config_file):
    """Where the dataset has a validation split of its own too, as for folds."""
    patterns = ["data.groups.pattern=([0-9]+)", 'data.valid_groups=["1","2","3"]']
    config = load_config(config_file, patterns)
    (run / "config.yaml").write_text(config.to_yaml())
    path = run / "environment.json"
    environment = json.loads(path.read_text())
    assert environment["data_fingerprint"]["train"] != environment["data_fingerprint"]["valid"]
    proof = prove(Run.open(run), copy, "bfloat16")
    assert proof.valid == {"patches": 3, "sha256": environment["data_fingerprint"]["train"]["sha256"]}


@pytest.mark.skipif("avx512_bf16" not in instructions(), reason="this CPU has no bfloat16")
def test_bfloat16_is_computed_in_bfloat16(run, sample):
    x, _ = splits(sample, "valid")
    short = load_predictor(run, precision="bfloat16")
    hints = {
        compiled.get_property("INFERENCE_PRECISION_HINT").to_string() for compiled in short.backend._compiled.values()
    }
    assert hints == {"bf16"}
    assert 1e-5 < np.abs(short(x) - load_predictor(run, precision="float32")(x)).max() < 0.1


@pytest.mark.parametrize("policy", ["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.long)])
def test_what_was_trained_in_half_is_computed_and_exported_in_float32(policy, tmp_path):
    import keras

    from tf_landslide.models.build import build_model
    from tf_landslide.predict.backends.keras import load_keras_model
    from tf_landslide.predict.backends.openvino import of_saved_model
    from tf_landslide.predict.export import save_model

    options = {"channels": 6, "width": 4, "depth": 2, "batch_norm": True}
    model = build_model("plain_unet", precision=policy, **options)
    model.save(tmp_path / "m.keras")
    x = np.random.default_rng(0).normal(size=(2, 32, 64, 6)).astype(np.float32)
    plain = build_model("plain_unet", precision="float32", **options)
    plain.set_weights(model.get_weights())
    loaded = load_keras_model(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded(x, training=False), plain(x, training=False), atol=1e-6)
    assert np.abs(np.asarray(model(x, training=False)) - np.asarray(plain(x, training=False))).max() > 1e-5
    assert keras.saving.load_model(tmp_path / "m.keras").get_layer("logits").compute_dtype == "float32"
    save_model(loaded, CARD, tmp_path / "export")
    of_saved_model(tmp_path / "export")  # refuses what differs by 1e-4


def test_what_cannot_be_is_refused_in_a_line(run, sample, tmp_path, capsys):
    patch = str(next((sample / "TestData" / "img").glob("*.h5")))
    out = ["--out", str(tmp_path / "out")]
    for words, said in (
        (["predict", str(run), patch, *out, "--precision", "half"], "unknown precision 'half'"),
        (["predict", "grpc://localhost:1/m", patch, *out, "--precision", "int8"], "chooses itself"),
        (
            ["predict", str(run), patch, *out, "--precision", "bfloat16", "--runtime", "tensorflow"],
            "leave out --runtime",
        ),
        (
            ["predict", str(run), patch, *out, "--precision", "bfloat16", "--uncertainty"],
            "leave out --precision bfloat16",
        ),
        (["predict", str(run), patch, *out, "--runtime", "openvino", "--uncertainty"], "leave out --runtime openvino"),
        (
            ["evaluate", str(run), "--data", str(sample), "--precision", "bfloat16", "--uncertainty"],
            "leave out --precision",
        ),
        (["prove", str(run), "--data", str(sample), "--precision", "float32"], "unknown short format"),
        (["evaluate", str(run), "--data", str(sample), "--precision", "int8"], "int8 is not proven"),
    ):
        assert main(words) == 2
        assert said in capsys.readouterr().err.strip().splitlines()[-1]


def test_evaluate_judges_by_the_threshold_of_the_format(run, sample, tmp_path, capsys):
    words = ["evaluate", str(run), "--data", str(sample), "--split", "valid", "--precision", "bfloat16", "--json"]
    assert main([*words, "--out", str(tmp_path / "report")]) == 0
    scores, proof = json.loads(capsys.readouterr().out), json.loads((run / "precision/bfloat16/proof.json").read_text())
    assert scores["computed_in"] == "bfloat16" and scores["threshold"] == proof["threshold"]
    assert scores["f1"] == pytest.approx(proof["f1"]) and "bfloat16" in (tmp_path / "report/report.md").read_text()


@pytest.mark.long
def test_patches_of_any_size_give_ranges(run, tmp_path, monkeypatch):
    pytest.importorskip("nncf", reason="NNCF is optional: pip install 'tf-landslide[int8]'")
    given = {}

    def kept(graph, channels):
        given["shape"] = channels.shape
        return graph

    monkeypatch.setattr("tf_landslide.predict.backends.quantized.quantized", kept)
    monkeypatch.setitem(precision.ALLOWED, "int8", 1.0)
    (run / "config.yaml").write_text((run / "config.yaml").read_text().replace("pad: false", "pad: true"))
    odd = of_another_size(tmp_path, 50)
    path = run / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"data_fingerprint": {}}))
    prove(Run.open(run), odd, "int8")
    assert given["shape"] == (2, 64, 64, 6)


def of_another_size(folder, side):
    """A dataset of small patches."""
    from tf_landslide.data.synthetic import write_sample

    whole, small = folder / "whole", folder / "small"
    write_sample(whole, train=2, valid=2, test=1, seed=1)
    for file in whole.rglob("*.h5"):
        to = small / file.relative_to(whole)
        to.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(file) as before, h5py.File(to, "w") as after:
            for name, values in before.items():
                after[name] = values[:side, :side]
                after[name].attrs.update(values.attrs)
    return small


def test_int8_is_near_float32_but_for_the_normalisation(run, sample, monkeypatch):
    pytest.importorskip("nncf", reason="NNCF is optional: pip install 'tf-landslide[int8]'")
    monkeypatch.setitem(precision.ALLOWED, "int8", 1.0)
    proof = prove(Run.open(run), sample, "int8")
    assert proof.calibration["patches"] == 10
    x, _ = splits(sample, "test")
    found, expected = (load_predictor(run, precision=name)(x) for name in ("int8", "float32"))
    assert 0 < np.abs(found - expected).mean() < 0.02
    graph = openvino.Core().read_model(run / "precision/int8/model.xml")
    nodes = {node.get_type_name(): node for node in graph.get_ordered_ops()}
    assert "FakeQuantize" in nodes
    before = nodes["Select"].input_value(1).get_node()
    while before.get_type_name() != "Parameter":  # physical units are not quantised
        assert before.get_type_name() != "FakeQuantize"
        before = before.input_value(0).get_node()


def separable(kind):
    """A depthwise convolution of maps computed with their channels last, as DeepLabV3+ and SegFormer have them."""
    import keras
    from keras import layers

    from tf_landslide.models.layers.norm import ChannelNormalization
    from tf_landslide.models.layers.resize import AlignedUpsampling

    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 6), name="channels")
    first = layers.Conv2D(8, 3, padding="same", activation="relu")(ChannelNormalization(name="normalization")(inputs))
    if kind == "upsampled":
        x = layers.Concatenate()([AlignedUpsampling(2)(layers.MaxPooling2D(2)(first)), first])
    else:
        x = layers.Dense(16)(first)
    x = layers.Conv2D(8, 1, activation="relu")(layers.DepthwiseConv2D(3, padding="same")(x))
    return keras.Model(inputs, layers.Conv2D(1, 1, activation="sigmoid", name="probability")(x))


@pytest.mark.parametrize("kind", ["upsampled", "dense"])
def test_int8_takes_depthwise_convolutions_of_any_maps_and_images_of_any_size(tmp_path, kind):
    pytest.importorskip("nncf", reason="NNCF is optional: pip install 'tf-landslide[int8]'")
    from tf_landslide.predict.backends.openvino_graph import read_saved_model
    from tf_landslide.predict.backends.quantized import quantized
    from tf_landslide.predict.export import save_model

    model = separable(kind)
    save_model(model, CARD, tmp_path)
    x = np.random.default_rng(0).normal(size=(3, 64, 64, 6)).astype(np.float32)
    short = openvino.Core().compile_model(quantized(read_saved_model(tmp_path), x), "CPU")
    for images in (x, x[:1, :32]):
        np.testing.assert_allclose(short(images)[0], np.asarray(model(images, training=False)), atol=0.05)
