"""An exported model's graph, written as OpenVINO computes it fastest: the same algebra, in fewer steps.

OpenVINO folds batch norms into convolutions and moves transposes away by itself. What it does not see:

* Keras repeats rows, then columns, to upsample by nearest neighbours: two copies of every map and two transposes.
* A 3 x 3 convolution of maps upsampled by two is a 4 x 4 transposed one of the maps themselves, with four ninths of the
  multiplications: pixels that are copies of one another are multiplied once, by the sum of their weights. Zeros around
  the one are zeros around the other, so that borders are equal too.
* Finite is what is less than infinity; that comparison is computed together with the normalisation around it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import openvino
from openvino import frontend
from openvino import opset13 as ops

from tf_landslide.runs.formats import GRAPH

_NHWC, _NCHW = [0, 1, 2, 3], [0, 2, 3, 1]  # which axis of a map is each of (N, H, W, C)
_FAILURES = (
    frontend.GeneralFailure,
    frontend.InitializationFailure,
    frontend.NotImplementedFailure,
    frontend.OpConversionFailure,
    frontend.OpValidationFailure,
)
_MOVING = (  # values as they are, which NNCF takes ranges through
    *("Concat", "Pad", "MaxPool", "Reshape", "Split", "VariadicSplit", "StridedSlice"),
    *(
        "BatchToSpace",
        "SpaceToBatch",
        "DepthToSpace",
        "SpaceToDepth",
        "Squeeze",
        "Unsqueeze",
        "Tile",
        "Broadcast",
        "Gather",
    ),
)
_INFINITY = np.array(np.inf, np.float32)
_NEAREST = {
    "mode": "nearest",
    "shape_calculation_mode": "scales",
    "coordinate_transformation_mode": "asymmetric",
    "nearest_mode": "floor",
}


def read_saved_model(path: Path) -> openvino.Model:
    """The graph of an exported SavedModel, batch norms folded and rewritten.

    Raises:
        RuntimeError: what OpenVINO cannot read.
    """
    try:
        model = openvino.convert_model(path)
    except _FAILURES as error:  # no kinds of RuntimeError, as all others of OpenVINO's are
        raise RuntimeError(str(error)) from None
    _upsample_by_interpolation(model)
    _convolve_before_upsampling(model)
    _compare_to_infinity(model)
    model.validate_nodes_and_infer_types()
    return model


def write_graph(model: openvino.Model, folder: Path) -> None:
    """Write a graph with its weights as they are, to be read by OpenVINO."""
    openvino.save_model(model, folder / GRAPH, compress_to_fp16=False)


def normalisation_of(model: openvino.Model) -> list[str]:
    """Names of the operations between the input and where missing values are replaced: what takes physical units."""
    found: dict[str, None] = {}
    waiting = [model.inputs[0]]
    while waiting:
        for given in waiting.pop().get_target_inputs():
            node = given.get_node()
            if node.get_friendly_name() not in found and node.get_type_name() not in ("Convolution", "Pad", "Result"):
                found[node.get_friendly_name()] = None
                if node.get_type_name() != "Select":
                    waiting += node.outputs()
    return list(found)


def transposes_before_depthwise(model: openvino.Model) -> list[str]:
    """Names of the transposes that depthwise convolutions take maps from with nothing computed in between.

    Axis 1 is that of the channels behind them alone; before, it may be that of the rows.
    """
    found: dict[str, bool] = {}
    waiting = [_given(node) for node in model.get_ops() if _kind(node) == "GroupConvolution"]
    while waiting:
        node = waiting.pop().get_node()
        name = node.get_friendly_name()
        if name not in found:
            found[name] = _kind(node) == "Transpose"
            if _kind(node) in _MOVING:
                waiting += [value.get_source_output() for value in node.inputs()]
    return [name for name, is_transpose in found.items() if is_transpose]


def _kind(node: Any) -> str:
    return node.get_type_name()


def _given(node: Any, position: int = 0) -> Any:
    """The output that an operation takes."""
    return node.input(position).get_source_output()


def _constant(output: Any) -> np.ndarray | None:
    node = output.get_node()
    return node.get_data() if _kind(node) == "Constant" else None


def _order(transpose: Any) -> list[int]:
    """The order that a transpose brings axes into; empty where that is computed."""
    found = _constant(_given(transpose, 1))
    return [] if found is None else [int(axis) for axis in found]


class _Repeat(NamedTuple):
    """``repeat`` along an axis of (N, H, W, C), of a source whose axes may come in another order."""

    source: Any
    order: list[int]
    axis: int
    times: int


def _repeat(reshape: Any) -> _Repeat | None:
    """What Keras's ``repeat`` became: a new axis, tiled, perhaps transposed, and reshaped away."""
    if _kind(reshape) != "Reshape":
        return None
    tile, order = _given(reshape).get_node(), list(range(5))
    if _kind(tile) == "Transpose":
        order, tile = _order(tile), _given(tile).get_node()
    if _kind(tile) != "Tile" or _kind(_given(tile).get_node()) != "Unsqueeze":
        return None
    unsqueeze = _given(tile).get_node()
    repeats, new = _constant(_given(tile, 1)), _constant(_given(unsqueeze, 1))
    if repeats is None or new is None or len(repeats) != 5 or new.size != 1:
        return None
    axis = int(new.item())
    times = int(repeats[axis])
    if times < 2 or np.prod(repeats) != times or sorted(order) != list(range(5)) or not 0 < order.index(axis) < 4:
        return None
    before = [which - (which > axis) for which in order if which != axis]
    return _Repeat(_given(unsqueeze), before, order.index(axis) - 1, times)


