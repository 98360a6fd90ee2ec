"""The page: upload patches, look, compare, download.

python gradio_app.py --models models [--server grpc://host:port/NAME] [--host 127.0.0.1] [--port 7860]
"""

from __future__ import annotations

import argparse
import sys

from tf_landslide.errors import LandslideError
from tf_landslide.startup import start_tensorflow


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The page: upload patches, look, compare, download.")
    parser.add_argument(
        "--models", action="append", default=[], metavar="DIR", help="a folder of exports or runs; repeatable"
    )
    parser.add_argument(
        "--server", action="append", default=[], metavar="URL", help="grpc://HOST:PORT/NAME, repeatable"
    )
    parser.add_argument("--max-loaded", type=int, default=4, metavar="N", help="models in memory at a time (default 4)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=7860, help="default 7860")
    arguments = parser.parse_args(argv)
    try:
        if not arguments.models and not arguments.server:
            raise LandslideError(
                "name the models: --models DIR (exports or runs), --server grpc://HOST:PORT/NAME, or both"
            )
        start_tensorflow()
        from tf_landslide.page.app import launch
        from tf_landslide.page.library import Library, find_models

        library = Library(find_models(arguments.models, arguments.server), arguments.max_loaded)
        launch(library, arguments.host, arguments.port)
    except LandslideError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
