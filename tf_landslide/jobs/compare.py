"""Runs beside each other, on what they kept of their judging or judged anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tf_landslide.core.errors import LandslideError, require_known
from tf_landslide.core.files import replacing, require_writable, write_json, write_text
from tf_landslide.data.folders import SPLITS, find_patches
from tf_landslide.data.hdf5 import read_mask
from tf_landslide.evaluation.comparing import comparison_document, comparison_values
from tf_landslide.evaluation.comparison import Entry, compare, grouped, twins
from tf_landslide.evaluation.tally import MasksDigest
from tf_landslide.runs import formats
from tf_landslide.runs.folder import Run
from tf_landslide.runs.judged import Judged
from tf_landslide.runs.provenance import has_seen, is_of_files, judged_on, split_fingerprint


def compare_runs(
    paths: Sequence[str | Path],
    split: str,
    out: Path | None = None,
    data_dir: str | Path | None = None,
    against: str | Path | None = None,
) -> dict[str, Any]:
    """Compare runs on a split, and write ``compare.md``, ``.csv``, ``.html``, ``.json`` and the figure to ``out``.

    Args:
        paths: run folders, or folders of them.
        split: ``train``, ``valid`` or ``test``.
        out: folder to write to; None writes nothing.
        data_dir: judge on this dataset; None takes what the runs kept.
        against: the baseline that each is set against, a run or a folder of runs among ``paths``, or to be added to
            them; None takes the best.

    Returns:
        as ``evaluation.comparison.compare``, and ``notes``.

    Raises:
        LandslideError: no run, one that kept no counts of the split, counts that do not sum to the split's pixels, or
            runs that were judged on different data.
    """
    require_known(split, SPLITS, "split")
    if out is not None:
        require_writable(out)
    named = _named(paths if against is None or _is_among(against, paths) else [*paths, against])
    runs = {name: Run.open(path) for name, path in named.items()}
    entries = [
        Entry(name, run.config, _judged(run, split, data_dir), _made(run), run.path.resolve().parent)
        for name, run in runs.items()
    ]
    baseline = None if against is None else _baseline(Path(against), named, entries)
    compared = compare(entries, baseline)
    compared["notes"] = _notes(runs, entries, compared)
    if out is not None:
        _write(compared, out)
    return compared


def _inside(path: Path) -> list[Path]:
    """The runs that a path stands for: itself, or those in it; of a folder of folds, the counts out of fold."""
    if (one := _run_of(path)) or not path.is_dir():
        return [one or path]
    return [run for child in sorted(path.iterdir()) if (run := _run_of(child))] or [path]


def _run_of(path: Path) -> Path | None:
    """The run that a path is, or the counts out of fold of a folder of folds; None where it is neither."""
    return next(filter(formats.is_run, (path, path / formats.OUT_OF_FOLD)), None)


def _is_among(path: str | Path, paths: Sequence[str | Path]) -> bool:
    given = {inside.resolve() for one in paths for inside in _inside(Path(one))}
    return any(inside.resolve() in given for inside in _inside(Path(path)))


def _baseline(path: Path, named: dict[str, Path], entries: Sequence[Entry]) -> str:
    """The name of a run of the baseline. Raises ``LandslideError`` where it names runs of several models."""
    wanted = {inside.resolve() for inside in _inside(path)}
    names = [name for name, at in named.items() if at.resolve() in wanted]
    if len(grouped([entry for entry in entries if entry.name in names])) > 1:
        raise LandslideError(f"--against {path}: holds runs of several models; name one run")
    return names[0]


def _made(run: Run) -> dict[str, Any]:
    """Of what else than its config a run was made, in digests of eight digits: data, checkpoint, other runs."""
    environment, derived = run.environment, run.derived
    data = environment.get("data_fingerprint", {}).get("train", {}).get("sha256", "")
    checkpoint = environment.get(formats.CONVERTED, {}).get("sha256", "")
    made = {key: str(digest)[:8] for key, digest in (("data", data), ("checkpoint", checkpoint)) if digest}
    if derived is None:
        return made
    of_others = {
        "members": len(derived.members),
        "network": " + ".join(filter(None, derived.network)),
        "average": derived.average,
        "symmetries": derived.symmetries,
        "statistics": derived.statistics,
        "images": derived.images,
        "temperature": derived.temperature is not None,
    }
    return made | {key: value for key, value in of_others.items() if value}


def _named(paths: Sequence[str | Path]) -> dict[str, Path]:
    """Runs by the shortest end of their path that tells them apart; a folder of runs stands for those in it."""
    found = [inside for path in paths for inside in _inside(Path(path))]
    whole = [path.resolve() for path in found]
    if twice := [path for path, at in zip(found, whole, strict=True) if whole.count(at) > 1]:
        raise LandslideError(f"{twice[0]}: is named twice")
    longest = max(len(path.parts) for path in whole)
    parts = next(n for n in range(1, longest + 1) if len({path.parts[-n:] for path in whole}) == len(whole))
    return {"/".join(path.parts[-parts:]): given for path, given in zip(whole, found, strict=True)}


def _judged(run: Run, split: str, data_dir: str | Path | None) -> Judged:
    """The counts of a run on a split: those that it kept, where they are of this model and these data."""
    _ = run.threshold  # an unfinished run is refused
    run = run if data_dir is None else judged_on(run, data_dir, split)
    kept: list[Path] = []
    model = run.model_digest if run.model_path.exists() else None
    report = run.path / f"{formats.REPORT}_{split}"
    for path in (formats.judged_file(run.path, split), formats.evaluated_file(report)):
        if not path.is_file():
            continue
        judged = Judged.load(path)
        if judged.about.split != split:
            raise LandslideError(f"{path}: holds counts of split {judged.about.split!r}, expected {split!r}")
        kept.append(path)
        if model in (None, judged.about.model) and _is_of(judged, run, model, data_dir):
            _check_metrics(run, judged, path)
            return judged
    if data_dir is not None and model is not None:
        return _judged_anew(run, split, data_dir)
    if kept and model is None:
        raise LandslideError(f"{kept[0]}: is of other data than {data_dir}, and there is no model to judge on those")
    if kept:
        raise LandslideError(f"{kept[0]}: is of another model than {run.model_path.name} is now; give --data DIR")
    there = sorted(path.stem for path in (run.path / formats.JUDGED).glob("*.npz"))
    hint = f"it has those of {', '.join(there)}" if there else "runs of before kept none"
    raise LandslideError(
        f"{run.path}: keeps no counts of split {split!r} ({hint}); judge it on its data with --data DIR"
    )


def _is_of(judged: Judged, run: Run, model: str | None, data_dir: str | Path | None) -> bool:
    """Whether counts are of a dataset as it is now, of which a fingerprint looks at a few masks only.

    A model's are of the patches that its config names; counts alone, out of fold too, of those that they say.
    """
    if data_dir is None:
        return True
    data, about = run.config.data, judged.about
    divides = about.of_train if model is None else data.divides_train and about.split in ("train", "valid")
    stored = "train" if divides else about.split
    masks = {patch.image.name: patch.mask for patch in find_patches(data_dir, stored) if patch.image and patch.mask}
    if divides != about.of_train or split_fingerprint(Path(data_dir), stored) != about.files:
        return False
    if not set(about.names) <= masks.keys():
        return False
    digest = MasksDigest()
    for name in about.names:
        digest.add(read_mask(masks[name], ignore=data.ignore))
    return digest.text == about.masks


def _judged_anew(run: Run, split: str, data_dir: str | Path) -> Judged:
    from tf_landslide.jobs.evaluate import counts_on  # TensorFlow

    return counts_on(run, data_dir, split)


def _check_metrics(run: Run, judged: Judged, path: Path) -> None:
    """Refuse a run whose ``metrics.json`` tells other counts than were kept."""
    if path != formats.judged_file(run.path, judged.about.split):
        return
    told = run.metrics().get(judged.about.split, {})
    names = ("tp", "fp", "fn", "tn")
    counts = dict(zip(names, map(int, judged.histograms.counts(judged.about.threshold).sum(0)), strict=True))
    if any(told.get(name) != counts[name] for name in names):
        summed, pixels = sum(told.get(name, 0) for name in names), int((judged.pixels - judged.ignored).sum())
        raise LandslideError(
            f"{run.path / formats.METRICS}: counts of {judged.about.split} sum to {summed:,}, the split has {pixels:,} "
            f"pixels, counted in {path.name}; they are not of one judging: judge the run again"
        )


def _notes(runs: dict[str, Run], entries: Sequence[Entry], compared: dict[str, Any]) -> list[str]:
    """What a reader must know before believing the order."""
    told = []
    if any(run.environment.get("synthetic") for run in runs.values()):
        told.append("SYNTHETIC: the sample landscape was made by a program; it says nothing about real landslides.")
    if counted := [name for name, run in runs.items() if not run.model_path.exists()]:
        told.append(f"Counts alone, of models that are not here to be judged again: {', '.join(counted)}.")
    told += sorted({run.recipe.layout.caveat for run in runs.values() if run.recipe.layout.caveat})
    if compared["of_train"] and compared["split"] == "valid":
        told.append("Validation is a part of the training split: where it was drawn by chance, its scores flatter.")
    own = [one.name for one in entries if is_of_files(runs[one.name], compared["split"], one.judged.about.files)]
    of = "" if len(own) == len(entries) else f" of {', '.join(own)}"
    if compared["split"] == "valid" and own:
        told.append(f"Epochs and thresholds{of} were chosen on validation: its scores flatter. Quote a test split.")
    if compared["split"] == "train" and own:
        by = of.replace(" of ", " by ", 1)
        told.append(f"These patches were trained on{by}: the order says what was learned, not what generalises.")
    if len({source for row in compared["rows"] for source in row["threshold_from"]}) > 1:
        told.append("Thresholds are of different origin: a model from elsewhere came with its own.")
    others = (one for one in entries if one.name not in own)
    if seen := [one.name for one in others if has_seen(runs[one.name], one.judged.about.files)]:
        told.append(f"Trained on these very patches, which are called {compared['split']} here: {', '.join(seen)}.")
    told += [f"{' and '.join(names)} are of one seed, so that neither is a second one." for names in twins(entries)]
    if compared["unit"] == "groups" and compared["units"] < 6:
        told.append(f"There are but {compared['units']} groups: no test can tell much from so few.")
    return told


def _write(compared: dict[str, Any], out: Path) -> None:
    document = comparison_document(compared, compared["notes"])
    out.mkdir(parents=True, exist_ok=True)
    document.save_pictures(out)
    write_text(out / "compare.md", document.markdown())
    write_text(out / "compare.html", document.html())
    with replacing(out / "compare.csv") as partial:
        partial.write_bytes(comparison_values(compared).csv().encode())  # its line ends stay
    write_json(out / "compare.json", compared)
