from pathlib import Path

import pytest
import yaml

from tf_landslide.core.errors import LandslideError
from tf_landslide.models.build import ARCHITECTURES
from tf_landslide.models.encoders import ENCODERS
from tf_landslide.models.options import check_options
from tf_landslide.runs.config import Config, load_config
from tf_landslide.runs.folder import Run

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
    assert len(config.data.recipe.channel_names) == (14 if path.stem == "unet_mit_b1" else 6)


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
        ("loss: {name: focal}", [], "loss.name: input should be 'bce', 'dice' or 'bce_dice', found 'focal'"),
        ("training: 3", [], "training: expected a section with keys of its own, found 3"),
        ("name: [a", [], "is not valid YAML in line 1"),
        ("- a\n- b", [], "expected keys and values, found list"),
        ("base: nowhere.yaml", [], "nowhere.yaml: no such config"),
        ("base: c.yaml", [], "is its own base"),
        ("name: a/b", [], "name: string should match pattern"),
        ("training: {seed: 4294967296}", [], "training.seed: input should be less than"),
        ("{}", ["training.epochs"], "expected key=value"),
        ("{}", ["training.epohs=3"], "did you mean 'epochs'"),
        ("{}", ["training.epochs=[3"], "is not a YAML value"),
    ],
)
def test_mistakes_are_one_clear_line(write, text, overrides, said):
    with pytest.raises(LandslideError) as error:
        load_config(write(text), overrides)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_missing_config_is_refused(tmp_path):
    with pytest.raises(LandslideError, match="no such config"):
        load_config(tmp_path / "none.yaml")
