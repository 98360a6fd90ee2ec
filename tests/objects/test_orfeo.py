"""Orfeo's mean shift: the real program where it is installed, and what is said where it is not or fails."""

import shutil

import numpy as np
import pytest
from scipy import ndimage

from tests.objects.test_segments import blobs, check_partition
from tf_landslide.core.errors import LandslideError
from tf_landslide.objects import orfeo
from tf_landslide.objects.segments import Segmenting, segment

WANTED = Segmenting("lsms", 40, ("a", "b"), spreads={"a": 1.0, "b": 1.0})


def stand_in(folder, monkeypatch, script):
    """A program of Orfeo's name."""
    path = folder / orfeo.PROGRAM
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_without_the_program_its_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LandslideError, match="LargeScaleMeanShift is not installed: apt-get install otb-bin"):
        segment({"a": np.ones((3, 3)), "b": np.ones((3, 3))}, WANTED)


def test_a_failure_is_one_line(tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, 'echo "(INFO) reading"; echo "(FATAL) no such filter" >&2; exit 3')
    with pytest.raises(LandslideError, match=r"failed with status 3 and says: \(FATAL\) no such filter"):
        segment({"a": np.ones((3, 3)), "b": np.ones((3, 3))}, WANTED)


def test_what_was_aborted_is_run_once_more(tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, "echo run >> ran; echo Aborted; exit 134")
    with pytest.raises(LandslideError, match="failed with status 134 and says: Aborted"):
        orfeo._run([str(tmp_path / orfeo.PROGRAM)], folder=str(tmp_path))
    assert (tmp_path / "ran").read_text() == "run\nrun\n"


@pytest.mark.skipif(shutil.which(orfeo.PROGRAM) is None, reason="needs Orfeo ToolBox: apt-get install otb-bin")
def test_orfeo_follows_a_disc_and_gives_a_partition():
    truth = np.hypot(*np.mgrid[-30:31, -35:36]) < 17
    layers = {"a": truth * 4 + blobs(truth.shape, 0, 1.0) * 0.05, "b": blobs(truth.shape, 1, 1.0) * 0.05}
    layers["a"][:5, :7] = np.nan
    labels = segment(layers, WANTED)
    check_partition(labels, np.isfinite(layers["a"]))
    inside = ndimage.mean(truth, labels, np.arange(labels.max() + 1))
    assert (truth == (inside > 0.5)[labels]).mean() > 0.99
    np.testing.assert_array_equal(segment(layers, WANTED), labels)
