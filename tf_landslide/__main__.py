"""``python -m tf_landslide``."""

import sys

from tf_landslide.cli import main

sys.exit(main())
