"""The page: upload patches, look, compare, download; the same as ``tf-landslide page``.

python gradio_app.py [--models models] [--server grpc://host:port/NAME] [--host 127.0.0.1] [--port 7860]

Without --models and --server it takes what is in models/ and demo/models/.
"""

import sys

from tf_landslide.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["page", *sys.argv[1:]]))
