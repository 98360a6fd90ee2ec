"""What computes for a predictor, a file each: a live Keras model, a SavedModel, OpenVINO, a server.

``tf_landslide.predict.predictor.Backend`` says what one must give.
"""

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it would tell OpenVINO's maker of our use
