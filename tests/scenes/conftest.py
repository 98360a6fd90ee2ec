"""A scene's probability, with holes, and the rasters written of it; a scene's bands, and a server of them."""

import http.server
import ssl
import threading

import numpy as np
import pytest
import rasterio
import trustme
from rasterio import Affine
from scipy import ndimage

from tests.scenes.test_inputs import GRID as SMALL
from tests.scenes.test_inputs import NAMES, STORED
from tests.scenes.test_sampler import UTM, write
from tf_landslide.scenes.grid import Grid
from tf_landslide.scenes.writer import write_rasters

GRID = Grid(Affine(10, 0, 569000, 0, -10, 4737000), UTM, (700, 620))


@pytest.fixture(scope="module")
def probability():
    rng = np.random.default_rng(0)
    field = ndimage.gaussian_filter(rng.normal(size=GRID.shape), 5)
    field = ((field - field.min()) / np.ptp(field)).astype(np.float32)
    field[:, 500:] = np.nan
    field[300:310, 200:260] = np.nan
    return field


@pytest.fixture(scope="module")
def written(probability, tmp_path_factory):
    rows = ((top, probability[top : top + 256]) for top in range(0, 700, 256))
    return write_rasters(tmp_path_factory.mktemp("map"), GRID, rows, 0.62, {"model": "m"})


@pytest.fixture
def folder(tmp_path):
    """The bands of a scene, a file each."""
    inside = tmp_path / "scene"
    inside.mkdir()
    for i, name in enumerate(NAMES):
        write(inside / f"{name}.tif", STORED[i], SMALL)
    (inside / "expired").touch()
    return inside


@pytest.fixture
def server(folder, tmp_path):
    """The folder by https on 127.0.0.1, with byte ranges, and a list of what was asked.

    What is signed by a word of the file ``expired`` is 403.
    """
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            asked.append(self.path)
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", f"https://{self.headers['Host']}/MTD.xml")
                self.end_headers()
                return
            signature = self.path.partition("?")[2]
            if signature and signature in (folder / "expired").read_text().split():
                self.send_error(403)
                return
            path = folder / self.path.partition("?")[0].lstrip("/")
            if not path.is_file():
                self.send_error(404)
                return
            content, start, end = path.read_bytes(), 0, None
            if wanted := self.headers.get("Range"):
                start, end = (int(part) if part else None for part in wanted.removeprefix("bytes=").split("-"))
            end = len(content) - 1 if end is None else min(end, len(content) - 1)
            self.send_response(206 if wanted else 200)
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(end - start + 1))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content[start : end + 1])

        do_HEAD = do_GET

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.socket = context.wrap_socket(running.socket, server_side=True)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    with rasterio.Env(GDAL_CURL_CA_BUNDLE=str(tmp_path / "ca.pem")):
        yield f"127.0.0.1:{running.server_port}", asked
    running.shutdown()
    running.server_close()
