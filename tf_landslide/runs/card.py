"""The model card: what a caller must know to use a model, wherever the model is."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from tf_landslide.bands.layouts import BandLayout, get_layout, stated
from tf_landslide.bands.recipes import ChannelRecipe, channel_recipe
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.tables import markdown_table
from tf_landslide.core.templates import render
from tf_landslide.metrics import SCORES
from tf_landslide.runs.checked import checked, checked_scores
from tf_landslide.runs.formats import CONVERTED

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
        description: one line.
        scores: by split, as in a run's ``metrics.json``.
        parameters: of the network.
        training: how it was trained: loss, epochs, seed and so on; ``recipe`` in JSON.
        versions: of what it was trained with.
        synthetic: whether its data were the sample landscape.
    """

    name: str
    architecture: str
    encoder: str | None
    layout: BandLayout
    channel_names: tuple[str, ...]
    threshold: float
    median_size: int = 0
    median_bands: tuple[str, ...] = ()
    description: str = ""
    scores: dict[str, Any] = field(default_factory=dict)
    parameters: int | None = None
    training: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    synthetic: bool = False

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
        return {_JSON_NAMES.get(name, name): value for name, value in values.items()}

    def as_json(self) -> str:
        """Everything, limits in words too, for a reader that has no more than this."""
        return json.dumps({**self.as_dict(), "limits": self.limits}, indent=2)

    @property
    def channel_recipe(self) -> ChannelRecipe:
        """How stored bands become this model's channels."""
        return channel_recipe(self.layout, self.channel_names, self.median_size, self.median_bands or None)

    @property
    def limits(self) -> list[str]:
        """What the scores do not say."""
        converted = CONVERTED in self.training
        origin = (
            "came with the model, which was trained elsewhere," if converted else "was chosen on the validation split"
        )
        limits = [
            f"The threshold {origin} and is calibrated for nothing else.",
            "Probabilities are the network's own; they were not calibrated to frequencies.",
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
        if self.layout.caveat:
            limits.insert(0, self.layout.caveat)
        if self.synthetic:
            limits.insert(0, "Trained on the SYNTHETIC sample landscape: it says nothing about real landslides.")
        return limits

    def markdown(self) -> str:
        """The card for people."""
        network = " + ".join(filter(None, (self.architecture, self.encoder)))
        network += f", {self.parameters:,} parameters" if self.parameters else ""
        scores = scores_table(self.scores) if self.scores else "None."
        return render(_TEMPLATE, card=self, network=network, layout=self.layout, scores=scores)


def scores_table(metrics: dict[str, Any]) -> str:
    """A Markdown table of the scores of each split, with 95 % intervals over patches."""
    rows = []
    for split, row in metrics.items():
        cells = [f"{row[s]:.4f} ({row['interval'][s][0]:.3f}-{row['interval'][s][1]:.3f})" for s in SCORES]
        made = "a share of" if "share_of_train" in row else "groups of" if "groups_of_train" in row else ""
        label = f"{split} ({made} train)" if made else split
        rows.append((label, row["patches"], *cells, f"{row['threshold']:.3f}"))
    return markdown_table(("split", "patches", "F1", "precision", "recall", "IoU", "threshold"), rows)


def calibration_table(metrics: dict[str, Any]) -> str:
    """A Markdown table of the errors of calibration of each split; empty for scores without them."""
    rows = []
    for split, row in metrics.items():
        told = row.get("calibration", {})
        if told.get("ece") is None:
            continue
        low, high = told["interval"]["ece"]
        errors = (f"{told[name]:.4f}" for name in ("ece_mass", "rms_ce", "mce", "brier"))
        shares = (percent(told[name]) for name in ("mean_probability", "share"))
        rows.append((split, f"{told['ece']:.4f} ({low:.3f}-{high:.3f})", *errors, *shares))
    header = ("split", "ECE", "ECE, equal mass", "RMS-CE", "MCE", "Brier", "mean probability", "landslide")
    return markdown_table(header, rows) if rows else ""


def objects_table(metrics: dict[str, Any]) -> str:
    """A Markdown table of landslides as objects, a row for each split and IoU level; empty for scores without them."""
    rows = []
    for split, row in metrics.items():
        for level, at in row.get("objects", {}).get("at", {}).items():
            low, high = at["interval"]
            shares = (at[key] for key in ("omission", "commission", "omission_area", "commission_area"))
            rows.append((split, level, f"{at['f1']:.4f} ({low:.3f}-{high:.3f})", *map(percent, shares)))
    header = ("split", "IoU", "F1 of objects", "missed", "invented", "missed, by area", "invented, by area")
    return markdown_table(header, rows) if rows else ""


def sizes_table(objects: dict[str, Any], level: str = "0.3") -> str:
    """A Markdown table of what is missed and invented by class of size, at an IoU level."""
    rows = [
        (
            f"{row['pixels']:,} and more",
            *(row["truth"], percent(row["omission"][level])),
            *(row["found"], percent(row["commission"][level])),
        )
        for row in objects["classes"]
    ]
    return markdown_table(("pixels", "true objects", "missed", "found objects", "invented"), rows)


def refined_table(scores: dict[str, Any]) -> str:
    """A Markdown table of a split as the network marks it, refined, and the difference; empty for scores without it."""
    if "refined" not in scores:
        return ""
    refined = scores["refined"]
    difference = refined["difference"]
    rows = [(name, scores[name], refined[name], difference[name]) for name in SCORES]
    for level, at in refined["objects"]["at"].items():
        of_network = scores["objects"]["at"][level]["f1"]
        rows.append((f"objects, IoU {level}: f1", of_network, at["f1"], difference["objects"][level]))
    header = ("", "network", "refined", "difference (paired)")
    return markdown_table(header, [(name, f"{a:.4f}", f"{b:.4f}", _signed(d)) for name, a, b, d in rows])


def _signed(difference: dict[str, Any]) -> str:
    low, high = difference["interval"]
    return f"{difference['value']:+.4f} ({low:+.4f} to {high:+.4f})"


def percent(share: float | None) -> str:
    """A share in words; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.1f} %"
