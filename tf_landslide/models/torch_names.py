"""Which tensor of a PyTorch state dict is which of a model's weights.

Layers of the paper's networks are named as the modules there, so a name is a prefix, the layer's and the tensor's own
(``encoder.`` + ``layer1.0.conv1`` + ``.weight``). What is laid out otherwise is turned: a convolution's kernel is
(out, in, H, W) there and (H, W, in, out) here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import ml_dtypes
import numpy as np

from tf_landslide.core.errors import LandslideError
from tf_landslide.models.encoders.mix_transformer import EfficientAttention
from tf_landslide.models.layers.conv import AtrousDepthwiseConv2D, GroupedConv2D
from tf_landslide.models.layers.norm import ChannelNormalization
from tf_landslide.models.segformer_names import as_published

Turn = Callable[[np.ndarray], np.ndarray]
COUNTER = "num_batches_tracked"  # of every batch norm there; nothing is computed from it with a momentum


@dataclass(frozen=True)
class Naming:
    """How the modules of an architecture are called.

    Attributes:
        encoder: prefix of the encoder's modules.
        head: the module that gives the logits.
        attention: tensors of an attention, by ours: query, key, value, projection, reduce and norm; or ``kv`` for both.
    """

    encoder: str
    head: str
    attention: Mapping[str, str]


_SMP_ATTENTION = {"query": "q", "kv": "kv", "projection": "proj", "reduce": "sr", "norm": "norm"}
_HF_ATTENTION = {
    "query": "self.query",
    "key": "self.key",
    "value": "self.value",
    "projection": "output.dense",
    "reduce": "self.sr",
    "norm": "self.layer_norm",
}
NAMINGS = {
    "smp_unet": Naming("encoder.", "segmentation_head.0", _SMP_ATTENTION),
    "smp_deeplabv3plus": Naming("encoder.", "segmentation_head.0", _SMP_ATTENTION),
    "hf_segformer": Naming("segformer.encoder.", "decode_head.classifier", _HF_ATTENTION),
}
"""By architecture."""

SEE = "see --channels and --model"
ONE_CLASS = "only networks of one class are taken (classes=1)"

UNUSED = {
    "smp_efficientnet": ("encoder._conv_head.", "encoder._bn1."),
}
"""Prefixes of tensors that smp's networks hold and never compute with, by the beginning of an encoder's name."""


@dataclass(frozen=True)
class Counterpart:
    """A tensor of a state dict and the weights that it is.

    Attributes:
        name: of the tensor.
        variables: of the model; several stand one after the other along the tensor's first axis.
        to_torch, to_keras: how an array is laid out on either side.
    """

    name: str
    variables: tuple[keras.Variable, ...]
    to_torch: Turn = field(default=lambda array: array)
    to_keras: Turn = field(default=lambda array: array)

    def read(self) -> np.ndarray:
        """The tensor, from the model."""
        return np.concatenate([self.to_torch(np.asarray(variable)) for variable in self.variables])

    @property
    def shape(self) -> tuple[int, ...]:
        return self.read().shape

    def write(self, tensor: np.ndarray) -> None:
        """Set the model's weights from the tensor."""
        for variable, part in zip(self.variables, np.split(tensor, len(self.variables)), strict=True):
            variable.assign(self.to_keras(part))


def _kernel(name: str, *variables: keras.Variable) -> Counterpart:
    return Counterpart(name, variables, lambda a: a.transpose(3, 2, 0, 1), lambda a: a.transpose(2, 3, 1, 0))


def _depthwise(name: str, variable: keras.Variable) -> Counterpart:
    return Counterpart(name, (variable,), lambda a: a.transpose(2, 3, 0, 1), lambda a: a.transpose(2, 3, 0, 1))


def _matrix(name: str, *variables: keras.Variable) -> Counterpart:
    return Counterpart(name, variables, np.transpose, np.transpose)


def _plain(name: str, *variables: keras.Variable) -> Counterpart:
    return Counterpart(name, variables)


