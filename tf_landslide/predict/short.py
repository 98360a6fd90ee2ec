"""Predictors in short formats: what was proven for a model, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tf_landslide.core.errors import LandslideError, warn
from tf_landslide.predict.predictor import Predictor
from tf_landslide.runs import formats
from tf_landslide.runs.card import ModelCard
from tf_landslide.runs.precision import lacking, read_proof
from tf_landslide.runs.provenance import version_of


class CannotRun(LandslideError):
    """OpenVINO cannot run a graph that is proven and whole."""


def short_predictor(card: ModelCard, model: Path, digest: str, precision: str) -> Predictor:
    """A model in a short format that is proven for it, with the threshold chosen for that format.

    Args:
        card: of the model in float32.
        model: a run, or an exported version.
        digest: of its weights as they are now.
        precision: the format.

    Raises:
        LandslideError: no proof that holds, a CPU without the instructions, or no OpenVINO.
    """
    folder = formats.precision_folder(model, precision)
    proof = read_proof(folder, precision, digest, model)
    if lacks := lacking(precision):
        raise LandslideError(f"{model}: {lacks}; take --precision float32")
    proven_with, here = proof.versions.get("openvino"), version_of("openvino")
    if here and proven_with != here:
        warn(f"{model}: {precision} was proven with OpenVINO {proven_with}, this is {here}; prove it anew to be sure")
    card = replace(card, threshold=proof.threshold, precision=precision, proof=str(proof))
    return short_format(card, folder, precision)


def short_format(card: ModelCard, folder: Path, precision: str) -> Predictor:
    """The predictor of a graph in a folder, proven or to be proven. Raises ``CannotRun`` where OpenVINO cannot."""
    from tf_landslide.predict.backends.openvino import Unfit, of_graph  # optional

    try:
        return Predictor(card, of_graph(folder, precision))
    except Unfit as reason:
        raise CannotRun(f"{folder}: OpenVINO cannot run it: {reason}") from None