def _upsample_by_interpolation(model: openvino.Model) -> None:
    """Rows repeated, then columns as often, as one interpolation by nearest neighbours."""
    for node in model.get_ordered_ops():
        columns = _repeat(node)
        rows = _repeat(columns.source.get_node()) if columns and columns.order == _NHWC else None
        if not columns or not rows or (rows.axis, columns.axis, rows.times) != (1, 2, columns.times):
            continue
        if rows.order not in (_NHWC, _NCHW):
            continue
        source = rows.source if rows.order == _NCHW else ops.transpose(rows.source, [0, 3, 1, 2]).output(0)
        times = np.array([rows.times] * 2, np.float32)
        larger = ops.interpolate(source, times, axes=np.array([2, 3]), **_NEAREST)
        node.output(0).replace(ops.transpose(larger, _NCHW).output(0))


def _doubled(output: Any) -> Any | None:
    """The maps (N, C, H, W) that an output is twice the size of, by nearest neighbours; None where it is no such."""
    node = output.get_node()
    if _kind(node) == "Transpose" and _order(node) == [0, 3, 1, 2]:
        before = _given(node).get_node()
        if _kind(before) == "Transpose" and _order(before) == _NCHW:  # there and back
            node = _given(before).get_node()
    if _kind(node) != "Interpolate" or not _NEAREST.items() <= node.get_attributes().items():
        return None
    scales, axes = (_constant(_given(node, i)) for i in (1, 2))
    doubled = scales is not None and axes is not None and ([*scales], [*axes]) == ([2, 2], [2, 3])
    return _given(node) if doubled else None


def _convolve_before_upsampling(model: openvino.Model) -> None:
    """3 x 3 convolutions of doubled maps, other maps behind them or not, as transposed ones of the maps."""
    for node in model.get_ordered_ops():
        weights = _constant(_given(node, 1)) if _kind(node) == "Convolution" else None
        if weights is None or weights.shape[2:] != (3, 3) or not _is_plain(node):
            continue
        joined = _given(node).get_node()
        channels_joined = _kind(joined) == "Concat" and joined.get_attributes()["axis"] in (1, -3)
        parts = [_given(joined, i) for i in range(joined.get_input_size())] if channels_joined else []
        first = parts[0] if len(parts) == 2 else _given(node)
        small = _doubled(first)
        channels = first.get_partial_shape()[1]
        if small is None or not channels.is_static:
            continue
        own, others = np.split(weights, [channels.get_length()], axis=1)
        result = ops.convolution_backprop_data(
            small, ops.constant(_for_doubled(own)), [2, 2], pads_begin=[1, 1], pads_end=[1, 1], dilations=[1, 1]
        )
        if len(parts) == 2:
            kernel = ops.constant(np.ascontiguousarray(others))
            result = ops.add(ops.convolution(parts[1], kernel, [1, 1], [1, 1], [1, 1], [1, 1]), result)
        result.set_friendly_name(node.get_friendly_name())
        node.output(0).replace(result.output(0))


def _is_plain(convolution: Any) -> bool:
    """Whether it keeps the size: stride and dilation 1, a pixel of zeros around."""
    said = convolution.get_attributes()
    same = said["auto_pad"].lower() in ("same_upper", "same_lower")
    padded = list(said["pads_begin"]) == list(said["pads_end"]) == [1, 1]
    return list(said["strides"]) == list(said["dilations"]) == [1, 1] and (same or padded)


def _for_doubled(weights: np.ndarray) -> np.ndarray:
    """Weights (O, C, 3, 3) of doubled maps as those (C, O, 4, 4) of a transposed convolution of the maps, stride 2.

    Pixel ``2 i + a`` of the doubled maps is pixel ``i``, and goes by weight ``d`` to pixel ``2 i + a + 1 - d``: by
    weight ``a + 2 - d`` of the transposed convolution, which pads one pixel.
    """
    kernel = np.zeros((weights.shape[1], weights.shape[0], 4, 4))
    for a, b in np.ndindex(2, 2):
        kernel[:, :, a : a + 3, b : b + 3] += weights.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
    return kernel.astype(np.float32)


def _compare_to_infinity(model: openvino.Model) -> None:
    for node in model.get_ordered_ops():
        if _kind(node) == "IsFinite":
            finite = ops.less(ops.abs(_given(node)), ops.constant(_INFINITY))
            node.output(0).replace(finite.output(0))
