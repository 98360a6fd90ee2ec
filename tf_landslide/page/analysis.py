"""Running models on uploads, and what is said about it in words."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tf_landslide.core.errors import LandslideError, first_line
from tf_landslide.metrics import SCORES
from tf_landslide.objects.rules import Rules
from tf_landslide.page.library import Library
from tf_landslide.page.refining import Refining
from tf_landslide.page.text import listed, literal
from tf_landslide.page.uploads import Upload
from tf_landslide.predict.predictor import Predictor
from tf_landslide.predict.result import Result

NOTHING = "–"  # where a number is not defined, or nobody can tell
LABELS = {"f1": "F1", "precision": "precision", "recall": "recall", "iou": "IoU"}


@dataclass
class Analysis:
    """Uploads and what models made of them: ``results[upload][model]``, in order; ``refining``, where rules do so."""

    uploads: list[Upload] = field(default_factory=list)
    results: list[dict[str, Result]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    refining: Refining | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of bands and results."""
        results = sum(result.probability.nbytes for results in self.results for result in results.values())
        refined = self.refining.nbytes if self.refining else 0
        return results + refined + sum(upload.nbytes for upload in self.uploads)

    def at(self, upload: int, threshold: float | None = None) -> dict[str, Result]:
        """As ``network_at``; refined, where rules do so."""
        results = self.network_at(upload, threshold)
        if self.refining is None:
            return results
        return {name: self.refining.refined(self.uploads[upload], result) for name, result in results.items()}

    def network_at(self, upload: int, threshold: float | None = None) -> dict[str, Result]:
        """An upload's results by model, each at a threshold, or at its model's own where that is None."""
        results = self.results[upload]
        if threshold is None:
            return results
        return {name: replace(result, threshold=threshold) for name, result in results.items()}


