"""TensorFlow Serving's own tests against the embedded server: ``make conformance FROM=path/to/serving``.

The tests (model_servers/tensorflow_model_server_test.py) and their models come from a checkout of
github.com/tensorflow/serving; nothing of it is in this project, and none of its assertions is touched. What Bazel would
lay out is laid out in a temporary folder, with the embedded server in the place of the binary.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import socket
import sys
import tempfile
import unittest
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
SUITE = "model_servers/tensorflow_model_server_test.py"
BASE = "tensorflow_serving.model_servers.test_util.tensorflow_model_server_test_base"
EXCEPTIONS = {
    "testPredictOnTfLite": "only SavedModels are served",
    "testPredictWithSignatureDefOnTfLite": "only SavedModels are served",
    "test_profiler_service_with_valid_trace_request": "the profiler is refused: it would tell strangers what runs",
    "test_tf_text": "its operations are TensorFlow Text's, which is not installed",
}


def free_port() -> int:
    """What ``portpicker.pick_unused_port`` gives."""
    with socket.create_server(("", 0)) as taken:
        return taken.getsockname()[1]


def prefer_keras_2() -> None:
    """Where it is installed: the tests name what Keras 2 exports, and Keras 3 names it otherwise."""
    if importlib.util.find_spec("tf_keras"):
        os.environ["TF_USE_LEGACY_KERAS"] = "1"


def lay_out(checkout: Path, folder: Path) -> None:
    """The tests' run files, with a binary that starts the embedded server."""
    place = folder / "tf_serving" / "tensorflow_serving"
    (place / "model_servers").mkdir(parents=True)
    (place / "servables").symlink_to(checkout / "tensorflow_serving" / "servables")
    binary = place / "model_servers" / "tensorflow_model_server"
    binary.write_text(f'#!/bin/sh\nexport PYTHONPATH="{ROOT}"\nexec "{sys.executable}" -m serving.server "$@"\n')
    binary.chmod(0o755)
    os.environ["TEST_SRCDIR"], os.environ["TEST_TMPDIR"] = str(folder), str(folder / "tmp")
    (folder / "tmp").mkdir()


def load(name: str, file: Path) -> ModuleType:
    """A module from a file."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_suite(checkout: Path) -> tuple[ModuleType, ModuleType]:
    """The tests, and the module that starts their servers, beside the installed ``tensorflow_serving``."""
    sys.modules["portpicker"] = ModuleType("portpicker")
    sys.modules["portpicker"].pick_unused_port = free_port  # type: ignore[attr-defined]
    import tensorflow_serving

    source = checkout / "tensorflow_serving"
    tensorflow_serving.__path__.append(str(source))
    test_util = source / "model_servers" / "test_util" / "tensorflow_model_server_test_base.py"
    return load("tensorflow_model_server_test", source / SUITE), sys.modules.get(BASE) or load(BASE, test_util)


class Result(unittest.TextTestResult):
    """Stops the servers of a test with it: a machine does not hold one for each."""

    servers: dict

    def stopTest(self, test: unittest.TestCase) -> None:
        for process, *_ in self.servers.values():
            process.kill()
            process.wait()
        self.servers.clear()
        super().stopTest(test)


def cases(suite: ModuleType, only: list[str]) -> list[unittest.TestCase]:
    """Those of the suite, but for the session test that TensorFlow's test class adds."""
    case = suite.TensorflowModelServerTest
    names = [name for name in unittest.TestLoader().getTestCaseNames(case) if name != "test_session"]
    return [case(name) for name in only or names]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="of github.com/tensorflow/serving")
    parser.add_argument("tests", nargs="*", help="names of tests; all but the exceptions without any")
    arguments = parser.parse_args()
    checkout = arguments.checkout.resolve()
    if not (checkout / "tensorflow_serving" / SUITE).is_file():
        parser.error(f"{checkout}: is no checkout of tensorflow/serving; it has no tensorflow_serving/{SUITE}")
    prefer_keras_2()
    with tempfile.TemporaryDirectory() as folder:
        lay_out(checkout, Path(folder))
        suite, base = load_suite(checkout)
        suite.tf.enable_eager_execution()
        suite.FLAGS([sys.argv[0]])
        Result.servers = base.TensorflowModelServerTestBase.model_servers_dict
        found = cases(suite, arguments.tests)
        run = [case for case in found if arguments.tests or case._testMethodName not in EXCEPTIONS]
        result = unittest.TextTestRunner(verbosity=2, resultclass=Result).run(unittest.TestSuite(run))
    failed = len(result.failures) + len(result.errors)
    print(f"{len(run) - failed} of {len(found)} cases pass.")
    for name, reason in EXCEPTIONS.items() if not arguments.tests else ():
        print(f"not run: {name} ({reason})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
