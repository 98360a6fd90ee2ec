import keras
import pytest

from tests.conftest import ROOT
from tf_landslide.catalogue import PAPER_MODELS, build_catalogue, load_catalogue
from tf_landslide.models import ARCHITECTURES, ENCODERS, build_model
from tf_landslide.models.complexity import multiply_adds
from tf_landslide.models.encoders.mix_transformer import EfficientAttention
from tf_landslide.models.layers import GroupedConv2D
from tf_landslide.training.config import load_config


def test_multiply_adds_by_hand():
    inputs = keras.Input((None, None, 4))
    x = keras.layers.Conv2D(8, 3, padding="same")(inputs)  # 16 * 16 * 9 * 4 * 8
    x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same")(x)  # 8 * 8 * 9 * 8
    inner_inputs = keras.Input((None, None, 8))
    inner = keras.Model(inner_inputs, GroupedConv2D(16, 3, 4, padding="same")(inner_inputs))  # 8 * 8 * 9 * 2 * 16
    x = inner(x)
    x = EfficientAttention(2, 2)(x)  # 4 dense of 16 x 16, on 64, 16, 16 and 64 pixels; reduce; two products
    attention = 16 * 16 * (64 + 16 + 16 + 64) + 16 * (2 * 2 * 16 * 16) + 2 * 64 * 16 * 16
    x = keras.layers.Conv2DTranspose(4, 2, strides=2)(x)  # 8 * 8 * 2 * 2 * 16 * 4
    model = keras.Model(inputs, keras.layers.Dense(1)(x))  # 16 * 16 * 4
    expected = 16 * 16 * 9 * 4 * 8 + 8 * 8 * 9 * 8 + 8 * 8 * 9 * 2 * 16 + attention + 8 * 8 * 4 * 16 * 4 + 16 * 16 * 4
    assert multiply_adds(model, 16, 16) == expected


@pytest.mark.parametrize("name", ["unet_resnet34", "unet_mobilenetv2", "unet_mit_b1", "unet"])
def test_the_committed_table_is_what_is_built(name):
    architecture, encoder, options = PAPER_MODELS[name]
    model = build_model(architecture, encoder, channels=6, **options)
    (row,) = [row for row in load_catalogue()["models"] if row["name"] == name]
    assert (row["parameters"], row["multiply_adds"]) == (model.count_params(), multiply_adds(model))


def test_the_table_lists_all_there_is():
    catalogue = load_catalogue()
    assert [row["name"] for row in catalogue["architectures"]] == list(ARCHITECTURES)
    assert [row["name"] for row in catalogue["encoders"]] == list(ENCODERS)
    assert [row["name"] for row in catalogue["models"]] == list(PAPER_MODELS)


@pytest.mark.full
def test_the_whole_committed_table_is_what_is_built():
    assert build_catalogue() == load_catalogue()


@pytest.mark.parametrize("name", PAPER_MODELS)
def test_each_of_the_papers_models_has_its_config(name):
    model = load_config(ROOT / "configs" / f"{name}.yaml").model
    assert (model.architecture, model.encoder, model.options) == PAPER_MODELS[name]