def analyse(
    library: Library,
    uploads: Sequence[Upload],
    models: Sequence[str],
    progress: Callable[[float, str], object] = lambda *_: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Analysis:
    """Run models on uploads; what cannot be run is a problem in a sentence, the rest is done.

    Args:
        library: loads the models.
        uploads: what to look at.
        models: names of models.
        progress: told the share done and what is next.
        cancelled: asked before each step; what was done until then is kept.
    """
    analysis = Analysis(list(uploads), [{} for _ in uploads])
    misfits: dict[tuple[str, str], tuple[dict[str, None], dict[str, None]]] = {}
    total = max(1, len(uploads) * len(models))

    def step(done: int, what: str) -> bool:
        if cancelled():
            analysis.problems.append(f"cancelled after {done} of {total}; what was done until then is shown")
            return False
        progress(done / total, f"{what} ({done + 1} of {total})")
        return True

    for turn, name in enumerate(models):
        done = turn * len(uploads)
        try:
            card = library.card(name)
            fitting = [position for position, upload in enumerate(uploads) if upload.misfit(card) is None]
            for upload in uploads:
                if takes := upload.misfit(card):
                    patches, others = misfits.setdefault((upload.holds, takes), ({}, {}))
                    patches[upload.name] = others[name] = None
            if not fitting:
                continue
            if not step(done, f"loading {name}"):
                break
            predictor = library.predictor(name)
        except LandslideError as error:
            analysis.problems.append(str(error))
            continue
        for position in fitting:
            if not step(done + position, f"{name}: {uploads[position].name}"):
                break
            try:
                analysis.results[position][name] = _result(uploads[position], predictor)
            except LandslideError as error:
                analysis.problems.append(str(error))
            except Exception as error:  # a damaged model can raise anything: it costs this result, not the others
                said = f"{type(error).__name__}: {first_line(error)}"
                analysis.problems.append(f"model {name!r} on {uploads[position].name}: failed ({said})")
        else:
            continue
        break
    analysis.problems += [_misfit(*needs, *map(list, names)) for needs, names in misfits.items()]
    analysis.problems = list(dict.fromkeys(analysis.problems))  # a server that is away says so for each patch
    return analysis


def refine(
    analysis: Analysis,
    rules: Rules | None,
    progress: Callable[[float, str], object] = lambda *_: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Analysis:
    """The same results, refined; what cannot be refined stays the network's, and is a problem in a sentence.

    Args:
        analysis: whose models have run.
        rules: to refine by; None takes the network's own masks again.
        progress, cancelled: as of ``analyse``.
    """
    if rules is None:
        return replace(analysis, refining=None)
    refining = Refining(rules)
    wanted = [
        (upload, result)
        for upload, results in zip(analysis.uploads, analysis.results, strict=True)
        for result in results.values()
    ]
    for done, (upload, result) in enumerate(wanted):
        if cancelled():
            refining.problems.append(f"cancelled after {done} of {len(wanted)}; the others are not refined")
            break
        progress(done / len(wanted), f"refining {upload.name}, {result.card.name} ({done + 1} of {len(wanted)})")
        try:
            refining.find(upload, result)
        except LandslideError as error:
            refining.problems.append(f"{result.card.name} on {upload.name} is not refined: {error}")
    return replace(analysis, refining=refining)


def _result(upload: Upload, predictor: Predictor) -> Result:
    started = time.perf_counter()
    channels = upload.channels(predictor.card)
    return Result(
        upload.name,
        predictor.card,
        predictor(channels)[0, ..., 0],
        predictor.card.threshold,
        upload.pixel_size,
        int((~np.isfinite(channels)).sum()),
        seconds=time.perf_counter() - started,
    )


def _misfit(holds: str, takes: str, patches: list[str], models: list[str]) -> str:
    return f"{listed(patches)}: in {holds}; {listed(models)}: made for {takes}; these were not run together"


def sentence(analysis: Analysis, upload: int, model: str, threshold: float | None = None) -> str:
    """A result in words, as Markdown."""
    result, truth = analysis.at(upload, threshold)[model], analysis.uploads[upload].mask
    network = analysis.network_at(upload, threshold)[model]
    row, beside = result.summary(truth), network.summary(truth)
    refined = result.refined is not None
    area = "" if row["landslide_area_m2"] is None else f" ({row['landslide_area_m2'] / 1e4:,.2f} ha)"
    own = "the model's own" if threshold is None else f"moved from {result.card.threshold:.3f}"
    text = f"**{literal(result.name)}**, {literal(model)}: "
    if refined and analysis.refining:
        text += f"refined by rules {literal(analysis.refining.rules.name)}, "
    text += f"landslide on **{100 * row['landslide_fraction']:.2f} %**{area}, "
    if refined:
        text += f"{100 * beside['landslide_fraction']:.2f} % by the network alone, "
    text += f"mean probability {row['mean_probability']:.4f}; threshold {row['threshold']:.3f} ({own}); "
    text += f"{result.seconds:.2f} s"
    if truth is not None:
        alone = {name: f" ({shown(beside[name])})" if refined else "" for name in SCORES}
        text += "  \n" + ", ".join(f"{LABELS[name]} {shown(row[name])}{alone[name]}" for name in SCORES)
        text += "; in brackets the network alone" if refined else ""
        if row["f1"] is None:
            text += " (nothing to find, and nothing marked)"
    notes = analysis.refining.said(analysis.uploads[upload], result) if analysis.refining else []
    return "  \n".join([text, *map(literal, notes)])


def shown(value: float | None, form: str = ".4f") -> str:
    """A number, or a dash where there is none."""
    return NOTHING if value is None else format(value, form)


def status(analysis: Analysis) -> str:
    """What was used, what looks odd and what could not be used, as Markdown; patches that are alike in one line."""
    used = [upload for upload, results in zip(analysis.uploads, analysis.results, strict=True) if results]
    alike: dict[tuple[str, str | None], list[Upload]] = {}
    for upload in used:
        alike.setdefault((upload.form, upload.doubt), []).append(upload)
    lines = []
    for (form, doubt), uploads in alike.items():
        said = literal(f"{listed([upload.name for upload in uploads])}: {form}{_masks(uploads)}{_gaps(uploads)}")
        lines.append(f"⚠ {said}: **{literal(doubt)}**" if doubt else f"✓ {said}")
    problems = [*analysis.problems, *(analysis.refining.problems if analysis.refining else ())]
    return "\n\n".join([*lines, *(f"⚠ **{literal(problem)}**" for problem in problems)])


def _masks(uploads: list[Upload]) -> str:
    names = [upload.mask_name for upload in uploads if upload.mask is not None]
    if not names:
        return ""
    return f"; with the mask {names[0]}" if len(uploads) == 1 else f"; {len(names)} with a mask"


def _gaps(uploads: list[Upload]) -> str:
    missing = sum(upload.missing for upload in uploads)
    return f"; {missing:,} missing values" if missing else ""
