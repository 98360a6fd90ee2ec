"""Downloading the real Landslide4Sense: resumes, verifies checksums, unpacks into the released layout."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import (
    TEXT_BYTES,
    parse_json,
    replacing,
    require_space,
    telling_a_full_disk,
    write_text,
)
from tf_landslide.core.locks import locked
from tf_landslide.data.fetch import RemoteFile, fetch, open_url, retried
from tf_landslide.data.folders import available_splits, find_patches

ZENODO = "https://zenodo.org"
RECORD = "10463239"
MOST_BYTES = 2**34
"""Of what an archive unpacks to; the largest, TrainData, has 7 GB."""
_CHUNK = 1 << 20
_MEMBER = re.compile(r"(TrainData|ValidData|TestData)/(img|mask)/((?:image|mask)_\d+\.h5)$")


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
        known, *folders = done.read_text(encoding="utf-8").split() if done.exists() else [""]
        if known == file.digest and all((out / folder).is_dir() for folder in folders):
            continue
        archive = out / file.name
        fetch(file, archive, pause, "check --mirror")
        filled = _unpack(archive, out)
        archive.unlink()
        write_text(done, " ".join([str(file.digest), *sorted(filled)]) + "\n")


def _record(mirror: str, pause: float) -> list[RemoteFile]:
    url = f"{mirror}/api/records/{RECORD}"
    text = retried(url, pause, lambda: open_url(url).read(TEXT_BYTES), "check --mirror")
    try:
        entries = parse_json(text, url)["files"]
        files = [
            RemoteFile(
                PurePosixPath(entry["key"]).name,
                f"{url}/files/{quote(entry['key'])}/content",
                int(entry["size"]),
                "md5",
                entry["checksum"].removeprefix("md5:"),
            )
            for entry in entries
            if entry["key"].endswith(".zip")
        ]
    except (LandslideError, ValueError, KeyError, TypeError, AttributeError):
        raise LandslideError(f"{url}: did not answer with a Zenodo record; check --mirror") from None
    if not files:
        raise LandslideError(f"{url}: the record lists no .zip file; check --mirror")
    return files


def _unpack(archive: Path, out: Path) -> set[str]:
    """Unpack into the released layout, with or without a top folder of its own. Returns the split folders filled."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [m for m in opened.infolist() if m.filename.endswith(".h5") and "__MACOSX" not in m.filename]
            if not members:
                raise LandslideError(f"{archive}: holds no .h5 file; is this Landslide4Sense?")
            targets = {member: _released_path(member.filename, archive) for member in members}
            _require_room(archive, out, targets)
            for member, released in targets.items():
                target = out / released
                with replacing(target) as partial, opened.open(member) as source, partial.open("wb") as copy:
                    shutil.copyfileobj(source, copy, _CHUNK)
            return {released.parts[0] for released in targets.values()}
    except zipfile.BadZipFile:
        archive.unlink()
        raise LandslideError(f"{archive}: is not a ZIP archive; it was removed, run the same command again") from None


def _require_room(archive: Path, out: Path, targets: dict[zipfile.ZipInfo, Path]) -> None:
    """Refuse what unpacks to more than the dataset has, or than the disk has room for; files that are there are room.

    No member unpacks to more than the size it declares: ``zipfile`` reads no further.
    """
    if sum(member.file_size for member in targets) > MOST_BYTES:
        raise LandslideError(f"{archive}: unpacks to more than {MOST_BYTES:,} bytes; is this Landslide4Sense?")
    there = [(out / released).stat().st_size for released in targets.values() if (out / released).is_file()]
    require_space(out, sum(member.file_size for member in targets) - sum(there), f"what {archive.name} unpacks to")


def _released_path(member: str, archive: Path) -> Path:
    """``…/TrainData/img/image_1.h5`` -> ``TrainData/img/image_1.h5``; the archive's name stands in for TrainData."""
    match = _MEMBER.search(f"{archive.stem}/{member}")
    if not match:
        raise LandslideError(f"{archive}: holds the unexpected path {member!r}; nothing of it was unpacked")
    return Path(*match.groups())
