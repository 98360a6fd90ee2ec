import json
from pathlib import Path

import pytest
import yaml

from tf_landslide.core.errors import LandslideError
from tf_landslide.models.build import ARCHITECTURES
from tf_landslide.models.encoders import ENCODERS
from tf_landslide.models.options import check_options
from tf_landslide.runs.config import check_config, load_config
from tf_landslide.runs.folder import Run
from tf_landslide.runs.sections import Config
from tf_landslide.runs.sections.loss import (
    LOSS_CONFIGS,
    BCEConfig,
    BCEDiceConfig,
    FocalConfig,
    FocalTerm,
    LovaszTerm,
    SumConfig,
    TverskyConfig,
    loss_settings,
    loss_text,
)
from tf_landslide.training.losses import LOSSES, get_loss

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


def test_another_loss_drops_the_settings_of_the_one_before(write):
    write("loss: {alpha: 0.4, positive_weight: 3}", "base.yaml")  # of bce_dice, the default
    path = write("base: base.yaml\nloss: {cross_entropy_weight: 5}")
    assert load_config(path).loss == BCEDiceConfig(alpha=0.4, positive_weight=3, cross_entropy_weight=5)
    assert load_config(path, ["loss.name=bce_dice"]).loss.alpha == 0.4
    assert load_config(path, ["loss.alpha=0.2", "loss.name=tversky"]).loss == TverskyConfig(alpha=0.2)
    terms = "loss.terms=[{name: focal, weight: 0.7, gamma: 2}, {name: lovasz, weight: 0.3}]"
    loss = load_config(path, [terms, "loss.name=sum"]).loss
    assert loss == SumConfig(terms=[FocalTerm(weight=0.7, gamma=2.0), LovaszTerm(weight=0.3)])
    focal = write("base: c.yaml\nloss: {name: focal, gamma: 3}", "d.yaml")
    assert load_config(focal, ["loss.alpha="]).loss == FocalConfig(gamma=3, alpha=None)
    assert load_config(focal, ["loss.name=bce", "loss.positive_weight=balanced"]).loss.positive_weight == "balanced"
    assert load_config("unet").loss == BCEConfig()


@pytest.mark.parametrize("name", LOSS_CONFIGS)
def test_every_loss_of_a_config_is_built_with_its_settings(write, name):
    terms = ", terms: [{name: bce_dice, weight: 3}, {name: boundary, size: 5}]" if name == "sum" else ""
    config = load_config(write(f"loss: {{name: {name}{terms}}}"))
    assert config == check_config(yaml.safe_load(config.to_yaml()), "again")
    loss = get_loss(**loss_settings(config.loss))
    assert type(loss) is LOSSES[name]
    if name == "sum":
        assert [type(part).__name__ for part in loss.losses] == ["BCEDice", "Boundary"] and loss.weights == [3, 1]
        assert loss.losses[1].size == 5
    else:
        settings = config.loss.model_dump(exclude={"name"})
        assert settings == {key: getattr(loss, key) for key in loss.settings}
        assert settings == {key: getattr(LOSSES[name](), key) for key in loss.settings}  # the same defaults


def test_the_losses_of_a_config_are_those_there_are():
    assert list(LOSS_CONFIGS) == list(LOSSES)


@pytest.mark.parametrize("name", ["bce", "dice"])
def test_a_config_of_the_time_of_one_loss_section_is_read(write, name):
    """Run folders hold it: every loss with all settings, those without effect at their defaults."""
    text = f"loss: {{name: {name}, alpha: 0.5, positive_weight: 1.0, cross_entropy_weight: 1.0}}"
    assert load_config(write(text)).loss == LOSS_CONFIGS[name]()


def test_a_loss_is_told_on_one_line(write):
    def text(settings, balanced=None):
        return loss_text(load_config(write(f"loss: {settings}")).loss, balanced)

    assert text("{}") == "bce_dice, alpha 0.5, positive_weight 1.0, cross_entropy_weight 1.0"
    assert text("{name: bce, positive_weight: balanced}", 41.267) == "bce, positive_weight balanced (41.27)"
    assert text("{name: sum, terms: [{name: focal, weight: 0.7}, {name: bce, positive_weight: balanced}]}", 8.0) == (
        "0.7 * (focal, gamma 2.0, alpha 0.25) + 1 * (bce, positive_weight balanced (8))"
    )


