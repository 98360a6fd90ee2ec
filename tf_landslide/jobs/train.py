"""Train, keep the best epoch, choose the threshold, judge, report."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import keras
import tensorflow as tf

from tf_landslide.core.errors import LandslideError, warn
from tf_landslide.core.files import beside, replacing, sweep, telling_a_full_disk, write_json, write_text
from tf_landslide.core.locks import is_in_the_way, locked
from tf_landslide.data.pipeline import as_dataset, telling_what_is_unread
from tf_landslide.data.source import PatchSource
from tf_landslide.evaluation.judge import judge_splits
from tf_landslide.evaluation.keeping import judged_of
from tf_landslide.evaluation.report import write_report
from tf_landslide.figures.shown import ShownPatches
from tf_landslide.metrics import SCORES
from tf_landslide.models import STRIDE
from tf_landslide.models.build import build_model
from tf_landslide.predict.load import load_model, predictor_of
from tf_landslide.runs import formats
from tf_landslide.runs.folder import Run
from tf_landslide.runs.provenance import check_same_data, data_fingerprint, environment, record_session
from tf_landslide.runs.sections import Config
from tf_landslide.runs.sections.loss import is_balanced
from tf_landslide.runs.splits import groups_of, open_splits, with_share
from tf_landslide.runs.state import TrainingState
from tf_landslide.training.fit import Followed, fit
from tf_landslide.training.team import Team, join, telling_of_a_lost_worker
from tf_landslide.training.trackers import imported, tracking


def train(config: Config, data_dir: str | Path, run_dir: str | Path, *, resume: bool = False) -> Run:
    """Train, keep the best model by validation F1, choose its threshold on validation, and judge every split.

    All input is read and checked before the run folder is made.

    Args:
        config: of the run.
        data_dir: HDF5 patches with a train and a valid split; a test split is judged where there is one.
        run_dir: the run folder to make.
        resume: go on with the run that ``run_dir`` holds, from the epoch that its last whole state has behind it; its
            config may name more epochs than before, and no other change.

    Returns:
        The finished run.

    Raises:
        LandslideError: bad config or data, a run folder in the way, or in use by another process, a damaged state or
            other data to go on with, a full disk, too little memory, or a loss that is no longer a number.
    """
    path, team = Path(run_dir), join(config.training.strategy)
    team.check_batch(config.training.batch_size)
    with locked(path) if team.chief else nullcontext(), beside(path) as cache_dir, telling_a_full_disk(path):
        run = _prepared(config, path, resume) if team.chief else Run(path, config)
        with telling_of_a_lost_worker(team):
            return _trained(run, Path(data_dir), cache_dir, team, resume)


def _trained(run: Run, data_dir: Path, cache_dir: Path, team: Team, resume: bool) -> Run:
    config = run.config
    settings, data = config.training, config.data
    modules = imported(settings.trackers)
    fingerprint = data_fingerprint(data_dir)
    if team.chief:
        check_same_data(run, data_dir, fingerprint)
    state = TrainingState.load(run.state_path) if team.chief or resume else None
    keras.utils.set_random_seed(settings.seed)
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    with team.strategy.scope():
        model = begin(run, state)
    sources = open_splits(config, data_dir, cache_dir=cache_dir)
    for split in ("train", "valid"):
        check_size(sources[split], split, data.pad)
        _tell_of_nothing(sources[split], split)
    balanced = sources["train"].balance if is_balanced(config.loss) else None
    train_set = training_set(config, sources["train"])
    normalise(model, run, sources["train"])
    valid_set = as_dataset(sources["valid"], settings.batch_size, pad=data.pad)
    if not team.chief:
        fit(model, run, train_set, valid_set, state, team, balanced=balanced)
        return run
    devices = [device.device_type for device in tf.config.list_physical_devices()]
    shown = ShownPatches.of(sources["valid"], run.recipe.layout, settings.images) if settings.images else None
    with _run_folder(run):
        session = environment(settings.seed, data_dir, devices, fingerprint)
        session["patch"] = list(sources["train"].shape[:2])
        if balanced:
            session["positive_weight"] = balanced
        record_session(run, session, len(state.history) if state else 0)
        with tracking(run, modules) as trackers:
            followed = Followed(trackers, shown)
            fit(model, run, train_set, valid_set, state, team, balanced=balanced, followed=followed)
            judge_run(run, sources)
            trackers.tell("scores", _told(run))
    return run


def _told(run: Run) -> dict[str, float]:
    """The scores of each split, for trackers."""
    rows = run.metrics().items()
    return {f"{split}_{name}_at_threshold": row[name] for split, row in rows for name in SCORES}


def begin(run: Run, state: TrainingState | None = None) -> keras.Model:
    """The model that a run begins with, to be normalised; its folder need not exist.

    Args:
        run: whose config is looked at.
        state: that is to be restored, so that weights of another run are not asked for.
    """
    model = _built(run)
    if run.config.model.init_from and not state:
        _start_from(model, Path(run.config.model.init_from), run)
    return model


def training_set(config: Config, source: PatchSource) -> tf.data.Dataset:
    """Batches of the training split, as a config asks for them."""
    data, settings = config.data, config.training
    return as_dataset(
        source,
        settings.batch_size,
        shuffle=True,
        augment=data.augment,
        augmentation=data.augmentation.settings,
        positive_fraction=data.positive_fraction,
        hard_share=data.mining.share,
        seed=settings.seed,
        pad=data.pad,
    )


def judge_run(run: Run, sources: dict[str, PatchSource]) -> None:
    """Judge every split with the threshold chosen on validation: ``judged/``, ``report/`` and ``metrics.json``.

    This last, for by it a run is finished.
    """
    predictor = predictor_of(run, threshold=0.5)
    groups = groups_of(run.config, sources)
    judgements = judge_splits(predictor, sources, groups)
    metrics = with_share(run.config, {split: judged.scores for split, judged in judgements.items()}, groups)
    for split, judgement in judgements.items():
        judged_of(run, judgement).save(formats.judged_file(run.path, split))
    shown = judgements.get("test", judgements["valid"])
    write_report(run, predictor, shown, metrics, run.path / formats.REPORT)
    write_json(run.path / formats.METRICS, metrics)


def _built(run: Run) -> keras.Model:
    config = run.config
    return build_model(
        config.model.architecture,
        config.model.encoder,
        channels=run.recipe.channel_names,
        encoder_weights=None if config.model.encoder_weights == "none" else config.model.encoder_weights,
        precision=config.training.precision,
        head_dropout=config.model.head_dropout,
        name=config.name,
        **config.model.options,
    )


def _start_from(model: keras.Model, path: Path, run: Run) -> None:
    """Give a model the weights of a run of the same model. Raises ``LandslideError`` for any other."""

    def what(run: Run) -> str:
        model = run.config.model
        parts = (
            model.architecture,
            model.encoder,
            f"encoder_weights {model.encoder_weights}",
            f"options {model.options}",
        )
        return f"{', '.join(filter(None, parts))}, channels {', '.join(run.recipe.channel_names)}"

    given = Run.open(path)
    if given.derived and not given.derived.same_network:
        raise LandslideError(f"model.init_from: {path} is a combined model; name one of the runs that it is made of")
    if what(given) != what(run):
        raise LandslideError(f"model.init_from: {path} is of {what(given)}; this run is of {what(run)}")
    theirs, ours = given.config.data.normalise, run.config.data.normalise
    if theirs != ours:
        warn(
            f"model.init_from: {path} {'normalises' if theirs else 'does not normalise'} its channels, this run "
            f"{'does' if ours else 'does not'}, and its weights meet other numbers: add "
            f"data.normalise={str(theirs).lower()}"
        )
    model.set_weights(load_model(path, compile=False).get_weights())
    if not ours:
        model.get_layer("normalization").reset()  # else the other's statistics stay: ``normalise`` sets none


def normalise(model: keras.Model, run: Run, source: PatchSource) -> None:
    """Set the model's normalisation from the training split, and warn of a channel that says nothing in it."""
    if not run.config.data.normalise:
        return
    layer = model.get_layer("normalization")
    batches = as_dataset(source, run.config.training.batch_size)
    with telling_what_is_unread(batches):
        layer.adapt(batches)
    constant = [run.recipe.channel_names[i] for i in layer.constant_channels]
    if constant:
        warn(
            f"constant over the whole training split, so that nothing is learned of it: {', '.join(constant)}; "
            "the model takes it as zero"
        )


