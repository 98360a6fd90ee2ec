"""Downloading the real Landslide4Sense: resumes, verifies checksums, unpacks into the released layout."""

from __future__ import annotations

import hashlib
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import TEXT_BYTES, parse_json, replacing, telling_a_full_disk, write_text
from tf_landslide.core.locks import locked
from tf_landslide.core.progress import meter
from tf_landslide.data.folders import available_splits, find_patches

ZENODO = "https://zenodo.org"
RECORD = "10463239"
_CHUNK = 1 << 20
_ATTEMPTS = 5
_MEMBER = re.compile(r"(TrainData|ValidData|TestData)/(img|mask)/((?:image|mask)_\d+\.h5)$")
_TIMEOUT = 30  # seconds without a byte
_NETWORK_ERRORS = (urllib.error.URLError, ConnectionError, TimeoutError, ssl.SSLError, HTTPException)


@dataclass(frozen=True)
class RemoteFile:
    """One file of the record: its name, size in bytes, MD5 and address."""

    name: str
    size: int
    md5: str
    url: str


def download(out: str | Path, *, mirror: str = ZENODO, pause: float = 2.0) -> dict[str, int]:
    """Fetch and unpack the dataset.

    What is there is kept: a half-fetched archive goes on where it broke off, an unpacked one is not fetched again.
    Archives are removed once unpacked.

    Args:
        out: the folder that then holds ``TrainData``, ``ValidData`` and ``TestData``.
        mirror: address of a server that answers as Zenodo does, at ``/api/records/10463239``.
        pause: seconds before the first retry; each further one waits twice as long.

    Returns:
        the number of patches by split.

    Raises:
        LandslideError: offline, a record that cannot be read, a wrong checksum, a bad archive, a full disk, or
            another process that writes there.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise LandslideError(f"{out}: is a file; name a folder to download into")
    if not mirror.startswith(("http://", "https://")):
        raise LandslideError(f"mirror {mirror!r}: expected an address that begins with http:// or https://")
    files = _record(mirror.rstrip("/"), pause)
    with locked(out), telling_a_full_disk(out):
        _fill(out, files, pause)
    return {split: len(find_patches(out, split)) for split in available_splits(out)}


def _fill(out: Path, files: list[RemoteFile], pause: float) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for file in files:
        done = out / f".{file.name}.unpacked"  # the archive's MD5 and the folders it filled
        known, *folders = done.read_text().split() if done.exists() else [""]
        if known == file.md5 and all((out / folder).is_dir() for folder in folders):
            continue
        archive = out / file.name
        _fetch(file, archive, pause)
        filled = _unpack(archive, out)
        archive.unlink()
        write_text(done, " ".join([file.md5, *sorted(filled)]) + "\n")


def _record(mirror: str, pause: float) -> list[RemoteFile]:
    url = f"{mirror}/api/records/{RECORD}"
    text = _retried(url, pause, lambda: _open(url).read(TEXT_BYTES))
    try:
        entries = parse_json(text, url)["files"]
        files = [
            RemoteFile(
                PurePosixPath(entry["key"]).name,
                int(entry["size"]),
                entry["checksum"].removeprefix("md5:"),
                f"{url}/files/{quote(entry['key'])}/content",
            )
            for entry in entries
            if entry["key"].endswith(".zip")
        ]
    except (LandslideError, ValueError, KeyError, TypeError, AttributeError):
        raise LandslideError(f"{url}: did not answer with a Zenodo record; check --mirror") from None
    if not files:
        raise LandslideError(f"{url}: the record lists no .zip file; check --mirror")
    return files


def _open(url: str, start: int = 0):
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    return urllib.request.urlopen(request, timeout=_TIMEOUT)


def _retried(url: str, pause: float, action: Callable):
    """Do ``action`` again when the network interrupts it, and say plainly what to do when that does not help."""
    for k in range(_ATTEMPTS):
        try:
            return action()
        except urllib.error.HTTPError as error:
            last = f"the server answers {error.code} {error.reason}"
            if error.code < 500 and error.code != 429:
                raise LandslideError(f"{url}: {last}; check --mirror") from None
        except _NETWORK_ERRORS as error:
            last = str(getattr(error, "reason", error)) or type(error).__name__
        if k + 1 < _ATTEMPTS:
            time.sleep(pause * 2**k)
    raise LandslideError(
        f"{url}: cannot be reached ({last}); check the connection or name a --mirror, then run the same command again: "
        "it goes on where it stopped"
    )


def _fetch(file: RemoteFile, archive: Path, pause: float) -> None:
    """Fetch into ``archive``, through ``archive.part``, resuming what is there; verify size and MD5."""
    if archive.exists() and _md5(archive) == file.md5:  # fetched earlier, but not unpacked to the end
        return
    part = archive.with_name(f"{file.name}.part")

    def rest():
        have = part.stat().st_size if part.exists() else 0
        if have > file.size:
            part.unlink()
            have = 0
        if have < file.size:
            with _open(file.url, have) as answer, part.open("ab") as target:
                if have and answer.status != 206:  # a server that cannot resume sends all of it again
                    target.truncate(0)
                    have = 0
                shown = meter(total=file.size, label=file.name, unit="B", done=have)
                with closing(shown):
                    while chunk := answer.read(_CHUNK):
                        target.write(chunk)
                        shown.update(len(chunk))
        if part.stat().st_size < file.size:
            raise ConnectionError(f"broke off after {part.stat().st_size} of {file.size} bytes")

    _retried(file.url, pause, rest)
    if (found := _md5(part)) != file.md5:
        part.unlink()
        raise LandslideError(
            f"{archive}: MD5 is {found}, the record says {file.md5}; the copy was removed, run the same command again"
        )
    part.replace(archive)


def _md5(path: Path) -> str:
    digest = hashlib.md5()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _unpack(archive: Path, out: Path) -> set[str]:
    """Unpack into the released layout, with or without a top folder of its own. Returns the split folders filled."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [m for m in opened.infolist() if m.filename.endswith(".h5") and "__MACOSX" not in m.filename]
            if not members:
                raise LandslideError(f"{archive}: holds no .h5 file; is this Landslide4Sense?")
            targets = {member: _released_path(member.filename, archive) for member in members}
            for member, released in targets.items():
                target = out / released
                with replacing(target) as partial, opened.open(member) as source, partial.open("wb") as copy:
                    shutil.copyfileobj(source, copy, _CHUNK)
            return {released.parts[0] for released in targets.values()}
    except zipfile.BadZipFile:
        archive.unlink()
        raise LandslideError(f"{archive}: is not a ZIP archive; it was removed, run the same command again") from None


def _released_path(member: str, archive: Path) -> Path:
    """``…/TrainData/img/image_1.h5`` -> ``TrainData/img/image_1.h5``; the archive's name stands in for TrainData."""
    match = _MEMBER.search(f"{archive.stem}/{member}")
    if not match:
        raise LandslideError(f"{archive}: holds the unexpected path {member!r}; nothing of it was unpacked")
    return Path(*match.groups())
