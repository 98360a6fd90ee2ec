"""What ``tf-landslide models`` lists, read from a committed table, so that it answers without TensorFlow.

``python -m tf_landslide.catalogue`` writes the table anew from the built models; a test holds the two together.
"""

from __future__ import annotations

import json
from pathlib import Path

TABLE = Path(__file__).parent / "catalogue.json"

# The rows of the paper's Table 2, and SegFormer-B2: (architecture, encoder, options).
PAPER_MODELS: dict[str, tuple[str, str | None, dict]] = {
    "unet_resnet34": ("unet", "resnet34", {}),
    "unet_vgg16": ("unet", "vgg16", {}),
    "unet_efficientnetb0": ("unet", "efficientnetb0", {}),
    "unet_resnext50": ("unet", "resnext50", {}),
    "unet_seresnet50": ("unet", "seresnet50", {}),
    "unet_densenet121": ("unet", "densenet121", {}),
    "unet_seresnext50": ("unet", "seresnext50", {}),
    "unet_inceptionv4": ("unet", "inceptionv4", {}),
    "unet_inceptionresnetv2": ("unet", "inceptionresnetv2", {}),
    "unet_mobilenetv2": ("unet", "mobilenetv2", {}),
    "unet_mit_b1": ("unet", "mit_b1", {}),
    "deeplabv3plus_resnet50": ("deeplabv3plus", "resnet50", {}),
    "unet": ("plain_unet", None, {"width": 64, "depth": 4}),
    "segformer_mit_b2": ("segformer", "mit_b2", {"filters": 768}),
}


def load_catalogue() -> dict[str, list[dict]]:
    """The table: ``models``, ``architectures`` and ``encoders``, each a list of rows."""
    return json.loads(TABLE.read_text())


def build_catalogue() -> dict[str, list[dict]]:
    """The same, measured on models built now: six channels, multiply-adds at 128 x 128."""
    from tf_landslide.models import ARCHITECTURES, ENCODERS, build_model
    from tf_landslide.models.complexity import multiply_adds

    def size(model) -> dict:
        return {"parameters": model.count_params(), "multiply_adds": multiply_adds(model)}

    return {
        "models": [
            {"name": name, "architecture": architecture, "encoder": encoder}
            | size(build_model(architecture, encoder, channels=6, **options))
            for name, (architecture, encoder, options) in PAPER_MODELS.items()
        ],
        "architectures": [
            {"name": name, "takes_encoder": a.takes_encoder, "description": a.description, "paper": a.paper}
            for name, a in ARCHITECTURES.items()
        ],
        "encoders": [
            {"name": name, **size(e.build(6)), "pretrained": e.pretrained is not None}
            | {"description": e.description, "paper": e.paper}
            for name, e in ENCODERS.items()
        ],
    }


def catalogue_markdown(catalogue: dict[str, list[dict]]) -> str:
    """The table as Markdown."""
    parts = []
    for title, rows in catalogue.items():
        keys = list(rows[0])
        lines = [
            f"## {title}",
            "",
            f"| {' | '.join(key.replace('_', ' ') for key in keys)} |",
            "|---" * len(keys) + "|",
        ]
        lines += [f"| {' | '.join(_cell(row[key]) for key in keys)} |" for row in rows]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _cell(value) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    from tf_landslide.files import write_json

    write_json(TABLE, build_catalogue())
