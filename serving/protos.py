"""The official messages and stubs of TensorFlow Serving's API, without TensorFlow's start-up.

``tensorflow_serving.apis`` imports messages of TensorFlow, and with the first of them all of TensorFlow: seconds and
hundreds of megabytes that a client does not need. Unless TensorFlow is imported already, its packages are replaced
while the messages are imported by empty ones that know only their folder, and forgotten afterwards; a later
``import tensorflow`` is a real one and shares the messages.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

_PACKAGES = ("", ".core", ".core.example", ".core.framework", ".core.protobuf")


@contextmanager
def _without_tensorflow() -> Iterator[None]:
    if "tensorflow" in sys.modules:
        yield
        return
    found = importlib.util.find_spec("tensorflow")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")
    root = Path(found.origin).parent
    for suffix in _PACKAGES:
        module = ModuleType(f"tensorflow{suffix}")
        module.__path__ = [str(root.joinpath(*suffix.split(".")))]
        sys.modules[module.__name__] = module
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "tensorflow"]:
            del sys.modules[name]


with _without_tensorflow():
    from tensorflow.core.example.example_pb2 import Example
    from tensorflow.core.example.feature_pb2 import Feature
    from tensorflow.core.framework.tensor_pb2 import TensorProto
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
    from tensorflow_serving.apis import (
        classification_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        inference_pb2,
        model_management_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_log_pb2,
        prediction_service_pb2_grpc,
        regression_pb2,
    )
    from tensorflow_serving.apis.input_pb2 import Input
    from tensorflow_serving.apis.model_pb2 import ModelSpec
    from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

ClassificationRequest = classification_pb2.ClassificationRequest
ClassificationResponse = classification_pb2.ClassificationResponse
ClassificationResult = classification_pb2.ClassificationResult
InferenceTask = inference_pb2.InferenceTask
MultiInferenceRequest = inference_pb2.MultiInferenceRequest
MultiInferenceResponse = inference_pb2.MultiInferenceResponse
RegressionRequest = regression_pb2.RegressionRequest
RegressionResponse = regression_pb2.RegressionResponse
RegressionResult = regression_pb2.RegressionResult
GetModelMetadataRequest = get_model_metadata_pb2.GetModelMetadataRequest
GetModelMetadataResponse = get_model_metadata_pb2.GetModelMetadataResponse
SignatureDefMap = get_model_metadata_pb2.SignatureDefMap
GetModelStatusRequest = get_model_status_pb2.GetModelStatusRequest
GetModelStatusResponse = get_model_status_pb2.GetModelStatusResponse
ModelVersionStatus = get_model_status_pb2.ModelVersionStatus
PredictRequest = predict_pb2.PredictRequest
PredictResponse = predict_pb2.PredictResponse
PredictionLog = prediction_log_pb2.PredictionLog
ReloadConfigRequest = model_management_pb2.ReloadConfigRequest
ReloadConfigResponse = model_management_pb2.ReloadConfigResponse

__all__ = [
    "ClassificationRequest",
    "ClassificationResponse",
    "ClassificationResult",
    "Example",
    "Feature",
    "GetModelMetadataRequest",
    "GetModelMetadataResponse",
    "GetModelStatusRequest",
    "GetModelStatusResponse",
    "InferenceTask",
    "Input",
    "ModelConfig",
    "ModelServerConfig",
    "ModelSpec",
    "ModelVersionStatus",
    "MultiInferenceRequest",
    "MultiInferenceResponse",
    "PredictRequest",
    "PredictResponse",
    "PredictionLog",
    "RegressionRequest",
    "RegressionResponse",
    "RegressionResult",
    "ReloadConfigRequest",
    "ReloadConfigResponse",
    "SavedModel",
    "SignatureDef",
    "SignatureDefMap",
    "TensorInfo",
    "TensorProto",
    "model_service_pb2_grpc",
    "prediction_service_pb2_grpc",
]
