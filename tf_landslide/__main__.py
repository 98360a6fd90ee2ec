"""``python -m tf_landslide``."""

import sys

from tf_landslide.cli.main import main

sys.exit(main())
