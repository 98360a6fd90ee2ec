"""Where a raster lies, and the one place that opens it.

What a stranger's file says is never followed: a raster is opened by the two drivers that read pixels from the file
itself (a VRT names other files), a name is a path on this machine or an href of a host that is on a list, never one of
GDAL's virtual file systems.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import rasterio

from tf_landslide.core.errors import LandslideError, first_line

GEOTIFF, JPEG2000 = "GTiff", "JP2OpenJPEG"  # a cloud-optimised GeoTIFF is a GeoTIFF
_SIGNATURES = {
    b"II*\x00": GEOTIFF,
    b"MM\x00*": GEOTIFF,
    b"II+\x00": GEOTIFF,  # BigTIFF
    b"MM\x00+": GEOTIFF,
    b"\x00\x00\x00\x0cjP  ": JPEG2000,
    b"\xff\x4f\xff\x51": JPEG2000,  # a bare codestream
}
HOSTS = frozenset(
    {
        "sentinel-cogs.s3.us-west-2.amazonaws.com",  # Earth Search
        "e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com",
        "copernicus-dem-30m.s3.amazonaws.com",
        "copernicus-dem-30m.s3.eu-central-1.amazonaws.com",
        "sentinel2l2a01.blob.core.windows.net",  # Planetary Computer
        "elevationeuwest.blob.core.windows.net",
        "s3://eodata",  # Copernicus Data Space, with a key of one's own in GDAL's environment variables (AWS_…)
    }
)
"""The hosts and buckets of the known catalogues' rasters; no other is asked unless a user says so."""
_SIGNED = (".blob.core.windows.net",)  # Planetary Computer gives nothing away without a token
_REMOTE = {  # what one file has beside it is not asked for, and no answer is waited for for ever
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_TIMEOUT": "120",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "1",
}
MAX_BLOCK_BYTES = 2**26  # of what must be decoded to read a single pixel


@dataclass(frozen=True)
class Source:
    """A raster file.

    Attributes:
        name: as people know it: a path, or an href.
    """

    name: str

    @property
    def is_remote(self) -> bool:
        return self.name.startswith(("https://", "s3://"))

    @property
    def is_signed(self) -> bool:
        """Whether it is opened by a signature, which runs out."""
        return self.is_remote and signed_for(self.name)

    def __reduce__(self) -> tuple[type[Source], tuple[str]]:
        """Sent to another process, which may stand in another folder, it names the same file."""
        return Source, (self.name if self.is_remote else str(Path(self.name).absolute()),)

    @property
    def id(self) -> str:
        """The file's own name."""
        return Path(urlsplit(self.name).path if self.is_remote else self.name).name

    @property
    def size(self) -> int | None:
        """Bytes of a file here; None of one elsewhere."""
        return None if self.is_remote else Path(self.name).stat().st_size

    def fingerprint(self) -> list[object]:
        """What changes when the file does: its size and time, or the href without its signature."""
        if self.is_remote:
            return [urlsplit(self.name)._replace(query="").geturl()]
        return [str(Path(self.name).absolute()), *self.state()]

    def state(self) -> tuple[int, int] | tuple[()]:
        """Size and time of change of a file here, by which another in its place is known; nothing of one elsewhere."""
        if self.is_remote:
            return ()
        status = Path(self.name).stat()
        return status.st_size, status.st_mtime_ns

    @contextmanager
    def environment(self) -> Iterator[None]:
        """GDAL's settings while the file is opened or read."""
        if not self.is_remote:
            yield
            return
        with rasterio.Env(**_REMOTE):
            yield

    def open(self) -> rasterio.DatasetReader:
        """The open file. Raises ``LandslideError`` where it cannot be a band of a scene."""
        try:
            with self.environment():
                raster = self._opened()
        except rasterio.RasterioIOError as error:
            raise LandslideError(f"{self}: cannot be read as a raster ({first_line(error)})") from None
        try:
            _check(self, raster)
        except LandslideError:
            raster.close()
            raise
        return raster

    def _opened(self) -> rasterio.DatasetReader:
        if self.is_remote:
            driver = JPEG2000 if self.id.lower().endswith((".jp2", ".j2k")) else GEOTIFF
            address = self.name
            path = f"/vsis3/{address[5:]}" if address.startswith("s3://") else f"/vsicurl/{signed(address)}"
            return rasterio.open(path, driver=driver)
        return rasterio.open(Path(self.name).absolute(), driver=_driver(Path(self.name)))

    def __str__(self) -> str:
        return self.name.partition("?")[0] if self.is_remote else self.name


