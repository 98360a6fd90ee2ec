"""Short formats, and the proof on validation without which none is computed in.

A run keeps what was proven in ``precision/NAME``: the graph that was judged, and ``proof.json``. An export keeps the
same among its extra assets.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from tf_landslide.core.cpu import instructions
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.extras import require
from tf_landslide.core.files import read_json
from tf_landslide.runs import formats
from tf_landslide.runs.checked import checked

FLOAT32, BFLOAT16, INT8 = PRECISIONS = ("float32", "bfloat16", "int8")
SHORT = (BFLOAT16, INT8)
ALLOWED = {BFLOAT16: 0.002, INT8: 0.005}
"""What a short format may lose of F1 on validation."""
NEEDED = {BFLOAT16: ("avx512_bf16", "amx_bf16"), INT8: ("avx512_vnni", "avx_vnni", "amx_int8")}
"""The instructions of which a CPU needs one, to compute in a short format faster than in float32."""

_Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Proof:
    """What a model keeps of its scores in a short format.

    Attributes:
        precision: the format.
        model: SHA-256 of the weights it belongs to: of a run's ``model.keras``, or of an export.
        graph: SHA-256 of the graph that was judged, ``graph_digest``.
        threshold: chosen on validation for this format.
        f1, f1_float32: on validation, each at the threshold that is best for it.
        ece, ece_float32: expected calibration error on validation.
        valid: the split: ``patches``, their number, and ``sha256``, its fingerprint.
        cpu: the instructions of the CPU that judged, of those kernels are chosen by.
        made: when, in UTC.
        versions: of what computed.
        calibration: for int8, the training patches that ranges were taken from, as ``valid``.
    """

    precision: str
    model: str
    graph: str
    threshold: _Share
    f1: _Share
    f1_float32: _Share
    ece: _Share
    ece_float32: _Share
    valid: dict[str, Any]
    cpu: tuple[str, ...]
    made: str
    versions: dict[str, str]
    calibration: dict[str, Any] = field(default_factory=dict)

    @property
    def lost(self) -> float:
        """Of F1; below 0 where it was gained."""
        return self.f1_float32 - self.f1

    @property
    def holds(self) -> bool:
        return self.lost <= ALLOWED[self.precision]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"F1 {self.f1:.4f} on validation for {self.f1_float32:.4f} in float32, ECE {self.ece:.4f} for "
            f"{self.ece_float32:.4f}, at threshold {self.threshold:.3f}"
        )


def require_to_prove(precision: str) -> None:
    """Raise ``LandslideError`` where this CPU does not compute in a format, or what makes its graph is missing."""
    if lacks := lacking(precision):
        raise LandslideError(f"{precision}: {lacks}; prove it on a machine that computes in it")
    require("openvino", "openvino")
    if precision == INT8:
        require("nncf", "int8")


def command(precision: str) -> str:
    """What proves a format."""
    return f"tf-landslide prove RUN --data DIR --precision {precision}"


def read_proof(folder: Path, precision: str, model: str, whose: object) -> Proof:
    """The proof that a folder holds, if it holds for these weights and this graph.

    Args:
        folder: with the graph and ``proof.json``.
        precision: that is asked for.
        model: digest of the weights as they are now.
        whose: the run or the export, to name it.

    Raises:
        LandslideError: no proof, a damaged one, one of other weights or of another graph, or one that does not hold.
    """
    path = folder / formats.PROOF
    try:
        said = read_json(path)
    except FileNotFoundError:
        raise LandslideError(f"{whose}: {precision} is not proven for it; {command(precision)}") from None
    proof: Proof = checked(TypeAdapter(Proof), said, path)
    again = f"prove it anew: {command(precision)}"
    if proof.precision != precision:
        raise LandslideError(f"{path}: is of {proof.precision}, not of {precision}; {again}")
    if proof.model != model:
        raise LandslideError(f"{path}: is of other weights than {whose} holds now; {again}")
    if not proof.holds:
        raise LandslideError(f"{path}: {precision} loses {proof.lost:.4f} of F1, {ALLOWED[precision]:g} are allowed")
    if proof.graph != graph_digest(folder):
        raise LandslideError(f"{folder}: holds another graph than was judged; {again}")
    return proof


def graph_digest(folder: Path) -> str:
    """SHA-256 of the graph in a folder. Raises ``LandslideError`` where there is none."""
    digest = hashlib.sha256()
    for name in (formats.GRAPH, formats.GRAPH_WEIGHTS):
        try:
            with (folder / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except FileNotFoundError:
            raise LandslideError(f"{folder / name}: is missing; prove the format anew") from None
    return digest.hexdigest()


def lacking(precision: str) -> str:
    """Why this CPU does not compute in a format; empty where it does."""
    needed = NEEDED.get(precision, ())
    if not needed or set(needed) & set(instructions()):
        return ""
    return f"this CPU has none of the instructions that {precision} needs ({', '.join(needed)})"
