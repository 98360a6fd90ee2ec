"""Prove on validation what a short format costs a model, and keep it where it costs little."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tf_landslide.core.cpu import instructions
from tf_landslide.core.errors import LandslideError, first_line, require_known
from tf_landslide.core.files import beside, telling_a_full_disk, write_json
from tf_landslide.core.locks import locked
from tf_landslide.data.source import PatchSource
from tf_landslide.evaluation.judge import predictions
from tf_landslide.metrics.calibration import calibration
from tf_landslide.metrics.counts import Histograms, best_threshold, curve, threshold_bin
from tf_landslide.predict.export import save_model
from tf_landslide.predict.load import load_model
from tf_landslide.predict.predictor import Predictor, padded
from tf_landslide.runs import formats
from tf_landslide.runs.card import ModelCard
from tf_landslide.runs.folder import Run
from tf_landslide.runs.precision import ALLOWED, INT8, SHORT, Proof, graph_digest, require_to_prove
from tf_landslide.runs.provenance import files_of, version_of
from tf_landslide.runs.splits import open_splits

CALIBRATION = 128  # training patches that ranges are taken from


def prove(run: Run, data_dir: str | Path, precision: str) -> Proof:
    """Judge a run in a short format beside float32, and keep graph and proof in ``RUN/precision/NAME`` if it holds.

    Float32 is the run's own network by TensorFlow. Each format is judged on validation at the threshold best for it; of
    a run whose threshold came with its model, at that one, which the format keeps.

    Args:
        run: a finished one.
        data_dir: the data that it was validated on; ranges for int8 are taken from training patches of it.
        precision: ``bfloat16`` or ``int8``.

    Raises:
        LandslideError: it loses more than it may, and then an earlier proof is gone too; other data than the run was
            validated on, or none that all its members left out; a CPU without the instructions, or a package that is
            missing.
    """
    require_known(precision, SHORT, "short format")
    require_to_prove(precision)
    card, model = run.card(), run.model_digest
    given = card.threshold if run.came_with_threshold else None
    valid = _same_validation(run, Path(data_dir))
    sources = open_splits(run.config, data_dir, splits=["valid", *(["train"] if precision == INT8 else [])])
    network, kept = load_model(run.path, compile=False), formats.precision_folder(run.path, precision)
    from tf_landslide.predict.backends.keras import KerasBackend  # TensorFlow
    from tf_landslide.predict.backends.openvino import of_graph  # optional

    plain = _judged(Predictor(card, KerasBackend(network)), sources["valid"], "in float32", given)
    drawn = _drawn(len(sources["train"])) if precision == INT8 else None
    with locked(run.path), beside(kept) as partial, telling_a_full_disk(kept):
        partial.mkdir()
        with _told(run, partial.name, kept.name):
            _write_graph(network, card, partial, None if drawn is None else padded(sources["train"].fetch(drawn)[0]))
            predictor = Predictor(card, of_graph(partial, precision))
            short = _judged(predictor, sources["valid"], f"in {precision}", given)
        proof = Proof(
            precision=precision,
            model=model,
            graph=graph_digest(partial),
            threshold=short.threshold,
            f1=short.f1,
            f1_float32=plain.f1,
            ece=short.ece,
            ece_float32=plain.ece,
            valid={"patches": len(sources["valid"]), "sha256": valid},
            cpu=instructions(),
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            versions={name: found for name in ("openvino", "nncf") if (found := version_of(name))},
            calibration={}
            if drawn is None
            else {"patches": len(drawn), "sha256": files_of(run, Path(data_dir), "train")},
        )
        write_json(partial / formats.PROOF, proof.as_dict())
        with beside(kept) as before:  # which is no longer of use, whether the new one holds or not
            if kept.exists():
                kept.rename(before)
            if not proof.holds:
                raise LandslideError(
                    f"{run.path}: {precision} loses {proof.lost:.4f} of F1 on validation ({proof.f1:.4f} for "
                    f"{proof.f1_float32:.4f}), {ALLOWED[precision]:g} are allowed; keep float32"
                )
            partial.rename(kept)
    return proof


def _same_validation(run: Run, data_dir: Path) -> str:
    """The fingerprint of validation.

    Raises:
        LandslideError: the run's threshold was chosen on another one, and the run is not adapted to other data; or its
            members were combined without any, and may each have been trained on what another left out.
    """
    derived = run.derived
    if run.came_with_threshold and derived and len(derived.members) > 1 and not derived.validation:
        raise LandslideError(
            f"{run.path}: was combined without --data, so that nothing says which patches none of its members was "
            "trained on; combine them with --data"
        )
    found = files_of(run, data_dir, "valid")
    said = run.environment.get("data_fingerprint", {}).get(run.config.data.stored_split("valid"))
    if said and said.get("sha256") != found and not (run.derived and run.derived.statistics):
        raise LandslideError(
            f"{data_dir}: is not the data that {run.path} was validated on ({run.environment.get('data')}), by which a "
            "format is proven"
        )
    return found


def _drawn(patches: int) -> np.ndarray:
    """Positions of the training patches for calibration, at equal distances."""
    return np.unique(np.linspace(0, patches - 1, min(patches, CALIBRATION)).round().astype(int))


@dataclass(frozen=True)
class _Scores:
    threshold: float
    f1: float
    ece: float


def _judged(predictor: Predictor, source: PatchSource, label: str, threshold: float | None) -> _Scores:
    """Scores on a split at a threshold; None for the one that is best on it."""
    histograms = Histograms.of((found, mask) for _, found, mask in predictions(predictor, source, label))
    if not histograms.landslide.sum():
        raise LandslideError(f"{source.data_dir}: its validation split has no landslide, so that nothing can be proven")
    threshold = best_threshold(histograms) if threshold is None else threshold
    f1 = curve(histograms)["f1"][threshold_bin(threshold)]
    return _Scores(threshold, float(f1), calibration(histograms, resamples=1)["ece"])


def _write_graph(network: Any, card: ModelCard, folder: Path, calibration: np.ndarray | None) -> None:
    """A network's graph as OpenVINO computes it; quantised where there are channels to take ranges from.

    Raises:
        Unfit: in float32 it is not the network.
        RuntimeError: what OpenVINO or NNCF cannot take.
    """
    from tf_landslide.predict.backends.openvino import of_saved_model  # optional
    from tf_landslide.predict.backends.openvino_graph import read_saved_model, write_graph  # optional

    with beside(folder / "saved") as saved:
        save_model(network, card, saved)
        of_saved_model(saved)
        graph = read_saved_model(saved)
    if calibration is not None:
        from tf_landslide.predict.backends.quantized import quantized  # NNCF, optional

        graph = quantized(graph, calibration)
    write_graph(graph, folder)


@contextmanager
def _told(run: Run, partial: str, kept: str) -> Iterator[None]:
    """What OpenVINO or NNCF refuses, in a line, which names the folder that was to be kept, not the temporary one."""
    from tf_landslide.predict.backends.openvino import Unfit  # optional

    try:
        yield
    except (Unfit, RuntimeError) as error:
        said = first_line(error).replace(partial, kept)
        raise LandslideError(f"{run.path}: OpenVINO cannot run it: {said}") from None
