"""Maps a scene with ``--objects`` and kills itself, SIGKILL, at one renaming; run by ``test_refined_map.py``.

    python refining_killed.py FILE WHEN WORD …

FILE is the name of what is renamed to, WHEN is ``before`` or ``after`` that, the words are the command line's.
"""

import os
import signal
import sys
from pathlib import Path

from tf_landslide.cli.main import main

if __name__ == "__main__":
    name, when, *words = sys.argv[1:]
    rename = Path.replace

    def replace(path: Path, target: Path) -> Path:
        last = Path(target).name == name
        if last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = rename(path, target)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    Path.replace = replace
    sys.exit(main(words))
