from pathlib import Path

import pytest
import yaml

from tf_landslide.core.errors import LandslideError
from tf_landslide.models.build import ARCHITECTURES
from tf_landslide.models.encoders import ENCODERS
from tf_landslide.models.options import check_options
from tf_landslide.runs.config import load_config
from tf_landslide.runs.folder import Run
from tf_landslide.runs.sections import Config

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.fixture
def write(tmp_path):
    def write(text, name="c.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_are_valid_and_name_models_that_exist(path):
    config = load_config(path)
    if path.stem == "base":
        return
    assert config.name == path.stem
    assert config.model.architecture in ARCHITECTURES
    check_options(ARCHITECTURES[config.model.architecture].features, config.model.options, path.stem)
    assert config.model.encoder is None or config.model.encoder in ENCODERS
    channels = {"unet_mit_b1": 14, "paper_recipe": 14, "bijie_unet_resnet34": 3}.get(path.stem, 6)
    assert len(config.data.recipe.channel_names) == channels


@pytest.mark.parametrize("text", ["- 1", "3"])
def test_a_run_whose_config_is_no_mapping_is_told_so(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(LandslideError, match=r"config\.yaml: the config: expected a section with keys of its own"):
        Run.open(tmp_path)


def test_a_base_is_overridden_key_by_key_and_the_command_line_wins(write):
    write("training: {epochs: 7, batch_size: 3}\nloss: {name: dice}", "base.yaml")
    path = write("base: base.yaml\ntraining: {epochs: 9}")
    config = load_config(path, ["training.seed=5", "data.channels=[red, slope]", "model.options.width=8"])
    assert (config.training.epochs, config.training.batch_size, config.training.seed) == (9, 3, 5)
    assert config.loss.name == "dice" and config.data.channels == ["red", "slope"]
    assert config.model.options == {"width": 8}


def test_options_add_up_but_not_over_another_architecture(write):
    path = write("model: {architecture: plain_unet, encoder: null, options: {width: 64, depth: 4}}")
    assert load_config(path, ["model.options.width=8"]).model.options == {"width": 8, "depth": 4}
    assert load_config(path, ["model.architecture=unet", "model.options.context=ppm"]).model.options == {
        "context": "ppm"
    }


@pytest.mark.parametrize("reverse", [False, True])
def test_the_order_of_settings_never_matters(write, reverse):
    path = write("model: {options: {context: ppm}}")
    settings = ["model.options.width=8", "model.architecture=plain_unet", "model.options={depth: 3}", "model.encoder="]
    config = load_config(path, settings[::-1] if reverse else settings)
    assert config.model.options == {"width": 8, "depth": 3} and config.model.encoder is None


def test_options_are_dropped_only_for_another_architecture(write):
    write("model: {options: {context: ppm}}", "base.yaml")
    restated = write("base: base.yaml\nmodel: {architecture: unet}")
    assert load_config(restated).model.options == {"context": "ppm"}
    assert load_config(restated, ["model.architecture=unet"]).model.options == {"context": "ppm"}
    another = write("base: base.yaml\nmodel: {architecture: segformer}")
    assert load_config(another).model.options == {}
    back = write("base: c.yaml\nmodel: {options: {dropout: 0.2}}", "d.yaml")
    assert load_config(back, ["model.architecture=segformer"]).model.options == {"dropout": 0.2}


def test_a_key_that_only_looks_like_a_model_s_loses_nothing(write):
    path = write("data: {median: {size: 3}}\nmodel: {architecture: plain_unet, encoder: null, options: {width: 4}}")
    assert load_config(path, ["data.median.bands=[red]"]).model.options == {"width": 4}


def test_numbers_may_be_written_with_exponents_and_without_points(write):
    training = load_config(write("training: {learning_rate: 1e-3, warmup_epochs: 1}")).training
    assert (training.learning_rate, training.warmup_epochs) == (1e-3, 1.0)


def test_the_resolved_config_reads_back_the_same(write):
    config = load_config(write("name: x\ntraining: {epochs: 3, ema: 0.9}"))
    assert Config.model_validate(yaml.safe_load(config.to_yaml())) == config


@pytest.mark.parametrize(
    ("text", "overrides", "said"),
    [
        ("trainng: {}", [], "unknown key in the config 'trainng'; did you mean 'training'"),
        ("training: {epoch: 3}", [], "unknown key in training 'epoch'; did you mean 'epochs'"),
        ("data: {median: {sise: 3}}", [], "unknown key in data.median 'sise'; did you mean 'size'"),
        ("training: {epochs: 0}", [], "training.epochs: input should be greater than or equal to 1, found 0"),
        ("training: {epochs: many}", [], "training.epochs: input should be a valid integer"),
        ("training: {epochs: true}", [], "training.epochs: input should be a valid integer, found True"),
        ("training: {epochs: '3'}", [], "training.epochs: input should be a valid integer"),
        ("training: {early_stopping: true}", [], "training.early_stopping: input should be a valid integer"),
        ("training: {seed: false}", [], "training.seed: input should be a valid integer"),
        ("training: {learning_rate: true}", [], "training.learning_rate: input should be a valid number"),
        ("training: {learning_rate: .inf}", [], "training.learning_rate: input should be a finite number, found inf"),
        ("training: {warmup_epochs: .nan}", [], "training.warmup_epochs: input should be"),
        ("loss: {positive_weight: .inf}", [], "loss.positive_weight: input should be a finite number"),
        ("data: {augment: 1}", [], "data.augment: input should be a valid boolean"),
        ("name: 3", [], "name: input should be a valid string"),
        ("training: {epochs: 3}\ntraining: {seed: 1}", [], "line 2: gives 'training' twice"),
        ("training: {epochs: 3, epochs: 4}", [], "gives 'epochs' twice"),
        ("loss: {name: dice, positive_weight: 3.0}", [], "loss: positive_weight 3.0 weighs a cross-entropy"),
        ("loss: {name: bce, cross_entropy_weight: 5.0}", [], "loss: cross_entropy_weight 5.0 weighs the cross-entropy"),
        ("training: {schedule: step, warmup_epochs: 1}", [], "training: schedule step has no warm-up"),
        ("threshold: 1.5", [], "threshold: input should be less than or equal to 1"),
        ("loss: {name: bce, alpha: 0.3}", [], "loss: alpha 0.3 is the share of Dice"),
        ("training: {epochs: 3, warmup_epochs: 4}", [], "warmup_epochs 4 is longer than the run, of 3 epochs"),
        ("data: {median: {size: 4}}", [], "data.median.size: a median filter's window has an odd side, found 4"),
        ("data: {median: {size: 3, bands: []}}", [], "data.median.bands: list should have at least 1 item"),
        ("data: {valid_share: 1.0}", [], "data.valid_share: input should be less than 1"),
        ("training: {precision: float16}", [], "training.precision: input should be 'float32', 'mixed_float16' or"),
        ("description: 2024-02-30", [], "day is out of range"),
        ("3", [], "expected keys and values, found int"),
        ("model: {options: [1]}", [], "model.options: expected a section"),
        ("loss: {name: focal}", [], "loss.name: input should be 'bce', 'dice' or 'bce_dice', found 'focal'"),
        ("training: 3", [], "training: expected a section with keys of its own, found 3"),
        ("name: [a", [], "is not valid YAML in line 1"),
        ("- a\n- b", [], "expected keys and values, found list"),
        ("base: nowhere.yaml", [], "nowhere.yaml: no such config"),
        ("base: c.yaml", [], "is its own base"),
        ("name: a/b", [], "name: string should match pattern"),
        ("training: {seed: 4294967296}", [], "training.seed: input should be less than"),
        ("{}", ["training.epochs"], "expected key=value"),
        ("{}", ["training.epochs=3", "training.epochs=4"], "was given before, as 3; give it once"),
        ("{}", ["model.options=3", "model.options.width=4"], "was given before"),
        ("{}", ["training.epohs=3"], "did you mean 'epochs'"),
        ("{}", ["training.epochs=[3"], "is not valid YAML"),
    ],
)
def test_mistakes_are_one_clear_line(write, text, overrides, said):
    with pytest.raises(LandslideError) as error:
        load_config(write(text), overrides)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_missing_config_is_refused(tmp_path):
    with pytest.raises(LandslideError, match="no such config"):
        load_config(tmp_path / "none.yaml")
