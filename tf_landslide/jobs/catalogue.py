"""Measure what ``tf-landslide models`` lists: ``python -m tf_landslide.jobs.catalogue`` writes the table anew."""

from __future__ import annotations

from typing import Any

import keras

from tf_landslide.bands.layouts import LANDSLIDE4SENSE
from tf_landslide.core.errors import lookup
from tf_landslide.core.files import write_json
from tf_landslide.models.build import ARCHITECTURES, build_model
from tf_landslide.models.catalogue import TABLE, Catalogue
from tf_landslide.models.complexity import multiply_adds
from tf_landslide.models.encoders import ENCODERS
from tf_landslide.runs.config import load_config, shipped_configs
from tf_landslide.runs.sections import ModelConfig

_RECIPE = "paper_recipe"  # a way of training, for any of the models


def paper_models() -> dict[str, ModelConfig]:
    """The rows of the paper's Table 2, and SegFormer-B2: the shipped configs for Landslide4Sense."""
    configs = {name: load_config(path) for name, path in shipped_configs().items() if name != _RECIPE}
    return {name: config.model for name, config in configs.items() if config.data.layout == LANDSLIDE4SENSE}


def build_paper_model(name: str, channels: int = 6, **options: Any) -> keras.Model:
    """One of them; ``options`` are further ones of ``build_model``."""
    model = lookup(paper_models(), name, "model of the paper")
    return build_model(model.architecture, model.encoder, channels=channels, **model.options, **options)


def build_catalogue() -> Catalogue:
    """The table, measured on models built now: six channels, multiply-adds at 128 x 128."""

    def size(model: keras.Model) -> dict[str, int]:
        return {"parameters": model.count_params(), "multiply_adds": multiply_adds(model)}

    return {
        "models": [
            {"name": name, "architecture": model.architecture, "encoder": model.encoder} | size(build_paper_model(name))
            for name, model in paper_models().items()
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


if __name__ == "__main__":
    write_json(TABLE, build_catalogue())
