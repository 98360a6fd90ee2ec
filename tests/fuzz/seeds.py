"""Small valid files of every kind that is read, made by the libraries that others make them with."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import geopandas
import h5py
import numpy as np
import shapely
import yaml
from rasterio import Affine
from rasterio.io import MemoryFile

from serving.protos import PredictRequest
from serving.tensors import to_proto
from tests.conftest import ROOT
from tests.scenes.products import DAY, TILE, cloud_polygons, metadata, write_jp2
from tf_landslide.core.safe_torch import write_tensors
from tf_landslide.metrics.counts import BINS, Histograms
from tf_landslide.objects.forest import Forest
from tf_landslide.runs.judged import About, Judged
from tf_landslide.runs.sections import Config
from tf_landslide.runs.state import TrainingState

RNG = np.random.default_rng(0)
UTM = "EPSG:32654"
WHERE = Affine(10, 0, 500_000, 0, -10, 4_700_000)
YAML_FILES = sorted((ROOT / "configs").glob("*.yaml"))


def dumped(tree: Any) -> bytes:
    """A document as YAML, which JSON is too where it can be."""
    return yaml.safe_dump(tree, allow_unicode=True, sort_keys=False).encode("utf-8", "surrogatepass")


def jsoned(tree: Any) -> bytes:
    return json.dumps(tree).encode()


def hdf5(folder: Path) -> list[bytes]:
    """Patches: in one piece, in pieces by every filter that is taken, by links, in another file, with a layout."""
    image, mask = RNG.random((16, 16, 14)), (RNG.random((16, 16)) < 0.2).astype(np.uint8)
    pieces: list[dict[str, Any]] = [
        {},
        {"compression": "gzip", "chunks": (8, 8, 7)},
        {"compression": "lzf", "shuffle": True},
        {"compression": "gzip", "fletcher32": True, "scaleoffset": None},
        {"chunks": (8, 16, 14)},
    ]

    def with_image(**options: Any) -> Callable[[h5py.File], None]:
        def write(file: h5py.File) -> None:
            file.create_dataset("img", data=image.astype(np.float32), **options).attrs["layout"] = "landslide4sense"

        return write

    def both(file: h5py.File) -> None:
        file["x"], file["y"] = image, mask * 255

    def linked(file: h5py.File) -> None:
        file["group/data"] = image
        file["img"] = h5py.SoftLink("/group/data")

    def external(file: h5py.File) -> None:
        file["img"] = h5py.ExternalLink(str(folder / "outside" / "secret"), "img")

    def stored_outside(file: h5py.File) -> None:
        file.create_dataset("img", (2, 2, 2), "f4", external=[(str(folder / "outside" / "secret"), 0, 32)])

    def plain_mask(file: h5py.File) -> None:
        file["mask"] = mask

    writers = [*(with_image(**options) for options in pieces), both, linked, external, stored_outside, plain_mask]
    return [_hdf5(write) for write in writers]


def _hdf5(write: Callable[[h5py.File], None]) -> bytes:
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        write(file)
    return memory.getvalue()


def rasters(_: Path) -> list[bytes]:
    """GeoTIFFs in strips and in tiles, packed and not, whole numbers and not."""
    values = RNG.integers(1, 5000, (40, 48)).astype(np.uint16)
    tiled = {"tiled": True, "blockxsize": 16, "blockysize": 16}
    kinds: list[tuple[np.ndarray, dict[str, Any]]] = [
        (values, {}),
        (values, tiled | {"compress": "deflate", "predictor": 2}),
        (values.astype(np.float32), {"compress": "lzw", "nodata": -9999.0}),
        ((values % 255).astype(np.uint8), tiled | {"compress": "jpeg"}),
        (values.astype(np.float32), {"compress": "zstd", "predictor": 3, "bigtiff": "yes"}),
    ]
    return [band(), *(_geotiff(array, options, scaled=True) for array, options in kinds)]


def _geotiff(values: np.ndarray, options: dict[str, Any], *, scaled: bool) -> bytes:
    height, width = values.shape
    profile = {"driver": "GTiff", "count": 1, "dtype": values.dtype, "height": height, "width": width}
    with MemoryFile() as memory:
        with memory.open(**profile, **options, crs=UTM, transform=WHERE) as file:
            file.write(values, 1)
            if scaled:
                file.scales, file.offsets = (0.0001,), (-0.1,)
        return bytes(memory.getbuffer())


def band() -> bytes:
    """A raster that says nothing of its unit; manifests name it."""
    return _geotiff(RNG.integers(1, 5000, (40, 48)).astype(np.uint16), {}, scaled=False)


def jpeg2000s(folder: Path) -> list[bytes]:
    write_jp2(folder / "B04.jp2", RNG.integers(1, 5000, (40, 48)).astype(np.uint16), 10)
    return [(folder / "B04.jp2").read_bytes()]


def configs(_: Path) -> list[bytes]:
    return [path.read_bytes() for path in YAML_FILES]


def config_trees() -> list[Any]:
    """A config with every section written out, and parts that stand in others' stead."""
    whole = yaml.safe_load(yaml.safe_dump(Config().model_dump(mode="json")))
    folds = {"file": "groups.json", "pattern": r"image_(\d)", "valid": ["1"]}
    parts = [{"data": {"layout": LAYOUT, "channels": ["red", "green"], "groups": folds}}, {"loss": {"name": "tversky"}}]
    return [whole, *parts]


