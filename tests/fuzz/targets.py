"""Every reader of what a stranger may have written, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import shapely
from google.protobuf.message import DecodeError
from hypothesis import strategies as st

from serving import configs, json_examples, json_tensors, wanted
from serving.batching import BatchingOptions
from serving.protos import ModelServerConfig, PredictRequest, SignatureDef
from serving.tensors import to_array
from tests.fuzz import seeds
from tests.fuzz.mutation import altered
from tf_landslide.bands.layouts import Band, read_layout
from tf_landslide.core.files import parse_json, read_json, read_text
from tf_landslide.core.safe_torch import read_tensors
from tf_landslide.core.safe_yaml import parse_yaml
from tf_landslide.data import hdf5
from tf_landslide.data.foreign import foreign
from tf_landslide.data.groups import Groups
from tf_landslide.objects.forest import Forest
from tf_landslide.objects.review.journal import read_journal
from tf_landslide.objects.rules import SHIPPED as RULES
from tf_landslide.objects.rules import Rules
from tf_landslide.runs.card import ModelCard
from tf_landslide.runs.checked import checked_environment, checked_scores, read_folds
from tf_landslide.runs.config import load_config
from tf_landslide.runs.derived import Derived
from tf_landslide.runs.history import read_history
from tf_landslide.runs.judged import Judged
from tf_landslide.runs.state import TrainingState
from tf_landslide.scenes.catalogue import found, manifest_of
from tf_landslide.scenes.clouds import read_polygons
from tf_landslide.scenes.grid import Grid, Window
from tf_landslide.scenes.inventory import read_inventory
from tf_landslide.scenes.manifest import read_manifest
from tf_landslide.scenes.product import read_product
from tf_landslide.scenes.raster import RasterBand
from tf_landslide.scenes.source import file

LIMIT = 2**24  # bytes that an image may take here
Dump = Callable[[Any], bytes]


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        name: of it.
        read: reads a file.
        seeds: valid files, given a folder to write in.
        file: the name that its file has.
        trees: valid documents, where its files hold documents.
        dump: writes one.
        beside: other files in the folder, which the seeds name.
        own_errors: what it may raise besides a refusal, for whoever calls it turns that into one.
    """

    name: str
    read: Callable[[Path], object]
    seeds: Callable[[Path], list[bytes]]
    file: str = "file"
    trees: Sequence[Any] = ()
    dump: Dump = seeds.jsoned
    beside: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)
    own_errors: tuple[type[Exception], ...] = ()

    def __call__(self, path: Path) -> None:
        with suppress(self.own_errors):
            self.read(path)

    @property
    def documents(self) -> st.SearchStrategy[bytes]:
        """Documents that differ from valid ones in a few values."""
        return st.sampled_from(self.trees).flatmap(altered).map(self.dump)


def _image(path: Path) -> None:
    hdf5.image_shape(path)
    for allowed in (True, False):
        hdf5.read_image(path, hdf5.image_layout(path), allow_missing=allowed, limit=LIMIT)


def _raster(path: Path) -> None:
    source = file(path)
    grid = Grid.of(source)
    band = RasterBand.open(source, 1, Band("red", 0.0001, -0.1), said=())
    band.read(Window(0, 0, min(64, grid.shape[0]), min(64, grid.shape[1])))


def _card(path: Path) -> None:
    card = ModelCard.from_dict(read_json(path), path)
    card.markdown()
    parse_json(card.as_json(), path)
    assert card.channel_recipe


def _scores(path: Path) -> None:
    checked_scores(read_json(path), path)


def _derived(path: Path) -> None:
    derived = Derived.of(checked_environment(read_json(path), path), path)
    if derived:
        assert derived.network and derived.said()


def _folds(path: Path) -> None:
    assert 0 <= read_folds(path)["threshold"] <= 1


def _manifest(path: Path) -> None:
    manifest = read_manifest(path)
    manifest.terrain()
    for name in manifest.bands:
        grid = manifest.open(name).grid
        manifest.clouds(grid)


def _item(path: Path) -> None:
    scene = found(parse_json(read_text(path), path), "2A", shapely.box(141, 42, 143, 43))
    manifest_of(scene, [], lambda *_: {})


def _clouds(path: Path) -> None:
    clouds = read_polygons(path, Grid(seeds.WHERE, Grid.of(file(path.parent / "band.tif")).crs, (40, 48)))
    clouds(Window(0, 0, 40, 48))


SIGNATURE = SignatureDef()
for _name, _dtype in (("x", 1), ("s", 7), ("i", 9)):
    SIGNATURE.inputs[_name].name, SIGNATURE.inputs[_name].dtype = _name, _dtype


def _body(path: Path) -> None:
    document = json_tensors.parse_json(path.read_bytes())
    json_tensors.signature_name(document)
    if "examples" in document:
        json_examples.read_examples(document)
    json_tensors.read_inputs(document, SIGNATURE)


