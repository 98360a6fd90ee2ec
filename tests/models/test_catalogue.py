import keras
import pytest

from tf_landslide.jobs.catalogue import build_catalogue, build_paper_model, paper_models
from tf_landslide.models.build import ARCHITECTURES
from tf_landslide.models.catalogue import load_catalogue
from tf_landslide.models.complexity import multiply_adds
from tf_landslide.models.encoders import ENCODERS
from tf_landslide.models.encoders.mix_transformer import EfficientAttention
from tf_landslide.models.layers.conv import AtrousDepthwiseConv2D, GroupedConv2D


def test_multiply_adds_by_hand():
    inputs = keras.Input((None, None, 4))
    x = keras.layers.Conv2D(8, 3, padding="same")(inputs)  # 16 * 16 * 9 * 4 * 8
    x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same")(x)  # 8 * 8 * 9 * 8
    x = AtrousDepthwiseConv2D(3, 2)(x)  # the same
    inner_inputs = keras.Input((None, None, 8))
    inner = keras.Model(inner_inputs, GroupedConv2D(16, 3, 4, padding="same")(inner_inputs))  # 8 * 8 * 9 * 2 * 16
    x = inner(x)
    x = EfficientAttention(2, 2)(x)  # 4 dense of 16 x 16, on 64, 16, 16 and 64 pixels; reduce; two products
    attention = 16 * 16 * (64 + 16 + 16 + 64) + 16 * (2 * 2 * 16 * 16) + 2 * 64 * 16 * 16
    x = keras.layers.Conv2DTranspose(4, 2, strides=2)(x)  # 8 * 8 * 2 * 2 * 16 * 4
    model = keras.Model(inputs, keras.layers.Dense(1)(x))  # 16 * 16 * 4
    expected = (
        16 * 16 * 9 * 4 * 8 + 2 * 8 * 8 * 9 * 8 + 8 * 8 * 9 * 2 * 16 + attention + 8 * 8 * 4 * 16 * 4 + 16 * 16 * 4
    )
    assert multiply_adds(model, 16, 16) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unet_resnet34", "unet_mobilenetv2", "unet_mit_b1", "unet"])
def test_the_committed_table_is_what_is_built(name):
    model = build_paper_model(name)
    (row,) = [row for row in load_catalogue()["models"] if row["name"] == name]
    assert (row["parameters"], row["multiply_adds"]) == (model.count_params(), multiply_adds(model))


def test_the_table_lists_all_there_is():
    catalogue = load_catalogue()
    assert [row["name"] for row in catalogue["architectures"]] == list(ARCHITECTURES)
    assert [row["name"] for row in catalogue["encoders"]] == list(ENCODERS)
    assert [row["name"] for row in catalogue["models"]] == list(paper_models())


@pytest.mark.full
def test_the_whole_committed_table_is_what_is_built():
    assert build_catalogue() == load_catalogue()


def test_each_of_the_papers_fourteen_models_has_its_config():
    assert len(paper_models()) == 14 and not {"mmls_unet_resnet34", "paper_recipe"} & set(paper_models())
