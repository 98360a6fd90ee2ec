"""Prove on validation what a short format costs a model, and keep it where it costs little."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tf_landslide.core.cpu import instructions
from tf_landslide.core.errors import LandslideError, require_known
from tf_landslide.core.extras import extra
from tf_landslide.core.files import beside, telling_a_full_disk, write_json
from tf_landslide.data.source import PatchSource
from tf_landslide.evaluation.judge import predictions
from tf_landslide.metrics.calibration import calibration
from tf_landslide.metrics.counts import Histograms, best_threshold, curve, threshold_bin
from tf_landslide.predict.export import save_model
from tf_landslide.predict.load import load_model
from tf_landslide.predict.predictor import Predictor
from tf_landslide.predict.short import short_format
from tf_landslide.runs import formats
from tf_landslide.runs.card import ModelCard
from tf_landslide.runs.derived import digest_of
from tf_landslide.runs.folder import Run
from tf_landslide.runs.precision import ALLOWED, INT8, SHORT, Proof, graph_digest, lacking
from tf_landslide.runs.provenance import files_of, version_of
from tf_landslide.runs.splits import open_splits

CALIBRATION = 128  # training patches that ranges are taken from


def prove(run: Run, data_dir: str | Path, precision: str) -> Proof:
    """Judge a run in a short format beside float32, and keep graph and proof in ``RUN/precision/NAME`` if it holds.

    Float32 is the run's own network by TensorFlow. Each format is judged on validation at the threshold best for it.

    Args:
        run: a finished one.
        data_dir: the data that it was validated on; ranges for int8 are taken from training patches of it.
        precision: ``bfloat16`` or ``int8``.

    Raises:
        LandslideError: it loses more than it may; other data than the run was validated on; a CPU without the
            instructions, or a package that is missing.
    """
    require_known(precision, SHORT, "short format")
    if lacks := lacking(precision):
        raise LandslideError(f"{precision}: {lacks}; prove it on a machine that computes in it")
    card, model = run.card(), digest_of(run.model_path)
    valid = _same_validation(run, Path(data_dir))
    sources = open_splits(run.config, data_dir, splits=["valid", *(["train"] if precision == INT8 else [])])
    network, kept = load_model(run.path, compile=False), formats.precision_folder(run.path, precision)
    from tf_landslide.predict.backends.keras import KerasBackend  # TensorFlow

    plain = _judged(Predictor(card, KerasBackend(network)), sources["valid"], "in float32")
    drawn = _drawn(len(sources["train"])) if precision == INT8 else None
    with beside(kept) as partial, telling_a_full_disk(kept):
        partial.mkdir()
        _write_graph(network, card, partial, None if drawn is None else sources["train"].fetch(drawn)[0])
        short = _judged(short_format(card, partial, precision), sources["valid"], f"in {precision}")
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
        if not proof.holds:
            raise LandslideError(
                f"{run.path}: {precision} loses {proof.lost:.4f} of F1 on validation ({proof.f1:.4f} for "
                f"{proof.f1_float32:.4f}), {ALLOWED[precision]:g} are allowed; keep float32"
            )
        write_json(partial / formats.PROOF, proof.as_dict())
        shutil.rmtree(kept, ignore_errors=True)
        partial.rename(kept)
    return proof


def _same_validation(run: Run, data_dir: Path) -> str:
    """The fingerprint of validation. Raises ``LandslideError`` where the run's threshold was chosen on another one."""
    found = files_of(run, data_dir, "valid")
    said = run.environment.get("data_fingerprint", {}).get("valid")
    if said and said.get("sha256") != found:
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


def _judged(predictor: Predictor, source: PatchSource, label: str) -> _Scores:
    """Scores on a split at the threshold that is best on it."""
    histograms = Histograms.of((found, mask) for _, found, mask in predictions(predictor, source, label))
    if not histograms.landslide.sum():
        raise LandslideError(f"{source.data_dir}: its validation split has no landslide, so that nothing can be proven")
    threshold = best_threshold(histograms)
    f1 = curve(histograms)["f1"][threshold_bin(threshold)]
    return _Scores(threshold, float(f1), calibration(histograms, resamples=1)["ece"])


def _write_graph(network: Any, card: ModelCard, folder: Path, calibration: np.ndarray | None) -> None:
    """A network's graph as OpenVINO computes it; quantised where there are channels to take ranges from."""
    with extra("openvino"):
        from tf_landslide.predict.backends.openvino_graph import read_saved_model, write_graph  # optional
    with tempfile.TemporaryDirectory() as saved:
        save_model(network, card, Path(saved))
        graph = read_saved_model(Path(saved))
    if calibration is not None:
        with extra("int8"):
            from tf_landslide.predict.backends.quantized import quantized  # NNCF, optional
        graph = quantized(graph, calibration)
    write_graph(graph, folder)
