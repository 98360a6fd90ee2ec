"""Maps a scene of noise by a tiny export in a process of its own; run by ``test_cluster.py``, which kills it.

    python cluster_run.py MODEL FOLDER OUT HOW

HOW is ``here``, a number of workers, or a scheduler's address. FOLDER holds ``s.tif`` and ``dem.tif``.
"""

import sys
from pathlib import Path

from tf_landslide.cli.main import main

if __name__ == "__main__":
    model, folder, out, how = sys.argv[1:]
    who = [] if how == "here" else ["--workers", how] if how.isdecimal() else ["--scheduler", how]
    scene, dem = Path(folder) / "s.tif", Path(folder) / "dem.tif"
    options = ["--window", "64", "--overlap", "32", "--min-area", "1e6"]
    sys.exit(main(["map", model, str(scene), "--dem", str(dem), "--out", out, *options, *who]))
