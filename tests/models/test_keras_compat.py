"""What a new Keras could break: each private name that is used, and what it has to do."""

import zipfile

import h5py
import keras
import numpy as np

from tf_landslide.models._keras_compat import adam_moments, producer, saved_as, walk
from tf_landslide.models.layers.norm import ChannelNormalization, FusedBatchNormalization


def test_weights_lie_under_the_name_of_the_class(tmp_path):
    """``saved_as`` rests on it: were it another name, models of the first release would not load."""
    inputs = keras.Input((None, None, 2))
    model = keras.Model(inputs, FusedBatchNormalization()(ChannelNormalization()(inputs)))
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive, archive.open("model.weights.h5") as file:
        groups = set(h5py.File(file)["layers"])
    assert {"normalization", "batch_normalization"} <= groups


def test_a_class_is_registered_and_named_as_it_was(tmp_path):
    @saved_as("OldName")
    class NewName(keras.layers.Layer):
        def call(self, x):
            return x + 1

    assert NewName.__name__ == "OldName" and NewName.__qualname__.endswith("NewName")
    assert keras.saving.get_registered_object("tf_landslide>OldName") is NewName
    inputs = keras.Input((3,))
    keras.Model(inputs, NewName()(inputs)).save(tmp_path / "m.keras")
    assert isinstance(keras.saving.load_model(tmp_path / "m.keras").layers[-1], NewName)


def test_the_layer_that_a_tensor_comes_from():
    inputs = keras.Input((4, 4, 3))
    layer = keras.layers.ZeroPadding2D(1)
    assert producer(layer(inputs)) is layer


def test_a_walk_meets_every_layer_in_order_with_its_input():
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(5, 3, padding="same", name="first")(inputs)
    model = keras.Model(inputs, keras.layers.MaxPooling2D(2, name="second")(x))
    met = []

    def visit(layer):
        def call(x, **options):
            met.append((layer.name, x.shape))
            return layer.compute_output_spec(x, **options)

        return call

    walk(model, [keras.KerasTensor((1, 8, 8, 3))], visit)
    assert met[-2:] == [("first", (1, 8, 8, 3)), ("second", (1, 8, 8, 5))]


def test_the_moments_of_adam_are_those_of_its_formula():
    variable = keras.Variable(np.zeros(3, "float32"))
    optimizer = keras.optimizers.Adam(0.1, beta_1=0.9, beta_2=0.99)
    optimizer.build([variable])
    gradient = np.array([1.0, -2.0, 3.0], "float32")
    optimizer.apply([keras.ops.convert_to_tensor(gradient)])
    mean, square = (keras.ops.convert_to_numpy(moment) for moment in adam_moments(optimizer, variable))
    np.testing.assert_allclose(mean, 0.1 * gradient, rtol=1e-5)
    np.testing.assert_allclose(square, 0.01 * gradient**2, rtol=1e-5)
