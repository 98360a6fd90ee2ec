"""``tf.Example`` messages from the JSON of TensorFlow Serving's REST API (its json_tensor.cc)."""

from __future__ import annotations

from serving.json_errors import invalid, type_name, wrong_format
from serving.json_tensors import from_base64, is_base64, to_bytes
from serving.protos import Example, Feature, Input

_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def read_examples(document: dict) -> Input:
    """The examples of a classify or regress request, and their context where there is one.

    Raises:
        ServingError: with TensorFlow Serving's text.
    """
    message = Input()
    examples = message.example_list.examples
    if "context" in document:
        with_context = message.example_list_with_context
        with_context.context.CopyFrom(_example(document["context"]))
        examples = with_context.examples
    if "examples" not in document:
        raise wrong_format(document, "When method is classify, key 'examples' is expected and was not found")
    if not isinstance(document["examples"], list):
        raise wrong_format(document, "Expecting 'examples' value to be an list/array")
    if not document["examples"]:
        raise wrong_format(document, "'examples' value is an empty array")
    for value in document["examples"]:
        examples.append(_example(value))
    return message


def _example(value) -> Example:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {type_name(value)}")
    example = Example()
    for name, content in value.items():
        feature = Feature()
        for item in content if isinstance(content, list) else [content]:
            _add(item, name, feature)
        try:
            example.features.feature[name].CopyFrom(feature)
        except ValueError:
            raise invalid(f"Feature: {name!r}: a name must be UTF-8") from None
    return example


def _add(value, name: str, feature: Feature) -> None:
    """Add a value to a feature, which takes the kind of its first."""
    if isinstance(value, bool):
        _values(feature, "int64_list", name).append(int(value))
    elif isinstance(value, str):
        _values(feature, "bytes_list", name).append(to_bytes(value))
    elif is_base64(value):
        _values(feature, "bytes_list", name).append(from_base64(value["b64"]))
    elif value is None or isinstance(value, (dict, list)):
        raise invalid(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")
    elif isinstance(value, float) or not -(2**63) <= value < 2**64:
        _values(feature, "float_list", name).append(float(value))
    elif value >= 2**63:
        _values(feature, "int64_list", name)
        raise invalid(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
    else:
        _values(feature, "int64_list", name).append(value)


def _values(feature: Feature, kind: str, name: str):
    found = feature.WhichOneof("kind")
    if found not in (None, kind):
        raise invalid(f"Unexpected element type in feature: {name} expecting type: {_KINDS[found]}")
    return getattr(feature, kind).value
