"""Checkpoints from a local server that answers as a web server or as Hugging Face does."""

import hashlib
import json
import os
import socket
import threading

import pytest

from tests.data.test_download import FakeZenodo, Handler
from tf_landslide.core.errors import LandslideError, LandslideWarning
from tf_landslide.data import fetch
from tf_landslide.data.fetch import checkpoint_file

CONTENT = bytes(range(256)) * 8000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NAME = "owner/repository/weights/unet.pth"


class FakeHub(Handler):
    """``/files/NAME`` as any web server, and a repository with ``weights/unet.pth`` of Hugging Face."""

    def do_GET(self):
        server = self.server
        if self.path.startswith("/api/models/owner/repository?"):
            server.log.append((self.path, None))
            lfs = {"sha256": server.said, "size": len(CONTENT)}
            siblings = [
                {"rfilename": "weights/unet.pth", "size": len(CONTENT), "lfs": lfs},
                {"rfilename": "small.safetensors", "size": 5},
            ]
            answer = {"id": "owner/repository", "siblings": siblings} if server.hub else ["what?"]
            return self.answer(200, json.dumps(answer).encode())
        self.path = self.path.replace("/files/", "/owner/repository/resolve/main/weights/")
        if self.path != "/owner/repository/resolve/main/weights/unet.pth":
            return self.answer(404, b"")
        self.path = "/api/records/10463239/files/unet.pth/content"  # of which the Zenodo of the tests knows the rest
        return super().do_GET()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    server = FakeZenodo({"unet.pth": CONTENT})
    server.RequestHandlerClass, server.said, server.hub = FakeHub, DIGEST, True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def got(hub):
    return [asked for path, asked in hub.log if path.endswith("/content")]


@pytest.mark.parametrize("ranges", [True, False], ids=["server-resumes", "server-starts-over"])
def test_an_address_is_fetched_once_and_goes_on_where_it_broke_off(hub, tmp_path, ranges):
    hub.break_after, hub.ranges = 500_000, ranges
    path, source = checkpoint_file(f"{hub.url}/files/unet.pth", DIGEST, pause=0)
    assert path.read_bytes() == CONTENT and path.name == "unet.pth" and path.is_relative_to(tmp_path / "cache")
    assert source == f"{hub.url}/files/unet.pth" and got(hub) == [None, "bytes=500000-"]
    assert checkpoint_file(f"{hub.url}/files/unet.pth", DIGEST, pause=0) == (path, source) and len(got(hub)) == 2
    assert [file.name for file in path.parent.iterdir() if file.suffix == ".part"] == []


def test_a_file_of_hugging_face_is_checked_against_what_its_api_says(hub):
    path, source = checkpoint_file(NAME, pause=0)
    assert path.read_bytes() == CONTENT and source == f"{hub.url}/owner/repository/resolve/main/weights/unet.pth"


def test_another_checksum_is_refused_and_leaves_nothing(hub, tmp_path):
    hub.said = "0" * 64
    with pytest.raises(LandslideError, match=rf"unet\.pth: SHA-256 is {DIGEST}, expected 0000"):
        checkpoint_file(NAME, pause=0)
    with pytest.raises(LandslideError, match="the server says its SHA-256 is 0000"):
        checkpoint_file(NAME, DIGEST, pause=0)
    with pytest.raises(LandslideError, match=f"SHA-256 is {DIGEST}, expected 1111"):
        checkpoint_file(f"{hub.url}/files/unet.pth", "1" * 64, pause=0)
    assert not list((tmp_path / "cache").rglob("unet.pth*"))


def test_what_is_not_there_is_told(hub):
    with pytest.raises(LandslideError, match=r"did you mean 'weights/unet\.pth'"):
        checkpoint_file("owner/repository/weights/unett.pth", pause=0)
    with pytest.raises(LandslideError, match="answers 404"):
        checkpoint_file("owner/nothing/unet.pth", pause=0)
    with pytest.raises(LandslideError, match="answers 404"):
        checkpoint_file(f"{hub.url}/files/other.pth", pause=0)
    hub.hub = False
    with pytest.raises(LandslideError, match="did not answer as Hugging Face does"):
        checkpoint_file(NAME, pause=0)


