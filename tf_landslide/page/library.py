"""The models a page offers: found in folders and on servers, loaded on first use, the least used forgotten."""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tf_landslide.bands.layouts import LAYOUTS, BandLayout
from tf_landslide.core.errors import LandslideError, first_line
from tf_landslide.page.text import distinct
from tf_landslide.predict.backends.server import ServerBackend
from tf_landslide.predict.load import is_server, load_card, load_predictor
from tf_landslide.predict.predictor import Predictor
from tf_landslide.runs import formats
from tf_landslide.runs.card import ModelCard

TRUST = "A model is a program: loading one runs what is in it. Take models only from people you trust."


@dataclass(frozen=True)
class Entry:
    """A model: what it is called on the page, and the run, export folder or server address it is loaded from."""

    name: str
    location: str


def models_in(folder: Path) -> list[Path]:
    """The finished runs and the exports in a folder, or the folder itself if it is one; empty where there are none."""
    if not folder.is_dir():
        return []
    return [folder] if _is_model(folder) else [path for path in sorted(folder.iterdir()) if _is_model(path)]


def find_models(folders: Sequence[str | Path] = (), servers: Sequence[str] = ()) -> list[Entry]:
    """Runs and exports in folders (or the folders themselves), and models on servers; nothing is read yet.

    Raises:
        LandslideError: a folder that is not there or holds no model, or what is no server address.
    """
    entries = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise LandslideError(f"{folder}: no such folder of models")
        found = models_in(folder)
        if not found:
            raise LandslideError(
                f"{folder}: holds neither runs ({formats.CONFIG}, {formats.METRICS}) nor exports (NAME/VERSION)"
            )
        entries += [Entry(path.absolute().name, str(path)) for path in found]
    for server in servers:
        if not is_server(server):
            raise LandslideError(f"{server}: is no server address; expected grpc://HOST:PORT/NAME")
        address, _, name = server.split("://")[1].partition("/")
        entries.append(Entry(f"{name} on {address}", server))
    return entries


def _is_model(path: Path) -> bool:
    return formats.is_finished_run(path) if formats.is_run(path) else formats.is_export(path)


class Library:
    """Loads models when they are first asked for and keeps the last ``max_loaded``.

    A model has one name everywhere: the page's, which also stands on its card and in what is said about it.

    Args:
        entries: as ``find_models`` gives them; of several with one name the later get a number.
        max_loaded: models in memory at a time.
    """

    def __init__(self, entries: Iterable[Entry] = (), max_loaded: int = 4):
        self.entries: dict[str, Entry] = {}
        self._max_loaded = max_loaded
        self._loaded: OrderedDict[str, Predictor] = OrderedDict()
        self._cards: dict[str, ModelCard] = {}
        self._lock = threading.Lock()  # of the tables, held for moments
        self._loading: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)  # of each model, while it loads
        self.add(entries)

    def add(self, entries: Iterable[Entry]) -> None:
        """Offer more models."""
        taken = {name.casefold() for name in self.entries}
        for entry in entries:
            name = distinct(entry.name, taken)
            taken.add(name.casefold())
            self.entries[name] = replace(entry, name=name)

    @property
    def names(self) -> list[str]:
        return list(self.entries)

    @property
    def loaded(self) -> list[str]:
        return list(self._loaded)

    def faults(self) -> dict[str, str]:
        """What is wrong with each model whose card cannot be read, in a sentence; those on servers are not asked."""
        found = {}
        for name, entry in list(self.entries.items()):
            if not is_server(entry.location):
                try:
                    self.card(name)
                except LandslideError as error:
                    found[name] = str(error)
        return found

    def predictor(self, name: str) -> Predictor:
        """The model, loaded. Raises ``LandslideError`` where it cannot be."""
        with self._lock:
            found, loading = self._loaded.get(name), self._loading[name]
        if found is None or not _is_current(found):
            with loading:
                newer = self._loaded.get(name)
                if newer is None or newer is found:  # nobody else has loaded it meanwhile
                    newer = self._load(name)
                    self._keep(name, newer)
                found = newer
        with self._lock:
            if name in self._loaded:
                self._loaded.move_to_end(name)
        return found

    def card(self, name: str) -> ModelCard:
        """The model's card, without loading its weights where they are in a folder.

        Raises:
            LandslideError: it cannot be read.
        """
        location = self.entries[name].location
        if is_server(location):
            return self.predictor(name).card
        if name not in self._cards:
            try:
                self._cards[name] = replace(load_card(Path(location)), name=name)
            except Exception as error:
                raise _damaged(name, location, error) from None
        return self._cards[name]

    def layouts(self, names: Sequence[str]) -> list[BandLayout]:
        """The band layouts of some models, the shipped ones first; a model whose card cannot be read has none here."""
        found = []
        for name in names:
            with suppress(LandslideError):
                found.append(self.card(name).layout)
        order = [*LAYOUTS.values(), *found]
        return sorted(dict.fromkeys(found), key=order.index)

    def details(self, name: str) -> str:
        """Markdown for the details panel."""
        return f"{self.card(name).markdown()}\n\nFrom `{self.entries[name].location}`. {TRUST}"

    def _load(self, name: str) -> Predictor:
        location = self.entries[name].location
        try:
            loaded = load_predictor(location)
        except Exception as error:
            raise _damaged(name, location, error) from None
        return Predictor(replace(loaded.card, name=name), loaded.backend)

    def _keep(self, name: str, predictor: Predictor) -> None:
        with self._lock:
            self._loaded[name], self._cards[name] = predictor, predictor.card
            forgotten = len(self._loaded) > self._max_loaded
            if forgotten:
                self._loaded.popitem(last=False)
        if forgotten:
            gc.collect()


def _is_current(predictor: Predictor) -> bool:
    """Whether a server still serves the version that a predictor asks; what is loaded here stays what it is."""
    backend = predictor.backend
    return not isinstance(backend, ServerBackend) or backend.is_current()


def _damaged(name: str, location: str, error: Exception) -> LandslideError:
    """A damaged model can raise anything from anywhere (YAML, JSON, TensorFlow): it costs itself, never the others."""
    if isinstance(error, LandslideError):
        return LandslideError(f"model {name!r}: {error}")
    said = f"{type(error).__name__}: {first_line(error)}"
    return LandslideError(f"model {name!r}: {location}: cannot be loaded ({said}); write it again, or take it away")
