"""The real downloading code against a local server that answers as Zenodo does, and misbehaves."""

import hashlib
import io
import json
import socket
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError
from tf_landslide.data.download import download
from tf_landslide.data.folders import find_patches
from tf_landslide.data.hdf5 import read_image

FOLDERS = {"TrainData": 3, "ValidData": 2, "TestData": 2}


class FakeZenodo(ThreadingHTTPServer):
    """Serves archives; ``break_after`` cuts each first answer short, ``ranges`` says whether it can resume."""

    daemon_threads = True

    def __init__(self, archives):
        super().__init__(("127.0.0.1", 0), Handler)
        self.archives, self.md5 = archives, {k: hashlib.md5(v).hexdigest() for k, v in archives.items()}
        self.break_after, self.ranges, self.log = None, True, []
        self.broken = set()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.log.append((self.path, asked))
        record = "/api/records/10463239"
        if self.path == record:
            files = [{"key": k, "size": len(v), "checksum": f"md5:{server.md5[k]}"} for k, v in server.archives.items()]
            return self.answer(200, json.dumps({"files": files}).encode())
        name = self.path.removeprefix(f"{record}/files/").removesuffix("/content")
        if name not in server.archives:
            return self.answer(404, b"")
        body, status = server.archives[name], 200
        if asked and server.ranges:
            body, status = body[int(asked.removeprefix("bytes=").removesuffix("-")) :], 206
        cut = server.break_after if name not in server.broken else None
        server.broken.add(name)
        return self.answer(status, body, cut)

    def answer(self, status, body, cut=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])
        if cut is not None:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def zenodo(sample):
    archives = {}
    for folder, count in FOLDERS.items():
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for n in range(1, count + 1):
                for kind, stem in (("img", "image"), ("mask", "mask")):
                    archive.write(sample / folder / kind / f"{stem}_{n}.h5", f"{folder}/{kind}/{stem}_{n}.h5")
        archives[f"{folder}.zip"] = buffer.getvalue()
    server = FakeZenodo(archives)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def fetched(zenodo):
    return [path for path, _ in zenodo.log if path.endswith("/content")]


def test_fetches_verifies_and_unpacks_the_released_layout(zenodo, sample, tmp_path, capsys):
    assert main(["download", str(tmp_path / "data"), "--mirror", zenodo.url]) == 0
    assert "3 train, 2 valid, 2 test" in capsys.readouterr().out
    for split in ("train", "valid", "test"):
        for patch in find_patches(tmp_path / "data", split):
            original = sample / patch.image.relative_to(tmp_path / "data")
            assert patch.image.read_bytes() == original.read_bytes() and patch.mask is not None
            assert read_image(patch.image).shape == (128, 128, 14)
    assert not [p for p in (tmp_path / "data").iterdir() if p.suffix in (".zip", ".part")]


@pytest.mark.parametrize("ranges", [True, False], ids=["server-resumes", "server-starts-over"])
def test_goes_on_where_the_connection_broke_off(zenodo, tmp_path, ranges):
    zenodo.break_after, zenodo.ranges = 500_000, ranges
    assert download(tmp_path / "data", mirror=zenodo.url, pause=0) == {"train": 3, "valid": 2, "test": 2}
    asked = [r for path, r in zenodo.log if path.endswith("TrainData.zip/content")]
    assert asked == [None, "bytes=500000-"]


def test_a_stopped_download_resumes_in_the_next_one(zenodo, tmp_path):
    out = tmp_path / "data"
    out.mkdir()
    body = zenodo.archives["TrainData.zip"]
    (out / "TrainData.zip.part").write_bytes(body[:1_000_000])
    download(out, mirror=zenodo.url, pause=0)
    assert ("/api/records/10463239/files/TrainData.zip/content", "bytes=1000000-") in zenodo.log


def test_a_second_download_fetches_nothing_again(zenodo, tmp_path):
    download(tmp_path / "data", mirror=zenodo.url, pause=0)
    before = len(fetched(zenodo))
    download(tmp_path / "data", mirror=zenodo.url, pause=0)
    assert len(fetched(zenodo)) == before == 3