def test_offline_is_one_clear_line(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(LandslideError, match=r"cannot be reached .*Connection refused") as error:
            checkpoint_file(NAME, pause=0)
    assert "\n" not in str(error.value) and not list(tmp_path.rglob("*.pth"))


def test_a_file_that_has_no_end_is_left(hub, monkeypatch):
    monkeypatch.setattr(fetch, "MAX_BYTES", 100_000)
    with pytest.raises(LandslideError, match=r"has 2,048,000 bytes, at most 100,000 are fetched"):
        checkpoint_file(f"{hub.url}/files/unet.pth", pause=0)


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://", "http://a b/w.pth", "http://localhost:99999/w.pth", "https://h/w\n.pth"]
)
def test_what_is_no_address_is_told_at_once(url, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(LandslideError, match=r"is no address; expected https://HOST/FILE\.pth") as error:
        checkpoint_file(url, pause=60)
    assert "\n" not in str(error.value)


def part_of(hub, tmp_path, content):
    """What an earlier process left of ``unet.pth``."""
    url = f"{hub.url}/files/unet.pth"
    folder = tmp_path / "cache" / "tf-landslide" / hashlib.sha256(url.encode()).hexdigest()[:16]
    folder.mkdir(parents=True)
    (folder / "unet.pth.part").write_bytes(content)
    return url


@pytest.mark.parametrize("status", [416, 206])
def test_a_part_that_the_server_does_not_go_on_with_is_begun_anew(hub, tmp_path, monkeypatch, status):
    """It may be whole, where the process ended before it got its name, and a server has nothing behind it (416); or
    the server sends other bytes than those asked for.
    """

    def misfit(handler):
        if not handler.headers.get("Range"):
            served(handler)
            return
        body = b"" if status == 416 else CONTENT
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        if body:
            handler.send_header("Content-Range", f"bytes 0-{len(body) - 1}/{len(body)}")
        handler.end_headers()
        handler.wfile.write(body)

    served = FakeHub.do_GET
    monkeypatch.setattr(FakeHub, "do_GET", misfit)
    url = part_of(hub, tmp_path, CONTENT if status == 416 else CONTENT[:1000])
    assert checkpoint_file(url, DIGEST, pause=0)[0].read_bytes() == CONTENT


@pytest.mark.parametrize("named", ['ETag: "v{}"', "Last-Modified: Fri, 27 Nov 2026 0{}:00:00 GMT", 'ETag: W/"v{}"', ""])
@pytest.mark.parametrize("knows", ["compares", "goes on", "goes on, without a version"])
@pytest.mark.parametrize("more", [0, 300], ids=["same length", "longer"])
def test_a_file_that_is_replaced_while_it_is_fetched_is_not_mixed(hub, monkeypatch, named, knows, more):
    """Without a checksum; a server that knows no If-Range goes on with the new one's bytes."""
    if named.startswith("Last") and knows == "goes on, without a version" and not more:
        pytest.skip("nothing tells the two apart")
    versions, asked = [CONTENT, CONTENT[::-1] + bytes(more)], []
    header, _, value = named.partition(": ")
    strong = bool(named) and "W/" not in named

    def answer(handler):
        which = min(len(asked), 1)
        start = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
        before = handler.headers.get("If-Range")
        asked.append((start, before))
        body, now = versions[which], value.format(which)
        start = 0 if knows == "compares" and before not in (None, now) else start
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(body) - start))
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if named and not (start and knows == "goes on, without a version"):
            handler.send_header(header, now)
        handler.end_headers()
        handler.wfile.write(body[start:][: 500_000 if which == 0 else None])
        handler.close_connection = True

    monkeypatch.setattr(FakeHub, "do_GET", answer)
    monkeypatch.setattr(fetch, "_require_readable", lambda *_: None)
    path, _ = checkpoint_file(f"{hub.url}/files/unet.pth", pause=0)
    assert asked[:2] == [(0, None), (500_000, value.format(0)) if strong else (0, None)]
    assert path.read_bytes() == versions[1]
    assert [file.name for file in path.parent.iterdir()] == ["unet.pth"]


def test_a_checkpoint_that_could_not_be_read_is_not_fetched(hub, monkeypatch):
    monkeypatch.setattr(fetch, "MAX_BYTES", len(CONTENT) - 1)
    with pytest.raises(LandslideError, match=r"unet\.pth: has 2,048,000 bytes, at most 2,047,999 are fetched"):
        checkpoint_file(NAME, pause=0)
    assert got(hub) == []


