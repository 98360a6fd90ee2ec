"""The models a page offers: found in folders and on servers, loaded on first use, the least used forgotten."""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tf_landslide.bands.layouts import LAYOUTS, BandLayout
from tf_landslide.core.errors import LandslideError
from tf_landslide.predict.load import is_server, load_card, load_predictor
from tf_landslide.predict.predictor import Predictor
from tf_landslide.runs import formats
from tf_landslide.runs.card import ModelCard


@dataclass(frozen=True)
class Entry:
    """A model: what it is called on the page, and the run, export folder or server address it is loaded from."""

    name: str
    location: str


def find_models(folders: Sequence[str | Path] = (), servers: Sequence[str] = ()) -> list[Entry]:
    """Runs and exports in folders (or the folders themselves), and models on servers.

    Raises:
        LandslideError: a folder that is not there or holds no model, or what is no server address.
    """
    entries: dict[str, Entry] = {}

    def add(name: str, location: str) -> None:
        unique, number = name, 2
        while unique in entries:
            unique, number = f"{name} ({number})", number + 1
        entries[unique] = Entry(unique, location)

    for folder in map(Path, folders):
        if not folder.is_dir():
            raise LandslideError(f"{folder}: no such folder of models")
        found = [folder] if _is_model(folder) else [path for path in sorted(folder.iterdir()) if _is_model(path)]
        if not found:
            raise LandslideError(
                f"{folder}: holds neither runs ({formats.CONFIG}, {formats.METRICS}) nor exports (NAME/VERSION)"
            )
        for path in found:
            add(path.absolute().name, str(path))
    for server in servers:
        if not is_server(server):
            raise LandslideError(f"{server}: is no server address; expected grpc://HOST:PORT/NAME")
        address, _, name = server.split("://")[1].partition("/")
        add(f"{name} on {address}", server)
    return list(entries.values())


def _is_model(path: Path) -> bool:
    return formats.is_judged_run(path) if formats.is_run(path) else formats.is_export(path)


class Library:
    """Loads models when they are first asked for and keeps the last ``max_loaded``.

    Args:
        entries: as ``find_models`` gives them.
        max_loaded: models in memory at a time.
    """

    def __init__(self, entries: Sequence[Entry], max_loaded: int = 4):
        self.entries = {entry.name: entry for entry in entries}
        self._max_loaded = max_loaded
        self._loaded: OrderedDict[str, Predictor] = OrderedDict()
        self._cards: dict[str, ModelCard] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        return list(self.entries)

    @property
    def loaded(self) -> list[str]:
        return list(self._loaded)

    def predictor(self, name: str) -> Predictor:
        """The model, loaded. Raises ``LandslideError`` where it cannot be."""
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = load_predictor(self.entries[name].location)
                self._cards[name] = self._loaded[name].card
            self._loaded.move_to_end(name)
            if len(self._loaded) > self._max_loaded:
                self._loaded.popitem(last=False)
                gc.collect()
            return self._loaded[name]

    def card(self, name: str) -> ModelCard:
        """The model's card, without loading its weights where they are in a folder."""
        if name not in self._cards:
            location = self.entries[name].location
            self._cards[name] = self.predictor(name).card if is_server(location) else load_card(Path(location))
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
        return f"{self.card(name).markdown()}\n\nFrom `{self.entries[name].location}`"
