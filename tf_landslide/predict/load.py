"""Models by where they are: a run, an export, a server."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.startup import start_tensorflow
from tf_landslide.core.errors import LandslideError, require_known, warn
from tf_landslide.core.files import read_json
from tf_landslide.predict.predictor import Predictor
from tf_landslide.predict.short import CannotRun, short_predictor
from tf_landslide.runs import formats
from tf_landslide.runs.card import ModelCard
from tf_landslide.runs.folder import Run
from tf_landslide.runs.precision import FLOAT32, PRECISIONS, SHORT, lacking

if TYPE_CHECKING:
    import keras

RUNTIMES = ("auto", "tensorflow", "openvino")


def is_server(model: str | Path) -> bool:
    """Whether a model is named by the address of a server."""
    return str(model).startswith(("grpc://", "grpcs://"))


def load_predictor(
    model: str | Path, *, runtime: str = "auto", precision: str | None = None, unsure: bool = False, **options: Any
) -> Predictor:
    """A predictor from a run folder, a SavedModel folder (a version, or its parent: the highest version), or a server.

    Args:
        model: a folder, or ``grpc://HOST:PORT/NAME``.
        runtime: what computes a SavedModel: ``tensorflow``; ``openvino``, an optional package that is faster on CPUs
            and must give what the exported model gave, to 1e-4, or is refused; ``auto`` takes OpenVINO where it is
            installed, passes that test and there is no NVIDIA GPU, else TensorFlow.
        precision: ``float32``, ``bfloat16`` or ``int8``; the short ones by OpenVINO, where they were proven for the
            model (``tf-landslide prove``), with the threshold chosen for them. None takes what an export was published
            with; where this machine cannot, float32, with a warning.
        unsure: it is to be asked how sure it is, too: TensorFlow computes that, in float32; ``auto`` takes it then.
        **options: for a server: those of ``tf_landslide.predict.backends.server.connect``.

    Raises:
        LandslideError: none of these, unfinished, unreadable or unreachable, a runtime that cannot be had, or a
            precision that is not proven for these weights.
    """
    require_known(runtime, RUNTIMES, "runtime")
    if precision is not None:
        require_known(precision, PRECISIONS, "precision")
    if is_server(model):
        if runtime != "auto" or precision is not None:
            raise LandslideError(
                f"{model}: is a server, which chooses itself what computes; leave out runtime and precision"
            )
        from tf_landslide.predict.backends.server import connect  # gRPC, which the other models do without

        return connect(str(model), **options)
    if options:
        raise LandslideError(f"{model}: is no server (grpc://HOST:PORT/NAME), which {', '.join(options)} is for")
    path = Path(model)
    if not path.exists():
        raise LandslideError(f"{path}: no such run or SavedModel folder")
    if unsure:
        require_float32(path, runtime, precision)
        runtime = "tensorflow"
    if precision in SHORT and runtime == "tensorflow":
        raise LandslideError(f"{path}: TensorFlow computes in float32; leave out --runtime for {precision}")
    if formats.is_run(path):
        if runtime == "openvino" and precision not in SHORT:
            raise LandslideError(f"{path}: is a run; OpenVINO takes SavedModels, see tf-landslide export")
        return predictor_of(Run.open(path), precision=precision)
    version = formats.export_version(path)
    if version is None:
        raise LandslideError(
            f"{path}: is neither a run ({formats.CONFIG}, {formats.MODEL}) nor a SavedModel ({formats.SAVED_MODEL})"
        )
    chosen = _published(version, runtime) if precision is None else precision
    if chosen not in SHORT:
        return _of_export(version, runtime)
    try:
        return short_predictor(_card(version), version, formats.export_digest(version), chosen)
    except CannotRun as reason:
        if precision is not None:
            raise
        warn(f"{reason}; float32 is taken in its place")
        return _of_export(version, runtime)


def require_float32(model: Path, runtime: str, precision: str | None) -> None:
    """Raise ``LandslideError`` where a model that is asked how sure it is is to be computed otherwise."""
    asked = [f"--runtime {runtime}"] if runtime == "openvino" else []
    asked += [f"--precision {precision}"] if precision in SHORT else []
    if asked:
        raise LandslideError(
            f"{model}: how sure a model is is computed by TensorFlow in float32; leave out {' and '.join(asked)}"
        )


def load_card(path: Path) -> ModelCard:
    """The card of a run or an export, without its weights. Raises ``LandslideError`` where there is none to read."""
    if formats.is_run(path):
        return Run.open(path).card()
    return _card(formats.export_version(path) or path)


def load_model(path: str | Path, *, compile: bool = True) -> keras.Model:
    """The Keras model of a run folder, or of a ``.keras`` file of ours, loaded in safe mode.

    Args:
        path: of the folder or the file.
        compile: bring its optimiser, loss and metrics along, to train on, in the precision it was trained in. Without,
            it computes in float32 in any case.

    Raises:
        LandslideError: there is none, or it is damaged.
    """
    start_tensorflow()
    from tf_landslide.predict.backends.keras import load_keras_model  # TensorFlow

    file = Path(path)
    if file.is_dir():
        file = Run.open(path).require_model()
    elif not file.is_file():
        raise LandslideError(f"{file}: no such run or {formats.MODEL}")
    return load_keras_model(file, compile=compile)


def predictor_of(run: Run, threshold: float | None = None, precision: str | None = None) -> Predictor:
    """The predictor of a run.

    Args:
        run: whose model it is.
        threshold: stands in for the one that judging has not chosen yet.
        precision: as of ``load_predictor``.

    Raises:
        LandslideError: a damaged model, or a precision that is not proven for it.
    """
    if precision in SHORT:
        return short_predictor(run.card(threshold), run.path, run.model_digest, precision)
    start_tensorflow()
    from tf_landslide.predict.backends.keras import KerasBackend  # TensorFlow

    return Predictor(run.card(threshold), KerasBackend(load_model(run.path, compile=False)))


def _card(version: Path) -> ModelCard:
    path = version / formats.CARD
    try:
        return ModelCard.from_dict(read_json(path), path)
    except FileNotFoundError:
        raise LandslideError(f"{path}: is missing; export the model with tf-landslide export") from None


def _of_export(version: Path, runtime: str) -> Predictor:
    card = _card(version)
    if runtime == "openvino" or (runtime == "auto" and find_spec("openvino") and not _has_gpu()):
        from tf_landslide.predict.backends.openvino import Unfit, of_saved_model  # optional

        try:
            return Predictor(card, of_saved_model(version))
        except Unfit as reason:
            if runtime == "openvino":
                raise LandslideError(f"{version}: OpenVINO cannot run it: {reason}") from None
            warn(f"{version}: TensorFlow runs it, since OpenVINO cannot: {reason}")
    start_tensorflow()
    from tf_landslide.predict.backends.savedmodel import SavedModelBackend  # TensorFlow

    return Predictor(card, SavedModelBackend(version))


def _published(version: Path, runtime: str) -> str:
    """The precision of an export for which nobody asks for one: its own, if that can be had here."""
    own = formats.published_precision(version)
    if own not in SHORT or runtime == "tensorflow":
        return FLOAT32
    lacks = lacking(own) or ("" if find_spec("openvino") else "OpenVINO is not installed")
    if _has_gpu():
        lacks = "there is an NVIDIA GPU, which TensorFlow takes"
    if lacks:
        warn(f"{version}: was published in {own}, is computed in float32: {lacks}")
    return FLOAT32 if lacks else own


def _has_gpu() -> bool:
    return any(Path("/dev").glob("nvidia[0-9]*"))