def test_letters_that_no_address_has_are_written_as_the_web_writes_them(hub, monkeypatch):
    seen = []

    def answer(handler):
        seen.append(handler.path)
        handler.answer(404, b"")

    monkeypatch.setattr(FakeHub, "do_GET", answer)
    with pytest.raises(LandslideError, match="the server answers 404"):
        checkpoint_file(f"{hub.url}/modèle.pth?a=ü&b=%20", pause=60)
    assert seen == ["/mod%C3%A8le.pth?a=%C3%BC&b=%20"]


def test_what_cannot_be_asked_is_one_line_at_once(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(LandslideError, match="is no address that can be asked"):
        checkpoint_file(f"http://{'a' * 70}.org/w.pth", pause=60)
    monkeypatch.setenv("HF_ENDPOINT", "hf-mirror.com")
    with pytest.raises(LandslideError, match=r"HF_ENDPOINT=hf-mirror\.com: is no address; expected https://HOST"):
        checkpoint_file(NAME, pause=60)


@pytest.mark.parametrize("place", ["ftp://127.0.0.1:1/w.pth", "file:///etc/passwd", "data:,x"])
def test_a_server_sends_to_the_web_alone(hub, monkeypatch, place):
    def elsewhere(handler):
        handler.send_response(302)
        handler.send_header("Location", place)
        handler.end_headers()

    monkeypatch.setattr(FakeHub, "do_GET", elsewhere)
    with pytest.raises(LandslideError, match=r"files/unet\.pth: the server answers 302 Found .*(not allowed|sends to)"):
        checkpoint_file(f"{hub.url}/files/unet.pth", pause=60)


@pytest.mark.parametrize("length", ["abc", "-5", "9" * 5000])
def test_a_length_that_is_none_counts_for_nothing(hub, monkeypatch, length):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", length)
        handler.end_headers()
        handler.wfile.write(CONTENT)

    monkeypatch.setattr(FakeHub, "do_GET", answer)
    assert checkpoint_file(f"{hub.url}/files/unet.pth", DIGEST, pause=0)[0].read_bytes() == CONTENT


def test_that_a_server_is_waited_for_is_told(hub, monkeypatch):
    answering = threading.Event()
    served = FakeHub.do_GET
    monkeypatch.setattr(fetch, "_TIMEOUT", 0.2)

    def late(handler):
        answering.wait(0.6)
        answering.set()
        served(handler)

    monkeypatch.setattr(FakeHub, "do_GET", late)
    with pytest.warns(
        LandslideWarning, match=r"unet\.pth: no answer in 0\.2 seconds; asked again, 4 more times at most"
    ):
        checkpoint_file(f"{hub.url}/files/unet.pth", DIGEST, pause=0)


def test_what_is_no_checkpoint_is_not_kept_unless_a_checksum_vouches_for_it(hub, tmp_path):
    """A page that asks to sign in, say; else it would be taken from the cache for ever."""
    url = f"{hub.url}/files/unet.pth"
    with pytest.raises(LandslideError, match=r"files/unet\.pth: is neither .*; the copy was removed") as error:
        checkpoint_file(url, pause=0)
    assert str(error.value).startswith(url) and not list((tmp_path / "cache").rglob("unet.pth*"))


def test_a_path_comes_first_and_may_be_checked(tmp_path, monkeypatch):
    (tmp_path / "w.pth").write_bytes(CONTENT)
    assert checkpoint_file(str(tmp_path / "w.pth"), DIGEST) == (tmp_path / "w.pth", None)
    with pytest.raises(LandslideError, match=f"its SHA-256 is {DIGEST}, expected 2222"):
        checkpoint_file(str(tmp_path / "w.pth"), "2" * 64)
    os.mkfifo(tmp_path / "pipe.pth")
    for endless in (tmp_path / "pipe.pth", "/dev/zero"):
        with pytest.raises(LandslideError, match="is not a regular file"):
            checkpoint_file(str(endless), "2" * 64)
    with pytest.raises(LandslideError, match="is a folder"):
        checkpoint_file(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LandslideError, match=r"nothing\.pth: no such file"):
        checkpoint_file("nothing.pth")
    (tmp_path / "owner" / "repository").mkdir(parents=True)
    with pytest.raises(LandslideError, match="no such file"):  # a folder here, and so no name of a repository
        checkpoint_file("owner/repository/unet.pth")
