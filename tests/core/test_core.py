"""The ground floor."""

import os
import platform
import subprocess
import sys
import threading

import pytest

from serving.startup import start_tensorflow
from tf_landslide.core.errors import LandslideError, LandslideWarning, first_line, lookup, require_known, warn
from tf_landslide.core.extras import extra
from tf_landslide.core.files import replacing
from tf_landslide.core.tables import markdown_table, text_table
from tf_landslide.core.templates import render
from tf_landslide.core.threads import READERS, in_order


def test_an_unknown_name_is_refused_with_the_nearest():
    assert lookup({"unet": 1}, "unet", "architecture") == 1
    with pytest.raises(LandslideError, match=r"^unknown architecture 'unett'; did you mean 'unet'\?$"):
        lookup({"unet": 1, "other": 2}, "unett", "architecture")
    with pytest.raises(LandslideError, match=r"^unknown cache 'x'; known: disk, memory$"):
        require_known("x", ("memory", "disk"), "cache")


@pytest.mark.parametrize("quoted", ["\x1b[2J", "a\nb", "\u2028", "\ud800", "\u202e", "\0"])
def test_what_an_error_quotes_is_made_one_line_that_can_be_printed(quoted):
    assert str(LandslideError(f"é: {quoted!s} – no")) == "é: " + repr(quoted)[1:-1] + " – no"
    with pytest.warns(LandslideWarning) as caught:
        warn(f"w {quoted}")
    assert str(caught[0].message) == "w " + repr(quoted)[1:-1]


def test_what_another_library_says_is_cut():
    assert first_line(ValueError("\n\nfirst\nsecond")) == "first" and first_line(KeyError()) == "KeyError"
    assert len(first_line(ValueError("x" * 10_000))) == 301


def test_tables():
    assert text_table(("", "F1"), [("tiny", "0.5"), ("a longer name", 12)]) == (
        "                F1\n-------------  ---\ntiny           0.5\na longer name   12"
    )
    assert markdown_table(("a", "b"), [(1, "x|y")]) == "| a | b |\n|---|---|\n| 1 | x/y |"


def test_a_template_asks_for_every_value_and_escapes_html(tmp_path):
    (tmp_path / "t.html.jinja").write_text("<b>{{ name }}</b>\n")
    assert render(tmp_path / "t.html.jinja", name="<script>") == "<b>&lt;script&gt;</b>\n"
    (tmp_path / "t.md.jinja").write_text("# {{ name }}\n{% if more %}\nmore\n{% endif %}\n")
    assert render(tmp_path / "t.md.jinja", name="<a>", more=False) == "# <a>\n"
    with pytest.raises(Exception, match="'more' is undefined"):
        render(tmp_path / "t.md.jinja", name="a")


def test_what_is_not_installed_is_said_with_what_installs_it():
    said = r"^nowhere_at_all is not installed: pip install 'tf-landslide\[page\]'$"
    with pytest.raises(LandslideError, match=said), extra("page"):
        import nowhere_at_all  # noqa: F401


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_written_appears_whole_or_not_at_all(tmp_path, kind):
    target = tmp_path / "x"

    def write(path, text):
        if kind == "folder":
            path.mkdir()
            path /= "inside"
        path.write_text(text)

    with pytest.raises(KeyboardInterrupt), replacing(target) as partial:
        write(partial, "half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with replacing(target) as partial:
        write(partial, "whole")
        assert not target.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_results_come_in_order_from_a_few_threads():
    seen = set()

    def square(x):
        seen.add(threading.get_ident())
        return x * x

    started = iter(range(1000))
    results = in_order(square, started)
    assert next(results) == 0 and next(started) <= 2 * READERS + 2  # few are under way
    assert list(results)[:2] == [1, 4] and len(seen) <= READERS <= max(4, os.cpu_count() or 1)


HEAPS = """
import ctypes, sys, threading
from tf_landslide.core.threads import share_heaps

if sys.argv[1] == "shared":
    share_heaps()
met = threading.Barrier(13)


def work():
    kept = bytes(100_000)
    met.wait()
    met.wait()


for _ in range(12):
    threading.Thread(target=work).start()
met.wait()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
met.wait()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of GNU's C library")
@pytest.mark.parametrize(("how", "limit"), [("shared", None), ("own", None), ("shared", "5")])
def test_threads_share_heaps(how, limit, tmp_path):
    said = tmp_path / "info.xml"  # by the C library itself
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    environment |= {"MALLOC_ARENA_MAX": limit} if limit else {}
    subprocess.run([sys.executable, "-c", HEAPS, how, str(said)], check=True, env=environment)
    heaps = said.read_text().count("<heap nr=")
    assert heaps > 5 if how == "own" else heaps == int(limit or 2)


@pytest.mark.parametrize(
    ("set_by_user", "expected"), [({}, "true"), ({"TF_FORCE_GPU_ALLOW_GROWTH": "false"}, "false")], ids=["ours", "own"]
)
def test_memory_of_a_gpu_is_left_to_other_processes(tmp_path, monkeypatch, set_by_user, expected):
    """Else a run of ``--folds``, a process of its own, finds none. TensorFlow reads the variable as it starts."""
    (tmp_path / "tensorflow.py").write_text(
        "import os, types\n"
        "seen = os.environ.get('TF_FORCE_GPU_ALLOW_GROWTH')\n"
        "config = types.SimpleNamespace(list_logical_devices=lambda: [])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(os, "environ", set_by_user)
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # so that what was imported, if anything, comes back
    monkeypatch.delitem(sys.modules, "tensorflow")
    start_tensorflow()
    assert sys.modules["tensorflow"].seen == expected
