"""Two replicas that share a batch are one device that has it whole: loss, gradients, the batches themselves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def told(sample):
    """In a process of its own: a CPU can be split in two before TensorFlow begins only."""
    script = Path(__file__).with_name("replicas.py")
    done = subprocess.run(
        [sys.executable, str(script), str(sample)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("case", ["even", "uneven", "bce_dice", "lovasz"])
def test_loss_and_gradients_are_those_of_one_device(told, case):
    """Of a sum of all losses there are, where each replica holds as many samples and where not, and of two alone."""
    one, two = told[case]
    np.testing.assert_allclose(two["loss"], one["loss"], rtol=1e-5)
    for found, expected in zip(two["gradients"], one["gradients"], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)
    assert np.abs(np.concatenate([np.ravel(g) for g in one["gradients"]])).max() > 1e-3


def test_training_sees_the_same_epochs_and_ends_with_the_same_weights(told):
    """Hard patches among them. Keras looks at a batch before the first epoch where a strategy shares them out; that is
    none of them."""
    one, two = told["fit"]
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-4)
    for found, expected in zip(two["weights"], one["weights"], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_rates_of_their_own_and_a_frozen_encoder_are_those_of_one_device(told):
    one, two = told["paced"]
    for found, expected in zip(two, one, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)