LAYOUT = {
    "name": "planet4",
    "title": "four bands of my own",
    "pixel_size": 3,
    "reference": "my own",
    "caveat": "none",
    "bands": [
        {"name": "blue", "scale": 0.5, "nodata": 0, "range": [0, 1.6], "kind": "optical", "wavelength": 490},
        {"name": "red", "scale": 0.1, "offset": -0.1},
        "green",
        {"name": "dem", "unit": "metres"},
    ],
}
CARD = {
    "name": "tiny",
    "architecture": "plain_unet",
    "encoder": None,
    "layout": LAYOUT,
    "channels": ["red", "green", "blue", "dem"],
    "threshold": 0.4,
    "median_size": 3,
    "median_bands": ["dem"],
    "description": "a toy",
    "scores": {
        split: {
            **dict.fromkeys(("f1", "precision", "recall", "iou"), 0.5),
            "threshold": 0.4,
            "patches": 5,
            "interval": {key: [0.4, 0.6] for key in ("f1", "precision", "recall", "iou")},
            "share_of_train": 0.2,
            "groups_of_train": ["north"],
        }
        for split in ("train", "valid", "test")
    },
    "parameters": 12345,
    "recipe": {"loss": "bce", "epochs": 2, "temperature": 1.2},
    "versions": {"tensorflow": "2.21"},
    "synthetic": True,
    "copies": 2,
}
COMBINED = {
    "combined": {
        "members": [{"run": "a", "sha256": "0" * 64, "threshold": 0.5, "architecture": "unet", "encoder": "resnet34"}],
        "threshold_from": "chosen on validation",
        "symmetries": "flips",
        "temperature": 1.2,
        "copies": 4,
        "validation": {"f1": 0.5},
    },
    "packages": {"keras": "3.15.1", "h5py": None},
    "synthetic": False,
    "patch": [64, 64],
    "data": "data",
    "data_fingerprint": {"train": {"patches": 3, "sha256": "0" * 64}},
}
FOLDS = {"threshold": 0.5, "by_fold": [{"run": "fold_0", "groups": ["north"], "patches": 3}]}
GROUPS = {"TrainData": {"1": "north", "2": "south"}, "image_3": "north", "TestData/image_1.h5": "east"}
MANIFEST = {
    "id": "S2B_MSIL1C_20180919T013649",
    "level": "1C",
    "baseline": "05.09",
    "date": "2018-09-19",
    "event_from": "2018-09-06",
    "event_to": "2018-09-07",
    "bands": [
        {"name": "red", "file": "band.tif", "scale": 0.0001, "offset": -0.1, "nodata": 0},
        {"name": "nir", "file": "band.tif", "index": 1},
        {"name": "blue", "file": "../outside/secret", "range": [0, 1]},
    ],
    "dem": ["band.tif"],
    "clouds": {"file": "band.tif", "values": [8, 9]},
}


