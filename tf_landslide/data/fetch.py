"""Files from the network: resumed where they broke off, and checked."""

from __future__ import annotations

import hashlib
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

from tf_landslide.core.errors import LandslideError, first_line, unknown, warn
from tf_landslide.core.files import TEXT_BYTES, parse_json, read_text, telling_a_full_disk, write_text
from tf_landslide.core.locks import locked
from tf_landslide.core.progress import meter
from tf_landslide.core.safe_torch import MAX_BYTES, read_tensors

HUGGING_FACE = "https://huggingface.co"
_CHUNK = 1 << 20
_ATTEMPTS = 5
_TIMEOUT = 30  # seconds without a byte
_NETWORK_ERRORS = (urllib.error.URLError, ConnectionError, TimeoutError, ssl.SSLError, HTTPException)
_SAFE = "/%:=&+,;@!$'()*~"
_VERSION_BYTES = 1000
_WHOLE = re.compile(r"[0-9]{1,20}")
_ON_HUGGING_FACE = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)/(?P<file>[\w./-]+\.(pth|pt|ckpt|safetensors))")


@dataclass(frozen=True)
class RemoteFile:
    """A file on a server.

    Attributes:
        name: of the file.
        url: its address.
        size: in bytes, None where nobody says.
        algorithm, digest: its checksum, as ``hashlib`` calls it, and in hexadecimal; None where nobody says.
        most: bytes that are fetched.
    """

    name: str
    url: str
    size: int | None = None
    algorithm: str = "sha256"
    digest: str | None = None
    most: int = 8 << 30


def checkpoint_file(word: str, sha256: str | None = None, pause: float = 2.0) -> tuple[Path, str | None]:
    """The file that a word of the command line means, fetched into this user's cache where it is not here.

    Args:
        word: a path, an address, or ``OWNER/REPOSITORY/FILE`` on Hugging Face (or what ``HF_ENDPOINT`` names).
        sha256: that it must have.
        pause: seconds before the first retry; each further one waits twice as long.

    Returns:
        its path, and its address where it has one.

    Raises:
        LandslideError: no such file, a server that cannot be reached, or another checksum.
    """
    path = Path(word)
    if path.exists():
        if path.is_dir():
            raise LandslideError(f"{path}: is a folder; name a checkpoint file (a run folder goes with --to-torch)")
        if not path.is_file():
            raise LandslideError(f"{path}: is not a regular file")
        if sha256 and (found := _digest(path, "sha256")) != sha256.lower():
            raise LandslideError(f"{path}: its SHA-256 is {found}, expected {sha256.lower()}")
        return path, None
    sha256 = sha256 and sha256.lower()
    on_hugging_face = _ON_HUGGING_FACE.fullmatch(word)
    if word.startswith(("http://", "https://")):
        remote = RemoteFile(_file_name(word), word)
    elif on_hugging_face and not path.parent.is_dir():
        remote = _hugging_face(on_hugging_face["repository"], on_hugging_face["file"], pause)
    else:
        raise LandslideError(f"{path}: no such file")
    if sha256 and remote.digest and remote.digest != sha256:
        raise LandslideError(f"{remote.url}: the server says its SHA-256 is {remote.digest}, expected {sha256}")
    remote = replace(remote, digest=sha256 or remote.digest, most=MAX_BYTES)  # more could not be read
    folder = _cache() / hashlib.sha256(remote.url.encode()).hexdigest()[:16]
    target = folder / remote.name
    with locked(folder), telling_a_full_disk(target):
        folder.mkdir(parents=True, exist_ok=True)
        fetch(remote, target, pause, "check the address")
        if remote.digest is None:
            _require_readable(target, remote.url)
    return target, remote.url


