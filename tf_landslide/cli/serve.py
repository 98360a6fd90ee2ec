"""``tf-landslide serve``."""

from __future__ import annotations

from serving.flags import add_flags
from tf_landslide.cli.parsing import Arguments, Commands, add_command
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.extras import extra

REST_PORT = 8501  # on, and where TensorFlow Serving's image has it; its binary has it off


def add(commands: Commands) -> None:
    parser = add_command(commands, "serve", run, "serve exported models: TensorFlow Serving's API, embedded")
    parser.add_argument("models", metavar="MODELS", help="a folder of models, as export writes")
    add_flags(parser, rest_api_port=REST_PORT)


def run(a: Arguments) -> None:
    for name in ("model_base_path", "model_config_file"):
        if getattr(a, name):
            raise LandslideError(f"--{name} names what to serve, and so does MODELS; use python -m serving.server")
    with extra("serve"):
        from serving.server import models_under, serve  # gRPC
        from serving.status import UsageError

        try:
            models_under(a.models)
            serve(a, a.models)
        except UsageError as error:
            raise LandslideError(str(error)) from None