def file(path: str | Path) -> Source:
    """A raster on this machine.

    Raises:
        LandslideError: one of GDAL's virtual paths, no such file, or no GeoTIFF or JPEG 2000.
    """
    text = str(path)
    if text.startswith("/vsi") or "://" in text:
        raise LandslideError(f"{text}: is no file of this machine; download it, or name an https href in a manifest")
    _driver(Path(path))
    return Source(text)


def href(text: str, hosts: Collection[str] = HOSTS) -> Source:
    """A raster on another machine.

    Args:
        text: an https address, or one of S3.
        hosts: that may be asked, ``NAME`` or ``NAME:PORT``, and buckets, ``s3://NAME``.

    Raises:
        LandslideError: another scheme, or a host that is not on the list.
    """
    parts = urlsplit(text)
    shown = text.partition("?")[0]
    if parts.scheme not in ("https", "s3"):
        raise LandslideError(f"{shown}: only https:// addresses and files are read, not {parts.scheme}://")
    if parts.username or parts.password or any(c.isspace() or c in "\\,|" for c in text):
        raise LandslideError(f"{shown}: is no plain address")
    host = f"s3://{parts.netloc}" if parts.scheme == "s3" else parts.netloc.lower()
    if host not in hosts:
        raise LandslideError(f"{shown}: host {host} is not among those that are asked; --allow-host names more")
    return Source(text)


def _driver(path: Path) -> str:
    """Which driver reads a file, by its first bytes."""
    try:
        if not path.is_file():
            raise LandslideError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}; expected a GeoTIFF")
        with path.open("rb") as opened:
            start = opened.read(12)
    except OSError as error:
        raise LandslideError(f"{path}: cannot be read ({error.strerror})") from None
    for signature, driver in _SIGNATURES.items():
        if start.startswith(signature):
            return driver
    raise LandslideError(
        f"{path}: cannot be read as a raster: it is neither GeoTIFF nor JPEG 2000; "
        f"what it points to is not followed: convert it with gdal_translate {path.name} converted.tif"
    )


def _check(source: Source, raster: rasterio.DatasetReader) -> None:
    """Ask what a raster would cost before anything of it is read."""
    if not raster.count:
        raise LandslideError(f"{source}: holds no band")
    kinds = {np.dtype(name).kind if not name.startswith("complex") else "c" for name in raster.dtypes}
    if "c" in kinds:
        raise LandslideError(f"{source}: stores complex numbers ({raster.dtypes[0]}); a band has real ones")
    (height, width), size = raster.block_shapes[0], np.dtype(raster.dtypes[0]).itemsize
    together = raster.count if raster.profile.get("interleave") == "pixel" else 1
    if (cost := height * width * size * together) > MAX_BLOCK_BYTES:
        raise LandslideError(
            f"{source}: is stored in pieces of {height:,} x {width:,} pixels, {cost / 1e6:,.0f} MB each, which must be "
            f"decoded whole; cut it into tiles: gdal_translate -of COG {source.id} tiled.tif"
        )


def signed_for(address: str) -> bool:
    """Whether an address needs a token that it does not bring along."""
    parts = urlsplit(address)
    return not parts.query and parts.netloc.endswith(_SIGNED)


def signed(address: str) -> str:
    """An href with the token that Planetary Computer asks for."""
    if not signed_for(address):
        return address
    try:
        import planetary_computer  # type: ignore[import-not-found, unused-ignore]  # optional
    except ModuleNotFoundError:
        raise LandslideError(f"{address}: must be signed: pip install planetary-computer") from None
    return str(planetary_computer.sign_url(address))