def _file_name(url: str) -> str:
    """The name of the file at an address. Raises ``LandslideError`` for what cannot be one."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or not url.isprintable() or " " in url:
        raise LandslideError(f"{url}: is no address; expected https://HOST/FILE.pth")
    return PurePosixPath(parts.path).name or "checkpoint"


def _require_readable(copy: Path, url: str) -> None:
    """Keep no copy that is no checkpoint, where no checksum vouches for it: it would be in the way of a better one."""
    try:
        read_tensors(copy)
    except LandslideError as error:
        copy.unlink(missing_ok=True)
        raise LandslideError(f"{url}: {str(error).removeprefix(f'{copy}: ')}; the copy was removed") from None


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tf-landslide"


def _hugging_face(repository: str, file: str, pause: float) -> RemoteFile:
    """A file of a repository, with the size and the checksum that Hugging Face's API gives."""
    endpoint = os.environ.get("HF_ENDPOINT", HUGGING_FACE).rstrip("/")
    if not endpoint.startswith(("http://", "https://")):
        raise LandslideError(f"HF_ENDPOINT={endpoint}: is no address; expected https://HOST")
    url = f"{endpoint}/api/models/{repository}?blobs=true"
    text = retried(url, pause, lambda: open_url(url).read(TEXT_BYTES), "check the repository's name")
    try:
        files: dict[str, Any] = {str(entry["rfilename"]): entry for entry in parse_json(text, url)["siblings"]}
    except (LandslideError, KeyError, TypeError):
        raise LandslideError(f"{url}: did not answer as Hugging Face does") from None
    if file not in files:
        raise LandslideError(f"{repository}: {unknown(file, files, 'file')}")
    entry = files[file]
    size, digest = entry.get("size"), (entry.get("lfs") or {}).get("sha256")
    return RemoteFile(
        PurePosixPath(file).name,
        f"{endpoint}/{repository}/resolve/main/{quote(file)}",
        size if isinstance(size, int) else None,
        digest=digest if isinstance(digest, str) else None,
    )


