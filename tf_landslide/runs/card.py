"""The model card: what a caller must know to use a model, wherever the model is."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from tf_landslide.bands.filters import Bilateral
from tf_landslide.bands.layouts import BandLayout, get_layout, stated
from tf_landslide.bands.recipes import ChannelRecipe, channel_recipe
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.templates import render
from tf_landslide.runs.checked import checked, checked_scores
from tf_landslide.runs.formats import CONVERTED
from tf_landslide.runs.score_tables import scores_table

_TEMPLATE = Path(__file__).parent / "model_card.md.jinja"
_JSON_NAMES = {"channel_names": "channels", "training": "recipe"}  # as cards have always been written


@dataclass(frozen=True)
class ModelCard:
    """How a model's channels are made, where its threshold lies, what it was trained on, what it scored.

    Attributes:
        name: of the model.
        architecture, encoder: as in the registry.
        layout: band layout of the data it was trained on, or what ``get_layout`` takes for it; in JSON a shipped one is
            its name, one of your own is written out.
        channel_names: the model's channels, in order; ``channels`` in JSON.
        threshold: a pixel is a landslide from this probability on; chosen on validation.
        median_size, median_bands: of the median filter run on the bands first; size 0 for none, no bands for all.
        bilateral: the bilateral filter run after it; None for none.
        description: one line.
        scores: by split, as in a run's ``metrics.json``.
        parameters: of the network.
        training: how it was trained: loss, epochs, seed and so on; ``recipe`` in JSON.
        versions: of what it was trained with.
        synthetic: whether its data were the sample landscape.
        copies: of an image that the network is given at a time, where it averages over flips and rotations.
        precision: the format that it is computed in, for which the threshold was chosen.
        proof: what a short format scored on validation, in words.
    """

    name: str
    architecture: str
    encoder: str | None
    layout: BandLayout
    channel_names: tuple[str, ...]
    threshold: float
    median_size: int = 0
    median_bands: tuple[str, ...] = ()
    bilateral: Bilateral | None = None
    description: str = ""
    scores: dict[str, Any] = field(default_factory=dict)
    parameters: int | None = None
    training: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    synthetic: bool = False
    copies: Annotated[int, Field(ge=1)] = 1
    precision: str = "float32"
    proof: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "layout", get_layout(self.layout))

    @classmethod
    def from_dict(cls, values: dict[str, Any], origin: object = "the card") -> ModelCard:
        """The card in what ``as_dict`` gave; keys that are not known are left out.

        Raises:
            LandslideError: a key is missing or has no such value; ``origin`` is named.
        """
        names = {_JSON_NAMES.get(name, name): name for name in cls.__dataclass_fields__}
        known = {names[key]: value for key, value in values.items() if key in names}
        for name in ("channel_names", "median_bands"):
            known[name] = known.get(name) or ()
        try:
            known |= {"layout": get_layout(known["layout"])} if "layout" in known else {}
        except LandslideError as error:
            raise LandslideError(f"{origin}: {error}") from None
        card: ModelCard = checked(TypeAdapter(cls), known, origin)
        checked_scores(card.scores, origin)
        if not 0 <= card.threshold <= 1:
            raise LandslideError(f"{origin}: threshold: expected 0..1, found {card.threshold}")
        return card

    def as_dict(self) -> dict[str, Any]:
        values: dict[str, Any] = asdict(self) | {"layout": stated(self.layout)}
        later: dict[str, Any] = {
            "copies": 1,
            "bilateral": None,
            "precision": "float32",
            "proof": "",
        }  # not in cards of before, and not where they say nothing
        values = {name: value for name, value in values.items() if name not in later or value != later[name]}
        return {_JSON_NAMES.get(name, name): value for name, value in values.items()}

    def as_json(self) -> str:
        """Everything, limits in words too, for a reader that has no more than this."""
        return json.dumps({**self.as_dict(), "limits": self.limits}, indent=2)

    @property
    def channel_recipe(self) -> ChannelRecipe:
        """How stored bands become this model's channels."""
        bands = self.median_bands or None
        return channel_recipe(self.layout, self.channel_names, self.median_size, bands, self.bilateral)

    @property
    def limits(self) -> list[str]:
        """What the scores do not say."""
        calibrated = "temperature" in self.training
        limits = [
            f"The threshold {self._threshold_origin} and is calibrated for nothing else.",
            "Probabilities were scaled by one temperature, fitted on validation: elsewhere they may be off again."
            if calibrated
            else "Probabilities are the network's own; they were not calibrated to frequencies.",
            "Scores are of patches from the dataset it was trained on: other regions, seasons and sensors were not "
            "measured.",
        ]
        if share := self.scores.get("valid", {}).get("share_of_train"):
            limits.insert(
                0, f"Validation is a share ({share:g}) of the training split, drawn by chance: its scores flatter."
            )
        if groups := self.scores.get("valid", {}).get("groups_of_train"):
            limits.insert(0, f"Validation is whole groups of the training split: {', '.join(groups)}.")
        if self.scores and "test" not in self.scores:
            limits.insert(0, "There was no test split: the best scores are of the split the threshold was chosen on.")
        if self.proof:
            limits.append(f"It is computed in {self.precision}; its scores are of float32.")
        if self.layout.caveat:
            limits.insert(0, self.layout.caveat)
        if self.synthetic:
            limits.insert(0, "Trained on the SYNTHETIC sample landscape: it says nothing about real landslides.")
        return limits

    @property
    def _threshold_origin(self) -> str:
        if CONVERTED in self.training:
            return "came with the model, which was trained elsewhere,"
        if not self.scores and (origin := self.training.get("threshold_from")):
            return f"was not chosen for this model (it is {origin})"
        return "was chosen on the validation split"

    def markdown(self) -> str:
        """The card for people."""
        network = " + ".join(filter(None, (self.architecture, self.encoder)))
        network += f", {self.parameters:,} parameters" if self.parameters else ""
        scores = scores_table(self.scores).markdown() if self.scores else "None."
        return render(_TEMPLATE, card=self, network=network, layout=self.layout, scores=scores)