@contextmanager
def _run_folder(run: Run) -> Iterator[None]:
    """Make the run folder; take it away again where training ends before anything is worth resuming."""
    existed = run.path.exists()
    if existed:
        write_text(run.path / formats.CONFIG, run.config.to_yaml())
    else:  # it comes with its config in it, so that no kill leaves a folder that is no run
        with replacing(run.path) as partial:
            partial.mkdir()
            (partial / formats.CONFIG).write_text(run.config.to_yaml(), encoding="utf-8")
    try:
        yield
    except BaseException:
        if not run.history and not existed:
            shutil.rmtree(run.path)
        raise


def _prepared(config: Config, path: Path, resume: bool) -> Run:
    for folder in ((path / formats.STATE).parent, path / formats.REPORT):
        sweep(folder)
    taken = is_in_the_way(path)
    if resume and not taken:
        raise LandslideError(f"{path}: is not a run folder, there is nothing to go on with; leave out --resume")
    if resume:
        run = Run.open(path)
        if run.is_converted or run.derived:
            raise LandslideError(f"{path}: was not trained here; start from it with model.init_from={path}")
        earlier = run.config
        epochs = max(earlier.training.epochs, config.training.epochs)
        longer = earlier.model_copy(update={"training": earlier.training.model_copy(update={"epochs": epochs})})
        if longer != config:
            raise LandslideError(
                f"{path}: was started with another config; resume it with {path}/{formats.CONFIG}, in which only "
                "training.epochs may grow"
            )
    elif taken:
        raise LandslideError(f"{path}: already exists; name another folder, or go on with it with --resume")
    return Run(path, config)


def _tell_of_nothing(source: PatchSource, split: str) -> None:
    """Warn of a split in which there is nothing to find."""
    known, landslides = int(source.pixels.sum()), int(source.pixels[:, 1].sum())
    if not landslides:
        what = "no landslide pixel" if known else "no pixel that is not ignored"
        so = {"train": "no landslide can be learned", "valid": "the choice of epoch and threshold says nothing"}[split]
        warn(f"{source.data_dir}: {split} holds {what}, so that {so}; see tf-landslide inspect")


def check_size(source: PatchSource, split: str, pad: bool) -> None:
    """Raise ``LandslideError`` for patches that no model trains on as they are."""
    height, width, _ = source.shape
    if not pad and (height % STRIDE or width % STRIDE):
        raise LandslideError(
            f"{source.data_dir}: {split} patches are {height} x {width}; training needs heights and widths that are "
            f"multiples of {STRIDE} (predict takes any size): data.pad=true mirrors them to that"
        )