def item() -> dict[str, Any]:
    """Of a catalogue, as Earth Search gives it."""
    asset = {"href": "https://sentinel-cogs.s3.us-west-2.amazonaws.com/a/B04.tif", "eo:bands": [{"name": "red"}]}
    asset |= {"raster:bands": [{"nodata": 0, "scale": 0.0001, "offset": -0.1}]}
    corners = [[141.9, 42.7], [142.1, 42.7], [142.1, 42.8], [141.9, 42.7]]
    properties = {"datetime": "2018-09-19T01:36:49Z", "eo:cloud_cover": 3.5, "s2:processing_baseline": "05.00"}
    properties |= {"s2:product_uri": "S2B_MSIL2A_20180919T013649_N0500_R117_T54TWN_20230810T000000.SAFE"}
    properties |= {"grid:code": "MGRS-54TWN", "earthsearch:boa_offset_applied": False}
    names = ("red", "nir", "B04", "B08", "scl", "SCL")
    geometry = {"type": "Polygon", "coordinates": [corners]}
    return {"id": "S2B", "properties": properties, "geometry": geometry, "assets": dict.fromkeys(names, asset)}


def checkpoints(folder: Path) -> list[bytes]:
    """State dicts as PyTorch writes them, now and before 1.6, and as safetensors."""
    tensors = {"a.weight": RNG.random((2, 3, 1, 1)).astype(np.float32), "a.count": np.int64(7).reshape(())}
    found = [(ROOT / "tests" / "core" / name).read_bytes() for name in ("torch_saved.pth", "torch_saved_legacy.pth")]
    for name in ("model.pth", "model.safetensors"):
        write_tensors(folder / name, tensors)
        found.append((folder / name).read_bytes())
    return found


def states(folder: Path) -> list[bytes]:
    arrays = [RNG.random((3, 3)).astype(np.float32), np.int64(3).reshape(())]
    rows = [{"epoch": 0.0, "loss": 0.5, "val_loss": 0.4, "val_best_f1": 0.3}]
    TrainingState(rows, arrays, arrays).save(folder / "state.npz")
    return [(folder / "state.npz").read_bytes()]


def judged(folder: Path) -> list[bytes]:
    counts = np.zeros((2, BINS + 1), np.int64)
    counts[:, 5] = 8
    names, digest = ["image_1", "image_2"], "0" * 64
    about = About("test", 0.5, "chosen on validation", digest, "data", digest, digest, names, False, ["a", "b"])
    Judged(about, Histograms(counts, counts), np.array([16, 16]), np.array([0, 0])).save(folder / "judged.npz")
    return [(folder / "judged.npz").read_bytes()]


def forests(folder: Path) -> list[bytes]:
    forest = Forest(
        attributes=np.array(["area", "slope"]),
        fill=np.zeros(2),
        roots=np.array([0], np.int32),
        feature=np.array([0, -1, -1], np.int32),
        threshold=np.array([0.5, 0, 0]),
        left=np.array([1, 0, 0], np.int32),
        right=np.array([2, 0, 0], np.int32),
        share=np.array([0.5, 0.2, 0.9]),
    )
    forest.write(folder / "forest.npz")
    return [(folder / "forest.npz").read_bytes()]


def frame() -> geopandas.GeoDataFrame:
    boxes = [shapely.box(141, 42, 141.1, 42.1), shapely.box(142, 42, 142.1, 42.1).union(shapely.box(143, 42, 144, 43))]
    return geopandas.GeoDataFrame({"name": ["a", "b"], "area": [1.5, 2.5]}, geometry=boxes, crs="EPSG:4326")


