"""Remote rasters: names, settings, and a server on this machine that counts what it sends."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.env import get_gdal_config
from rasterio.shutil import copy

from buildmap.raster.reader import RasterReader
from buildmap.raster.remote import connects, gdal_name, is_remote, settings
from buildmap.raster.source import Source
from buildmap.raster.windows import Window
from tests.scenes import write_raster

WINDOW = Window(col_off=300, row_off=900, width=200, height=150)


class Ranges(BaseHTTPRequestHandler):
    """Serves byte ranges of the files of one folder."""

    folder: Path
    sent: list[int]
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_: object) -> None: ...

    def _answer(self, *, body: bool) -> None:
        self.asked.append(self.path)
        path = self.folder / self.path.split("?")[0].lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        first, last, status = 0, len(data) - 1, 200
        if wanted := self.headers.get("Range"):
            begin, end = wanted.removeprefix("bytes=").split("-")
            first, last, status = int(begin), min(int(end or last), last), 206
        self.send_response(status)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.end_headers()
        if body:
            self.sent.append(last - first + 1)
            self.wfile.write(data[first : last + 1])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[type[Ranges]]:
    handler = type("Handler", (Ranges,), {"folder": tmp_path, "sent": [], "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        handler.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield handler
        http.shutdown()
        thread.join()


@pytest.fixture
def cog(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 1500, 1500), np.uint8)
    plain = write_raster(tmp_path / "plain.tif", pixels)
    copy(plain, tmp_path / "cog.tif", driver="COG", BLOCKSIZE=128)
    plain.unlink()
    return tmp_path / "cog.tif"


def test_a_url_reads_like_the_file_and_only_in_part(server: type[Ranges], cog: Path) -> None:
    for gsd_range_m in (None, (1.3, 1.3)):
        with (
            RasterReader(f"{server.url}/cog.tif?token=1", gsd_range_m=gsd_range_m) as remote,
            RasterReader(cog, gsd_range_m=gsd_range_m) as local,
        ):
            window = WINDOW if gsd_range_m is None else Window(col_off=9, row_off=99, width=60, height=70)
            image, expected = remote.read(window), local.read(window)
            np.testing.assert_array_equal(image.pixels, expected.pixels)
            assert remote.grid == local.grid
            assert remote.has_data(window)
    assert 200 * 150 * 3 < sum(server.sent) < cog.stat().st_size / 4
    assert {path.split("?")[0] for path in server.asked} == {"/cog.tif"}  # nothing is guessed at


def test_several_urls_are_a_mosaic_with_a_fingerprint(server: type[Ranges], cog: Path) -> None:
    url = f"{server.url}/cog.tif"
    source = Source(rasters=(url, url))
    with source.open() as remote, RasterReader(cog) as local:
        np.testing.assert_array_equal(remote.read(WINDOW).pixels, local.read(WINDOW).pixels)
    assert source.fingerprint() == source.fingerprint()


def test_settings_hold_for_remote_names_only_and_never_against_the_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "7")
    with rasterio.Env(VSI_CACHE_SIZE="123456"):
        with settings(remote=True):
            assert get_gdal_config("GDAL_DISABLE_READDIR_ON_OPEN") == "EMPTY_DIR"
            assert str(get_gdal_config("VSI_CACHE_SIZE")) == "123456"
            assert str(get_gdal_config("GDAL_HTTP_MAX_RETRY")) == "7"
        assert get_gdal_config("GDAL_DISABLE_READDIR_ON_OPEN") is None
        with settings(remote=False):
            assert get_gdal_config("GDAL_DISABLE_READDIR_ON_OPEN") is None


@pytest.mark.parametrize(
    ("typed", "known"),
    [
        ("https://host//a.tif?x=1", "/vsicurl/https://host//a.tif?x=1"),
        ("s3://bucket//key.tif", "/vsis3/bucket//key.tif"),
        ("gs://bucket/key.tif", "/vsigs/bucket/key.tif"),
        ("az://box/key.tif", "/vsiaz/box/key.tif"),
        ("/vsicurl/https://host/a.tif", "/vsicurl/https://host/a.tif"),
        ("dir/a.tif", "dir/a.tif"),
        (Path("dir/a.tif"), "dir/a.tif"),
    ],
)
def test_urls_become_names_of_gdal(typed: str | Path, known: str) -> None:
    assert gdal_name(typed) == known
    assert connects(known) == known.startswith("/vsi")
    assert is_remote(f"<VRTDataset><SourceFilename>{known}<") == is_remote(known) == connects(known)