def open_url(url: str, start: int = 0, version: str = "") -> Any:
    """The answer of a server, from a byte on; all of it where it is of another version than that one, if one is named.

    Letters that no address may have are written as the web writes them.
    """
    if not url.isascii():
        parts = urlsplit(url)
        url = parts._replace(path=quote(parts.path, safe=_SAFE), query=quote(parts.query, safe=_SAFE)).geturl()
    headers = ({"Range": f"bytes={start}-"} if start else {}) | ({"If-Range": version} if start and version else {})
    request = urllib.request.Request(url, headers=headers)
    return urllib.request.build_opener(_WebOnly).open(request, timeout=_TIMEOUT)


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Follows a server to other addresses of the web alone, never to FTP."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not newurl.startswith(("http://", "https://")):
            raise urllib.error.HTTPError(newurl, code, f"{msg} (sends to {newurl[:80]!r})", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def retried(url: str, pause: float, action: Callable[[], Any], remedy: str) -> Any:
    """Do ``action`` again when the network interrupts it, and say plainly what to do when that does not help."""
    for k in range(_ATTEMPTS):
        try:
            return action()
        except urllib.error.HTTPError as error:
            last = f"the server answers {error.code} {error.reason}"
            if error.code < 500 and error.code != 429:
                raise LandslideError(f"{url}: {last}; {remedy}") from None
        except ValueError as error:  # UnicodeError too; InvalidURL is an HTTPException
            raise LandslideError(f"{url}: is no address that can be asked ({first_line(error)}); {remedy}") from None
        except _NETWORK_ERRORS as error:
            reason = getattr(error, "reason", error)
            last = str(reason) or type(error).__name__
            if isinstance(reason, TimeoutError) and k + 1 < _ATTEMPTS:  # to wait for it again takes long
                warn(f"{url}: no answer in {_TIMEOUT} seconds; asked again, {_ATTEMPTS - k - 1} more times at most")
        if k + 1 < _ATTEMPTS:
            time.sleep(pause * 2**k)
    raise LandslideError(
        f"{url}: cannot be reached ({last}); check the connection, or {remedy},"
        " then run the same command again: it goes on where it stopped"
    )


def fetch(file: RemoteFile, target: Path, pause: float, remedy: str) -> None:
    """Fetch into ``target``, through ``target.part``, resuming what is there; verify size and checksum.

    Raises:
        LandslideError: a server that cannot be reached, a file that is too large, or another checksum.
    """
    if target.exists() and (file.digest is None or _digest(target, file.algorithm) == file.digest):
        return
    part, told = target.with_name(f"{file.name}.part"), target.with_name(f"{file.name}.version")
    _check_size(file, file.size)

    def rest() -> None:
        version, total = (read_text(told, 2 * _VERSION_BYTES) if told.is_file() else "\n").split("\n")[:2]
        have, size = part.stat().st_size if part.exists() else 0, file.size
        if (size is not None and have > size) or not (version or file.digest):  # nobody could tell two files apart
            part.unlink(missing_ok=True)
            have = 0
        if size is None or have < size:
            with _opened(file.url, have, version, total, part) as answer, part.open("ab") as copy:
                if have and answer.status != 206:  # a server that cannot resume, or has another file, sends all of it
                    copy.truncate(0)
                    have = 0
                if not have:
                    write_text(told, f"{_version(answer)}\n{_total(answer)}")
                length = answer.headers.get("Content-Length", "")
                if size is None and _WHOLE.fullmatch(length):
                    size = have + int(length)
                _check_size(file, size)
                _copy(answer, copy, file, size, have)
        if size is not None and part.stat().st_size < size:
            raise ConnectionError(f"broke off after {part.stat().st_size} of {size} bytes")

    retried(file.url, pause, rest, remedy)
    told.unlink(missing_ok=True)
    if file.digest and (found := _digest(part, file.algorithm)) != file.digest:
        part.unlink()
        name = file.algorithm.upper().replace("SHA", "SHA-")
        said = "the record says" if file.algorithm == "md5" else "expected"
        raise LandslideError(
            f"{target}: {name} is {found}, {said} {file.digest}; the copy was removed, run the same command again"
        )
    part.replace(target)


def _check_size(file: RemoteFile, size: int | None) -> None:
    if (size or 0) > file.most:
        raise LandslideError(f"{file.url}: has {size:,} bytes, at most {file.most:,} are fetched")


def _version(answer: Any) -> str:
    """What tells a file from a later one at its address, as ``If-Range`` takes it; empty where nobody says."""
    tag, changed = answer.headers.get("ETag") or "", answer.headers.get("Last-Modified") or ""
    version: str = changed if tag.startswith("W/") or not tag else tag
    return version if version.isprintable() and len(version) < _VERSION_BYTES else ""


def _total(answer: Any) -> str:
    """The bytes of the whole file, in digits; empty where the server does not say."""
    place, length = answer.headers.get("Content-Range") or "", answer.headers.get("Content-Length") or ""
    total: str = place.rpartition("/")[2] if answer.status == 206 else length
    return total if _WHOLE.fullmatch(total) else ""


def _is_of(answer: Any, version: str, total: str) -> bool:
    """Whether an answer may be of a file: an ETag comes again, ``Last-Modified`` need not (RFC 9110, 15.3.7)."""
    now = _version(answer)
    same = now == version or not version or not (now or version.startswith('"'))
    return same and (not total or _total(answer) in ("", total))


def _opened(url: str, have: int, version: str, total: str, part: Path) -> Any:
    """The answer of a server from a byte on; a part that it cannot go on with is given up, to begin anew."""
    try:
        answer = open_url(url, have, version)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        part.unlink()
        raise ConnectionError("has no such bytes") from None
    place = answer.headers.get("Content-Range") if answer.status == 206 else None
    misfit = ""
    if place and not place.startswith(f"bytes {have}-"):
        misfit = f"sends {place[:40]!r}, asked for the bytes from {have} on"
    elif answer.status == 206 and not _is_of(answer, version, total):
        misfit = "has another file there by now"
    if misfit:
        answer.close()
        part.unlink(missing_ok=True)
        raise ConnectionError(misfit)
    return answer


def _copy(answer: Any, copy: Any, file: RemoteFile, size: int | None, have: int) -> None:
    shown = meter(total=size or 0, label=file.name, unit="B", done=have)
    with closing(shown):
        while chunk := answer.read(_CHUNK):
            have += len(chunk)
            if have > file.most:
                raise LandslideError(f"{file.url}: sends more than {file.most:,} bytes")
            copy.write(chunk)
            shown.update(len(chunk))


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