def counterparts(model: keras.Model, architecture: str) -> Iterator[Counterpart]:
    """Every weight of a model by its name in PyTorch, but for the normalisation of its inputs.

    Args:
        model: of ``build_model``.
        architecture: a key of ``NAMINGS``.

    Raises:
        LandslideError: an architecture that has no counterpart there.
    """
    if architecture not in NAMINGS:
        raise LandslideError(
            f"architecture {architecture!r} has no counterpart in PyTorch; those that have: {', '.join(NAMINGS)}"
        )
    naming = NAMINGS[architecture]
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            for inner in layer.layers:
                yield from _of_layer(inner, naming.encoder + inner.name, naming)
        elif not isinstance(layer, ChannelNormalization):
            yield from _of_layer(layer, naming.head if layer.name == "logits" else layer.name, naming)


def _of_layer(layer: keras.layers.Layer, name: str, naming: Naming) -> Iterator[Counterpart]:
    """The counterparts of a layer's weights."""
    match layer:
        case EfficientAttention():
            yield from _of_attention(layer, name, naming.attention)
        case keras.layers.BatchNormalization():
            yield _plain(f"{name}.weight", layer.gamma)
            yield _plain(f"{name}.bias", layer.beta)
            yield _plain(f"{name}.running_mean", layer.moving_mean)
            yield _plain(f"{name}.running_var", layer.moving_variance)
        case keras.layers.LayerNormalization():
            yield _plain(f"{name}.weight", layer.gamma)
            yield _plain(f"{name}.bias", layer.beta)
        case keras.layers.DepthwiseConv2D() | AtrousDepthwiseConv2D():
            yield _depthwise(f"{name}.weight", layer.kernel)
            if getattr(layer, "bias", None) is not None:
                yield _plain(f"{name}.bias", layer.bias)
        case keras.layers.Conv2D() | GroupedConv2D():
            yield _kernel(f"{name}.weight", layer.kernel)
            if layer.use_bias:
                yield _plain(f"{name}.bias", layer.bias)
        case keras.layers.Dense():
            yield _matrix(f"{name}.weight", layer.kernel)
            yield _plain(f"{name}.bias", layer.bias)
        case _:
            assert not layer.weights, f"{name}: {type(layer).__name__} has no counterpart"


def _of_attention(layer: EfficientAttention, name: str, names: Mapping[str, str]) -> Iterator[Counterpart]:
    for ours, theirs in names.items():
        if ours in ("reduce", "norm") and layer.reduction == 1:
            continue
        parts: list[Any] = [layer.key, layer.value] if ours == "kv" else [getattr(layer, ours)]
        if ours == "norm":
            yield _plain(f"{name}.{theirs}.weight", parts[0].gamma)
            yield _plain(f"{name}.{theirs}.bias", parts[0].beta)
            continue
        turned = _kernel if ours == "reduce" else _matrix
        yield turned(f"{name}.{theirs}.weight", *(part.kernel for part in parts))
        yield _plain(f"{name}.{theirs}.bias", *(part.bias for part in parts))


def load_state_dict(
    model: keras.Model, architecture: str, tensors: Mapping[str, np.ndarray], where: str, prefix: str | None = None
) -> list[str]:
    """Set a model's weights from a state dict.

    Args:
        model: of ``build_model``.
        architecture: of it.
        tensors: by name; all may share a prefix (``model.``), and what does not share it is no part of the network.
        where: they come from, for errors.
        prefix: of the network's tensors, where several networks have one each (``ema_model.module.``).

    Returns:
        names of tensors that the network does not compute with.

    Raises:
        LandslideError: a tensor that is missing, too many, or of another shape.
    """
    wanted = {one.name: one for one in counterparts(model, architecture)}
    if architecture == "hf_segformer":
        tensors = {as_published(name): tensor for name, tensor in tensors.items()}
    prefix = _prefix(tensors, wanted, where, prefix)
    inside = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    outside = [name for name in tensors if not name.startswith(prefix)]
    unused = tuple(prefix for start, few in UNUSED.items() if _has_encoder(model, start) for prefix in few)
    idle = [name for name in inside if name.endswith(f".{COUNTER}") or name.startswith(unused)]
    _refuse("lacks", sorted(set(wanted) - set(inside)), where, "of the network")
    _refuse("holds", sorted(set(inside) - set(wanted) - set(idle)), where, "that the network does not have")
    for name, one in wanted.items():
        if inside[name].shape != one.shape:
            raise LandslideError(
                f"{where}: tensor {name!r} is {inside[name].shape}, the network takes {one.shape}; "
                + (ONE_CLASS if _of_several_classes(name, inside[name], architecture) else SEE)
            )
        _require_weights(inside[name], f"{where}: tensor {name!r}", least=0 if name.endswith(".running_var") else None)
    for name, one in wanted.items():
        one.write(_single(inside[name]))
    return outside + [name for name in idle if not name.endswith(f".{COUNTER}")]


