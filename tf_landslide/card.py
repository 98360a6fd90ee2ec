"""The model card: what a caller must know to use a model, wherever the model is."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from tf_landslide.bands import MMLS, get_layout
from tf_landslide.evaluation.scores import SCORES


@dataclass(frozen=True)
class ModelCard:
    """How a model's channels are made, where its threshold lies, what it was trained on, what it scored.

    Attributes:
        name: of the model.
        architecture, encoder: as in the registry.
        layout: band layout of the data it was trained on.
        channels: the model's channels, in order.
        threshold: a pixel is a landslide from this probability on; chosen on validation.
        median_size, median_bands: of the median filter run on the bands first; 0 for none.
        description: one line.
        scores: by split, as in a run's ``metrics.json``.
        parameters: of the network.
        recipe: how it was trained: loss, optimiser, epochs, seed and so on.
        versions: of what it was trained with.
        synthetic: whether its data were the sample landscape.
    """

    name: str
    architecture: str
    encoder: str | None
    layout: str
    channels: tuple[str, ...]
    threshold: float
    median_size: int = 0
    median_bands: tuple[str, ...] | None = None
    description: str = ""
    scores: dict = field(default_factory=dict)
    parameters: int | None = None
    recipe: dict = field(default_factory=dict)
    versions: dict = field(default_factory=dict)
    synthetic: bool = False

    @classmethod
    def from_dict(cls, values: dict) -> ModelCard:
        known = {key: values[key] for key in cls.__dataclass_fields__ if key in values}
        for key in ("channels", "median_bands"):
            if known.get(key) is not None:
                known[key] = tuple(known[key])
        return cls(**known)

    def as_dict(self) -> dict:
        return asdict(self)

    def as_json(self) -> str:
        """Everything, limits in words too, for a reader that has no more than this."""
        return json.dumps({**self.as_dict(), "limits": self.limits}, indent=2)

    def features(self):
        """The layer that turns stored bands into this model's channels."""
        from tf_landslide.features import Features

        return Features(self.layout, self.channels, self.median_size, self.median_bands)

    @property
    def limits(self) -> list[str]:
        """What the scores do not say."""
        limits = [
            "The threshold was chosen on the validation split and is calibrated for nothing else.",
            "Probabilities are the network's own; they were not calibrated to frequencies.",
            "Scores are of patches from the dataset it was trained on: other regions, seasons and sensors were not "
            "measured.",
        ]
        if self.scores and "test" not in self.scores:
            limits.insert(0, "There was no test split: the best scores are of the split the threshold was chosen on.")
        if self.layout == MMLS.name:
            limits.insert(0, "Trained on Mars: it says nothing about landslides on Earth.")
        if self.synthetic:
            limits.insert(0, "Trained on the SYNTHETIC sample landscape: it says nothing about real landslides.")
        return limits

    def markdown(self) -> str:
        """The card for people."""
        layout = get_layout(self.layout)
        network = " + ".join(filter(None, (self.architecture, self.encoder)))
        parameters = f", {self.parameters:,} parameters" if self.parameters else ""
        lines = [f"# {self.name}", "", *([self.description, ""] if self.description else [])]
        lines += [f"- network: {network}{parameters}", f"- data: {layout.title}; {layout.reference}"]
        lines += [f"- channels: {', '.join(self.channels)}", f"- threshold: {self.threshold:.3f}"]
        if self.median_size > 1:
            lines.append(f"- median filter: {self.median_size} x {self.median_size} on {', '.join(self.median_bands)}")
        lines += ["", "## Scores", "", scores_table(self.scores) if self.scores else "None."]
        lines += ["", "Over all pixels of a split; in brackets 95 % intervals from a bootstrap over patches."]
        for title, values in (("Recipe", self.recipe), ("Versions", self.versions)):
            if values:
                lines += ["", f"## {title}", "", *(f"- {key}: {value}" for key, value in values.items())]
        return "\n".join([*lines, "", "## Limits", "", *(f"- {limit}" for limit in self.limits), ""])


def scores_table(metrics: dict) -> str:
    """A Markdown table of the scores of each split, with 95 % intervals over patches."""
    lines = ["| split | patches | F1 | precision | recall | IoU | threshold |", "|---|---|---|---|---|---|---|"]
    for split, row in metrics.items():
        cells = [f"{row[s]:.4f} ({row['interval'][s][0]:.3f}-{row['interval'][s][1]:.3f})" for s in SCORES]
        lines.append(f"| {split} | {row['patches']} | {' | '.join(cells)} | {row['threshold']:.3f} |")
    return "\n".join(lines)