def test_a_wrong_checksum_is_refused_and_leaves_nothing_to_trust(zenodo, tmp_path):
    zenodo.md5["TrainData.zip"] = "0" * 32
    with pytest.raises(LandslideError, match=r"TrainData.zip: MD5 is \w+, the record says 0000"):
        download(tmp_path / "data", mirror=zenodo.url, pause=0)
    assert not list((tmp_path / "data").iterdir())


def test_offline_is_one_clear_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tf_landslide.data.fetch.time.sleep", lambda _: None)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert main(["download", str(tmp_path / "data"), "--mirror", url]) == 2
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0 and "cannot be reached" in error and "Connection refused" in error
    assert not (tmp_path / "data").exists()


def test_a_server_that_is_no_zenodo_is_refused(zenodo, tmp_path):
    with pytest.raises(LandslideError, match="404"):
        download(tmp_path / "data", mirror=f"{zenodo.url}/elsewhere", pause=0)
    zenodo.archives.clear()
    with pytest.raises(LandslideError, match=r"lists no \.zip file"):
        download(tmp_path / "data", mirror=zenodo.url, pause=0)


def test_a_damaged_copy_of_an_archive_and_a_deleted_split_are_fetched_again(zenodo, tmp_path):
    import shutil

    out = tmp_path / "data"
    out.mkdir()
    (out / "TrainData.zip").write_bytes(b"cut off")
    download(out, mirror=zenodo.url, pause=0)
    shutil.rmtree(out / "ValidData")
    assert download(out, mirror=zenodo.url, pause=0) == {"train": 3, "valid": 2, "test": 2}
    assert [path.split("/")[-2] for path in fetched(zenodo)].count("ValidData.zip") == 2


@pytest.mark.parametrize("path", ["../../evil/img/image_1.h5", "/img/image_1.h5", "TrainData/img/evil.h5"])
def test_an_archive_cannot_write_outside_the_folder(zenodo, tmp_path, path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(path, b"x")
    zenodo.archives["TrainData.zip"] = buffer.getvalue()
    zenodo.md5["TrainData.zip"] = hashlib.md5(buffer.getvalue()).hexdigest()
    with pytest.raises(LandslideError, match="unexpected path"):
        download(tmp_path / "a/b/data", mirror=zenodo.url, pause=0)
    assert not list(tmp_path.rglob("evil*")) and not list(tmp_path.rglob("image_1.h5"))


def size_unpacked(zenodo):
    """Of the archive that is unpacked first."""
    with zipfile.ZipFile(io.BytesIO(zenodo.archives["TrainData.zip"])) as archive:
        return sum(len(archive.read(name)) for name in archive.namelist())


def test_an_archive_that_unpacks_to_more_than_the_dataset_is_refused(zenodo, tmp_path, monkeypatch):
    monkeypatch.setattr("tf_landslide.data.download.MOST_BYTES", size_unpacked(zenodo) - 1)
    with pytest.raises(LandslideError, match=r"TrainData.zip: unpacks to more than [\d,]+ bytes"):
        download(tmp_path / "data", mirror=zenodo.url, pause=0)
    assert not list(tmp_path.rglob("*.h5"))


def test_a_disk_without_room_for_an_archive_is_told_before_it_is_unpacked(zenodo, sample, tmp_path, monkeypatch):
    import shutil

    out, needed = tmp_path / "data", size_unpacked(zenodo)
    monkeypatch.setattr("tf_landslide.core.files.shutil.disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, free))
    free = needed - 1
    with pytest.raises(LandslideError, match=r"what TrainData.zip unpacks to needs [\d.]+ GB of disk"):
        download(out, mirror=zenodo.url, pause=0)
    assert not list(out.rglob("*.h5"))
    (out / "TrainData/img").mkdir(parents=True)
    shutil.copy(sample / "TrainData/img/image_1.h5", out / "TrainData/img")  # an earlier try had come so far
    assert download(out, mirror=zenodo.url, pause=0)["train"] == 3