def _request(path: Path) -> None:
    for proto in PredictRequest.FromString(path.read_bytes()).inputs.values():
        to_array(proto)


def _server(path: Path) -> None:
    """Each of the kinds that a server's text files may be of; a valid one is gone on with."""
    content = path.read_bytes()
    for kind in (configs.BatchingParameters, configs.MonitoringConfig, configs.SSLConfig, ModelServerConfig):
        try:
            message = configs.read_config(path, kind)
        except configs.UsageError:
            if kind is ModelServerConfig:
                raise
            continue
        if kind is configs.BatchingParameters:
            BatchingOptions.of(message)
        elif kind is ModelServerConfig and content:
            wanted.checked_models(message)


def _kind(path: Path) -> None:
    foreign(path)


_BAND = {"band.tif": seeds.band}
_PATTERNS = {"base.yaml": (seeds.ROOT / "configs" / "base.yaml").read_bytes}
_GROUPS = {"groups.json": lambda: seeds.jsoned(seeds.GROUPS)}
TARGETS = {
    target.name: target
    for target in (
        Target("hdf5-image", _image, seeds.hdf5, "image_1.h5"),
        Target("hdf5-mask", lambda p: hdf5.read_mask(p, limit=LIMIT, ignore=2), seeds.hdf5, "mask_1.h5"),
        Target("foreign", _kind, lambda p: [*seeds.hdf5(p), *seeds.rasters(p), *seeds.geojsons(p)]),
        Target("geotiff", _raster, seeds.rasters, "B04.tif"),
        Target("jpeg2000", _raster, seeds.jpeg2000s, "B04.jp2"),
        Target(
            "config",
            load_config,
            seeds.configs,
            "own.yaml",
            seeds.config_trees(),
            seeds.dumped,
            _PATTERNS | _GROUPS,
        ),
        Target("layout", read_layout, seeds.of(seeds.dumped(seeds.LAYOUT)), "my.yaml", [seeds.LAYOUT], seeds.dumped),
        Target(
            "rules",
            Rules.read,
            lambda _: [path.read_bytes() for path in sorted(RULES.glob("*.yaml"))],
            "rules.yaml",
            [parse_yaml(path.read_text(), path.name) for path in sorted(RULES.glob("*.yaml"))],
            seeds.dumped,
        ),
        Target("forest", Forest.read, seeds.forests, "forest.npz"),
        Target("groups", lambda p: Groups.read(p, None), seeds.of(seeds.jsoned(seeds.GROUPS)), trees=[seeds.GROUPS]),
        Target("card", _card, seeds.of(seeds.jsoned(seeds.CARD)), "card.json", [seeds.CARD]),
        Target("scores", _scores, seeds.of(seeds.jsoned(seeds.CARD["scores"])), trees=[seeds.CARD["scores"]]),
        Target("folds", _folds, seeds.of(seeds.jsoned(seeds.FOLDS)), trees=[seeds.FOLDS]),
        Target("derived", _derived, seeds.of(seeds.jsoned(seeds.COMBINED)), trees=[seeds.COMBINED]),
        Target("checkpoint", read_tensors, seeds.checkpoints, "model.pth"),
        Target("state", TrainingState.load, seeds.states, "state.npz"),
        Target("judged", Judged.load, seeds.judged, "test.npz"),
        Target("history", read_history, seeds.of(seeds.HISTORY), "history.csv"),
        Target("geopackage", read_inventory, seeds.geopackages, "polygons.gpkg"),
        Target("geojson", read_inventory, seeds.geojsons, "polygons.geojson"),
        Target("zipped-shapefile", read_inventory, seeds.zipped_shapefiles, "polygons.zip"),
        Target(
            "manifest",
            _manifest,
            seeds.of(seeds.dumped(seeds.MANIFEST)),
            "scene.yaml",
            [seeds.MANIFEST],
            seeds.dumped,
            _BAND,
        ),
        Target("product", read_product, seeds.products, "MTD_MSIL1C.xml"),
        Target("clouds", _clouds, seeds.clouds, "MSK_CLOUDS_B00.gml", beside=_BAND),
        Target("catalogue-item", _item, lambda _: [seeds.jsoned(seeds.item())], trees=[seeds.item()]),
        Target(
            "journal",
            lambda p: read_journal(p, "p"),
            seeds.of(seeds.lines(seeds.JOURNAL)),
            trees=[list(seeds.JOURNAL)],
            dump=lambda tree: seeds.lines(tree if isinstance(tree, list) else [tree]),
        ),
        Target("rest-body", _body, lambda _: [seeds.jsoned(body) for body in seeds.REST], trees=[*seeds.REST]),
        Target("grpc-tensors", _request, seeds.requests, own_errors=(DecodeError, ValueError)),
        Target("server-config", _server, seeds.of(*seeds.SERVING), "models.config"),
    )
}
