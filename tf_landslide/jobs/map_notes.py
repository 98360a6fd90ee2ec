"""What a reader of a map must know of it."""

from __future__ import annotations

import re
from typing import Any

from tf_landslide.models import PASSES
from tf_landslide.objects.judging import not_fitted
from tf_landslide.runs.card import ModelCard

_POOLING = ("deeplabv3plus", "segformer")  # by a branch of the whole window's mean, by attention over all of it
_SQUEEZING = ("se", "efficientnet", "mit")  # encoders that weigh channels by such means, or attend


def map_notes(card: ModelCard, summary: dict[str, Any]) -> list[str]:
    """What a reader of the map must know of it, in sentences."""
    told = []
    if card.synthetic:
        told.append("The model was trained on the SYNTHETIC sample landscape: it says nothing about real landslides.")
    if card.layout.caveat:
        told.append(card.layout.caveat)
    if objects := summary.get("objects"):
        told.append(
            f"Mask and polygons are refined by objects (rules {objects['rules']}): {summary['landslide_pixels']:,} "
            f"pixels of landslides, {objects['landslide_pixels_network']:,} by the network alone (mask_pixels.tif)."
        )
        if objects["left_out"]:
            told.append(f"The rules' {', '.join(objects['left_out'])} cannot be told of this scene and were left out.")
        if unfit := not_fitted(objects["rules"], objects["fit"], card):
            told.append(unfit)
    told += of_window(card, summary["tiles"]["window"])
    if summary["truncated"]:
        told.append(f"{summary['truncated']:,} landslides are cut by the image's end or by missing data.")
    return told


def uncertainty_of(card: ModelCard) -> str:
    """Of what a model that can say how sure it is tells it, in words."""
    averaged = "of probabilities" in str(card.training.get("average", ""))
    turned = card.training.get("symmetries")
    if not averaged and not turned:
        return f"{PASSES} passes with dropout"
    answers = f"the answers of {card.training.get('made_of', card.name)}"
    return f"{answers}, each over symmetries ({turned})" if turned else answers


def of_window(card: ModelCard, window: int) -> list[str]:
    """Whether a network that sees its whole window at once is given others than it has learned."""
    architecture, encoder = (re.sub(r"^(smp|hf)_", "", name or "") for name in (card.architecture, card.encoder))
    pools = architecture in _POOLING or encoder.startswith(_SQUEEZING)
    patch = card.training.get("patch")
    if not pools or not patch or patch == [window, window]:
        return []
    return [
        f"The network sees its whole window at once and learned windows of {patch[0]} × {patch[1]} pixels; these have "
        f"{window}: its probabilities differ with that. Compare with --window {max(patch)}."
    ]
