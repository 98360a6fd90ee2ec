"""Maps in a short format: by this process and by workers."""

import json

import pytest

from tests.scenes.test_cluster import rasters, scene  # noqa: F401 (a fixture)
from tests.test_precision import any_cpu, proven, run, spoilt  # noqa: F401 (fixtures)
from tf_landslide.cli.main import main
from tf_landslide.core.cpu import instructions
from tf_landslide.runs import precision

pytest.importorskip("distributed", reason="needs the extra scale")
pytestmark = pytest.mark.long


def test_a_map_says_its_format_and_workers_compute_in_it(run, scene, tmp_path):  # noqa: F811 (fixtures)
    if not set(instructions()) & set(precision.NEEDED["bfloat16"]):
        pytest.skip("needs a CPU with bfloat16: workers look for themselves")
    spoilt(run / "precision/bfloat16/proof.json", lambda proof: proof | {"f1_float32": proof["f1"]})
    options = ["--window", "64", "--overlap", "32", "--min-area", "1e6", "--dem", str(scene / "dem.tif")]
    words = ["map", str(run), str(scene / "s.tif"), *options, "--precision", "bfloat16"]
    for name, who in (("here", []), ("there", ["--workers", "1"])):
        assert main([*words, "--out", str(tmp_path / name), *who]) == 0
    summary = json.loads((tmp_path / "here/summary.json").read_text())
    proof = json.loads((run / "precision/bfloat16/proof.json").read_text())
    assert (summary["precision"], summary["threshold"]) == ("bfloat16", proof["threshold"])
    assert rasters(tmp_path / "here") == rasters(tmp_path / "there")