def _of_several_classes(name: str, tensor: np.ndarray, architecture: str) -> bool:
    return name.startswith(NAMINGS[architecture].head) and tensor.ndim > 0 and len(tensor) > 1


def _require_weights(tensor: np.ndarray, what: str, least: float | None) -> None:
    """Refuse what no float network has: whole numbers of a quantised one, what is infinite, a variance below 0."""
    if not (np.issubdtype(tensor.dtype, np.floating) or tensor.dtype == ml_dtypes.bfloat16):
        raise LandslideError(f"{what} is {tensor.dtype}, expected floating point, as before quantising")
    values = _single(tensor)
    if not np.isfinite(values).all():
        raise LandslideError(f"{what} holds values that are no finite numbers")
    if least is not None and (values < least).any():
        raise LandslideError(f"{what} holds values below {least:g}, which no variance has; fetch or save it again")


def _single(tensor: np.ndarray) -> np.ndarray:
    """A tensor in single precision; what that cannot hold is infinite."""
    with np.errstate(over="ignore"):
        return tensor.astype(np.float32)


def _has_encoder(model: keras.Model, start: str) -> bool:
    return any(layer.name.startswith(start) for layer in model.layers)


def _prefix(tensors: Mapping[str, np.ndarray], wanted: Mapping[str, Counterpart], where: str, given: str | None) -> str:
    """What stands before the names of the network's tensors."""
    probe = list(wanted)[-1]
    found = [name.removesuffix(probe) for name in tensors if name == probe or name.endswith(f".{probe}")]
    if not found:
        raise LandslideError(f"{where}: no tensor called {probe!r}; is it of another network?")
    known = ", ".join(repr(prefix[:80]) for prefix in found[:4])
    if given is not None and given not in found:
        raise LandslideError(f"{where}: holds no network behind {given!r}, but behind {known}")
    if given is None and len(found) > 1:
        raise LandslideError(f"{where}: holds {len(found)} networks, behind {known}; choose one with --prefix")
    return found[0] if given is None else given


def _refuse(verb: str, names: list[str], where: str, what: str) -> None:
    if names:
        more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
        shown = ", ".join(name[:80] for name in names[:3])
        raise LandslideError(f"{where}: {verb} tensors {what}: {shown}{more}; is it of another network?")


def state_dict_of(model: keras.Model, architecture: str) -> dict[str, np.ndarray]:
    """A model's weights as a PyTorch state dict, float32, with the tensors that its network holds and never uses."""
    tensors = {}
    for one in counterparts(model, architecture):
        tensors[one.name] = np.ascontiguousarray(one.read())
        if one.name.endswith(".running_var"):
            tensors[one.name.replace("running_var", COUNTER)] = np.zeros((), np.int64)
    return tensors | _unused_tensors(model, tensors)


def _unused_tensors(model: keras.Model, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """EfficientNet's layers behind its last stage: smp keeps them without calling them."""
    if not _has_encoder(model, "smp_efficientnet"):
        return {}
    last = max((n for n in tensors if n.endswith("._project_conv.weight")), key=lambda n: int(n.split(".")[2]))
    width, filters = tensors[last].shape[0], 4 * tensors[last].shape[0]
    return {
        "encoder._conv_head.weight": np.zeros((filters, width, 1, 1), np.float32),
        "encoder._bn1.weight": np.ones(filters, np.float32),
        "encoder._bn1.bias": np.zeros(filters, np.float32),
        "encoder._bn1.running_mean": np.zeros(filters, np.float32),
        "encoder._bn1.running_var": np.ones(filters, np.float32),
        f"encoder._bn1.{COUNTER}": np.zeros((), np.int64),
    }