def test_a_key_that_only_looks_like_a_model_s_loses_nothing(write):
    path = write("data: {median: {size: 3}}\nmodel: {architecture: plain_unet, encoder: null, options: {width: 4}}")
    assert load_config(path, ["data.median.bands=[red]"]).model.options == {"width": 4}


def test_numbers_may_be_written_with_exponents_and_without_points(write):
    training = load_config(write("training: {learning_rate: 1e-3, warmup_epochs: 1}")).training
    assert (training.learning_rate, training.warmup_epochs) == (1e-3, 1.0)


def test_the_resolved_config_reads_back_the_same(write):
    config = load_config(write("name: x\ntraining: {epochs: 3, ema: 0.9}"))
    assert Config.model_validate(yaml.safe_load(config.to_yaml())) == config


def test_augmentation_is_off_unless_asked_for_and_strengths_are_those_of_the_pipeline(write):
    from tf_landslide.data.augment.settings import PARTS, Augmentation

    settings = load_config(write("{}")).data.augmentation.settings
    assert settings == Augmentation() and not settings.on
    path = write("data: {augmentation: {haze: {probability: 0.3}, dropout: {probability: 1, strength: 2}}}")
    settings = load_config(path, ["data.augmentation.haze.strength=0.01"]).data.augmentation.settings
    assert settings.on == ("haze", "dropout") and settings.haze.strength == 0.01 and settings.dropout.strength == 2
    assert len(PARTS) == 11


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
        (
            "loss: {name: dice, positive_weight: 3.0}",
            [],
            "loss: 'positive_weight' is a setting of bce, bce_dice, and not of 'dice'; leave it out",
        ),
        (
            "loss: {name: bce, cross_entropy_weight: 5.0}",
            [],
            "'cross_entropy_weight' is a setting of bce_dice, and not",
        ),
        ("loss: {name: focal, gama: 3}", [], "unknown key in loss 'gama'; did you mean 'gamma'"),
        ("loss: {name: focall}", [], "loss.name: unknown name 'focall'; did you mean 'focal'"),
        ("loss: {name: 3}", [], "loss.name: unknown name '3'; known: bce, bce_dice, boundary"),
        ("loss: 3", [], "loss: expected a section with keys of its own, found 3"),
        (
            "loss: {positive_weight: 0}",
            [],
            "loss.positive_weight: input should be greater than 0 or 'balanced', found 0",
        ),
        ("loss: {positive_weight: even}", [], "loss.positive_weight: input should be a valid number or 'balanced'"),
        ("loss: {name: tversky, alpha: 0, beta: 0}", [], "loss: alpha and beta are both 0"),
        ("loss: {name: boundary, size: 4}", [], "loss.size: a window has an odd side, found 4"),
        ("loss: {name: sum}", [], "loss.terms: is missing"),
        ("loss: {name: sum, terms: []}", [], "loss.terms: list should have at least 1 item"),
        ("loss: {name: sum, terms: [{weight: 1}]}", [], "loss.terms.0: has no name; known: bce, bce_dice, boundary"),
        ("loss: {name: sum, terms: [{name: dice}, {name: focal, gama: 1}]}", [], "key in loss.terms.1 'gama'; did you"),
        ("loss: {name: sum, terms: [{name: focal, weight: 0}]}", [], "loss.terms.0.weight: input should be greater"),
        ("loss: {name: sum, terms: [{name: sum}]}", [], "loss.terms.0.name: unknown name 'sum'; known: bce"),
        ("loss: {name: focal, weight: 2}", [], "unknown key in loss 'weight'"),
        ("loss: {name: dice}", ["loss.alpha=0.3"], "loss: 'alpha' is a setting of bce_dice, tversky, focal, and not"),
        ("data: {mining: {share: 1}}", [], "data.mining.share: input should be less than 1, found 1"),
        ("data: {channels: 3}", [], "data.channels: input should be a valid string or a valid list, found 3"),
        ("training: {schedule: step, warmup_epochs: 1}", [], "training: schedule step has no warm-up"),
        ("training: {accumulate: 0}", [], "training.accumulate: input should be greater than or equal to 1"),
        ("training: {images: 2, trackers: []}", [], "training: images 2 are shown by trackers, and there are none"),
        ("training: {trackers: [tensorbord]}", [], "training.trackers.0: input should be 'tensorboard', 'wandb' or"),
        (
            "training: {accumulate: 2, strategy: mirrored}",
            [],
            "training: accumulate is for one device, and strategy is 'mirrored'; leave one of the two out",
        ),
        (
            "training: {gradient_checkpointing: true, strategy: mirrored}",
            [],
            "training: gradient_checkpointing is for one device, and strategy is 'mirrored'; leave one of the two out",
        ),
        ("training: {clip_norm: 0}", [], "training.clip_norm: input should be greater than 0"),
        ("training: {layer_decay: 1.5}", [], "training.layer_decay: input should be less than or equal to 1"),
        (
            "training: {freeze_encoder: 1}\nmodel: {architecture: plain_unet, encoder: null}",
            [],
            "training.freeze_encoder is for a model with an encoder, and 'plain_unet' has none; leave it out",
        ),
        ("threshold: 1.5", [], "threshold: input should be less than or equal to 1"),
        ("training: {epochs: 3, warmup_epochs: 4}", [], "warmup_epochs 4 is longer than the run, of 3 epochs"),
        ("data: {median: {size: 4}}", [], "data.median.size: a median filter's window has an odd side, found 4"),
        ("data: {median: {size: 17}}", [], "data.median.size: input should be less than or equal to 15"),
        ("data: {median: {size: 3, bands: []}}", [], "data.median.bands: list should have at least 1 item"),
        (
            "data: {augmentation: {haze: {strenth: 1}}}",
            [],
            "unknown key in data.augmentation.haze 'strenth'; did you mean 'strength'",
        ),
        (
            "data: {augmentation: {mixup: {probability: 1}}}\nloss: {name: sum, terms: [{name: bce}, {name: lovasz}]}",
            [],
            "data.augmentation.mixup makes soft masks, and loss 'lovasz' is of masks of 0 and 1; take cutmix",
        ),
        ("data: {augmentation: {fog: {}}}", [], "unknown key in data.augmentation 'fog'"),
        (
            "data: {augmentation: {mixup: {probability: 2}}}",
            [],
            "mixup.probability: input should be less than or equal",
        ),
        (
            "data: {augmentation: {elastic: {strength: 5}}}",
            [],
            "data.augmentation.elastic: strength 5 folds the ground",
        ),
        ("data: {augmentation: {radar: {probability: 1}}}", [], "data: augmentation.radar: none of the bands that the"),
        ("data: {valid_share: 1.0}", [], "data.valid_share: input should be less than 1"),
        ("training: {precision: float16}", [], "training.precision: input should be 'float32', 'mixed_float16' or"),
        ("description: 2024-02-30", [], "day is out of range"),
        ("3", [], "expected keys and values, found int"),
        ("model: {options: [1]}", [], "model.options: expected a section"),
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


@pytest.mark.parametrize("named", ["x" * 300, "a\0b", "\ud800"], ids=["long", "zero", "half"])
@pytest.mark.parametrize("key", ["base", "layout", "groups"])
def test_a_config_may_name_what_no_file_can_be_called(write, key, named):
    values = {"base": {"base": named}, "layout": {"data": {"layout": f"{named}.yaml"}}}
    path = write(json.dumps(values.get(key, {"data": {"groups": {"file": named}}})))
    if key == "groups":
        load_config(path)  # it is looked for among the data
        return
    with pytest.raises(LandslideError, match=r"cannot be read|no such") as error:
        load_config(path)
    assert str(error.value).isprintable()
