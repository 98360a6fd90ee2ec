"""A map says so where a network that sees its whole window is given others than it has learned."""

from dataclasses import replace

import pytest

from tf_landslide.jobs.map_notes import of_window
from tf_landslide.runs.folder import Run


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"architecture": "deeplabv3plus", "encoder": "resnet50"}, True),
        ({"architecture": "segformer", "encoder": "mit_b2"}, True),
        ({"architecture": "unet", "encoder": "seresnet50"}, True),
        ({"architecture": "smp_unet", "encoder": "smp_seresnet50"}, True),
        ({"architecture": "smp_deeplabv3plus", "encoder": "smp_resnet50"}, True),
        ({"architecture": "hf_segformer", "encoder": "hf_mit_b2"}, True),
        ({"architecture": "smp_unet", "encoder": "smp_resnet34"}, False),
        ({"architecture": "unet", "encoder": "resnet34"}, False),
    ],
)
def test_networks_that_see_their_whole_window_are_warned_of(run_folder, change, told):
    card = Run.open(run_folder).card()
    height, width = card.training["patch"]  # of the sample's patches, on the card
    assert height == width
    card = replace(card, **change)
    assert bool(of_window(card, 2 * height)) == told and not of_window(card, height)
    assert not of_window(replace(card, training={}), 512)  # a card from before