def geopackages(folder: Path) -> list[bytes]:
    return [_vectors(folder / "polygons.gpkg", "GPKG")]


def geojsons(folder: Path) -> list[bytes]:
    return [_vectors(folder / "polygons.geojson", "GeoJSON")]


def zipped_shapefiles(folder: Path) -> list[bytes]:
    _vectors(folder / "polygons.shp", "ESRI Shapefile")
    found = []
    for packing in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w", packing) as archive:
            for path in sorted(folder.glob("polygons.*")):
                if path.suffix in (".shp", ".shx", ".dbf", ".prj"):
                    archive.write(path, path.name)
        found.append(memory.getvalue())
    return found


def _vectors(path: Path, driver: str) -> bytes:
    frame().to_file(path, driver=driver, engine="pyogrio")
    return path.read_bytes()


def products(_: Path) -> list[bytes]:
    images = [f"{TILE}_{DAY}_B04", f"{TILE}_{DAY}_B08"]
    return [metadata("1C", f"L1C_{TILE}_A032566_{DAY}", images).encode()]


def clouds(_: Path) -> list[bytes]:
    corners = [(500_000, 4_700_000), (500_200, 4_700_000), (500_200, 4_699_800), (500_000, 4_700_000)]
    return [cloud_polygons([("OPAQUE", corners), ("CIRRUS", corners, corners)]).encode()]


JOURNAL = (
    *({"review": 1, "polygons": "p", "count": 3, "reviewer": "a"},),
    *({"polygon": 1, "status": "accepted", "time": "2026-01-01", "comment": "yes"}, {"undo": True}),
    {"polygon": 2, "status": "redrawn", "time": "2026-01-01", "ring": [[0, 0], [1, 0], [1, 1]]},
)
HISTORY = b"epoch,loss,val_loss,val_best_f1\n0,0.5,0.4,0.3\n1,0.4,nan,inf\n"
REST: tuple[dict[str, Any], ...] = (
    {"instances": [{"x": [1.0, 2.0], "s": "a", "i": 3}, {"x": [1, 2], "s": {"b64": "YQ=="}, "i": 4}]},
    {"inputs": {"x": [[1.0, 2.0]], "s": ["a"], "i": [3]}, "signature_name": "serving_default"},
    {"examples": [{"a": 1.5, "b": [1, 2], "c": {"b64": "YQ=="}}], "context": {"z": "q"}},
)
SERVING = (
    b'model_config_list { config { name: "a" base_path: "/models/a" model_platform: "tensorflow"\n'
    b'  model_version_policy { specific { versions: 1 } } version_labels { key: "stable" value: 1 } } }\n',
    b"max_batch_size { value: 16 }\nbatch_timeout_micros { value: 100 }\nallowed_batch_sizes: [8, 16]\n",
    b'prometheus_config { enable: true path: "/metrics" }\n',
    b'server_key: "k" server_cert: "c" custom_ca: "a" client_verify: true\n',
)


def requests(_: Path) -> list[bytes]:
    """Messages of gRPC with tensors held in each way."""
    found = []
    for content in (True, False):
        request = PredictRequest()
        request.model_spec.name = "tiny"
        for name, array in {
            "f": np.ones((2, 3), np.float32),
            "h": np.ones(3, np.float16),
            "i": np.arange(4, dtype=np.int64),
            "s": np.array([b"a", b"bc"], object),
            "c": np.ones(2, np.complex64),
        }.items():
            request.inputs[name].CopyFrom(to_proto(array, content=content))
        found.append(request.SerializeToString())
    return found


def of(*contents: bytes) -> Callable[[Path], list[bytes]]:
    return lambda _: list(contents)


def lines(documents: Sequence[Any]) -> bytes:
    return b"".join(jsoned(document) + b"\n" for document in documents)
