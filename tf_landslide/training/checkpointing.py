"""Gradient checkpointing (Chen et al. 2016, arXiv:1604.06174): activations computed twice rather than kept.

A training step keeps what each layer gives until its gradient is due. Here a model's layers are cut into segments: what
one hands to later ones is kept, and what lies within is computed again when its gradient is due, one segment at a time.
Gradients, batch norms' statistics and random numbers are those of an ordinary step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import inf, prod
from typing import Any

import keras
from keras import KerasTensor

from tf_landslide.models._keras_compat import takes_training, walk

_PROBE = 256  # pixels of an image's sides; all maps grow alike with them
_BUDGETS = 32  # sizes of a segment that are tried


@dataclass(frozen=True)
class Call:
    """One call of a layer: what it was called with and the tensors that it gave, all symbolic."""

    layer: Any
    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    given: list[KerasTensor]

    @property
    def taken(self) -> list[KerasTensor]:
        return [x for x in keras.tree.flatten(self.arguments) if isinstance(x, KerasTensor)]

    @property
    def size(self) -> int:
        """Bytes that it gives for one image."""
        return sum(_bytes(x) for x in self.given)


@dataclass(frozen=True)
class Segment:
    """Calls in a row, the tensors that they take from before, and those that are taken later, the soonest first."""

    calls: Sequence[Call]
    inputs: list[KerasTensor]
    outputs: list[KerasTensor]

    @property
    def state(self) -> list[Any]:
        """Variables that change without a gradient, or not at all: batch norms' statistics, seeds, what is frozen."""
        every = [v for call in self.calls for v in getattr(call.layer, "non_trainable_variables", ())]
        return list({id(v): v for v in every}.values())


def checkpoint_gradients(model: keras.Model) -> list[Segment]:
    """Have a model's training steps keep few activations; predictions, weights and files stay what they are.

    Args:
        model: functional, of one input and one output; models may be nested in it. It trains on one device: batch norm
            over several came out otherwise.

    Returns:
        the segments.
    """
    image, result, calls = _recorded(model)
    last_use = _last_use(calls, result)
    segments = list(_segments(calls, _cuts(calls, last_use), last_use))
    ordinary = model.call

    def call(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not training:
            return ordinary(inputs, training=training, mask=mask)
        values = dict(zip([id(image)], keras.tree.flatten(inputs), strict=True))
        for segment in segments:
            _advance(segment, values, twice=segment is not segments[-1])
        return values[id(result)]

    model.call = call
    return segments


def _recorded(model: keras.Model) -> tuple[KerasTensor, KerasTensor, list[Call]]:
    """The input, the output and the calls of a model for a probe, those of nested models among them."""
    calls: list[Call] = []

    def visit(layer: Any) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if isinstance(layer, keras.Model):
                return walk(layer, keras.tree.flatten(arguments), visit)
            given = layer.compute_output_spec(*arguments, **named)
            calls.append(Call(layer, (arguments, named), keras.tree.flatten(given)))
            return given

        return call

    image = KerasTensor((1, _PROBE, _PROBE, model.input_shape[-1]))
    return image, keras.tree.flatten(walk(model, [image], visit))[0], calls


def _cuts(calls: Sequence[Call], last_use: dict[int, int]) -> list[int]:
    """Between which calls to cut (0 and the number of calls among them) so that least is in memory at once.

    That is what segments hand on, and all that is within the largest of them: for each of some sizes of a segment, the
    cheapest cuts that keep to it are found by dynamic programming.
    """
    total = list(accumulate((call.size for call in calls), initial=0))
    ends = [(last_use[id(x)], _bytes(x)) for call in calls for x in call.given]
    made = list(accumulate((len(call.given) for call in calls), initial=0))
    places = _narrow_places(calls, last_use)

    def handed_on(start: int, end: int) -> int:
        return sum(size for until, size in ends[made[start] : made[end]] if until >= end)

    costs = {(a, b): handed_on(a, b) for i, a in enumerate(places) for b in places[i + 1 :]}
    best: tuple[float, list[int]] = (inf, [0, len(calls)])
    for step in range(1, _BUDGETS + 1):
        budget = total[-1] * step / _BUDGETS
        cheapest: dict[int, tuple[float, list[int]]] = {0: (0, [0])}
        for i, end in enumerate(places[1:], 1):
            found = [
                (cheapest[start][0] + costs[start, end], [*cheapest[start][1], end])
                for start in places[:i]
                if start in cheapest and total[end] - total[start] <= budget
            ]
            if found:
                cheapest[end] = min(found)
        if len(calls) in cheapest:
            kept, cuts = cheapest[len(calls)]
            best = min(best, (kept + max(total[b] - total[a] for a, b in pairwise(cuts)), cuts))
    return best[1]


def _last_use(calls: Sequence[Call], result: KerasTensor) -> dict[int, int]:
    """The last call that takes each tensor, by identity; beyond all calls for the result."""
    last = {id(x): number for number, call in enumerate(calls) for x in (*call.given, *call.taken)}
    return last | {id(result): len(calls)}


def _narrow_places(calls: Sequence[Call], last_use: dict[int, int]) -> list[int]:
    """Places between calls, and both ends, where less is alive than a call later and no more than a call before."""
    alive, now = [], 0
    ending: Counter[int] = Counter()
    for number, call in enumerate(calls):
        for x in call.given:
            ending[last_use[id(x)]] += _bytes(x)
        now += call.size - ending[number]
        alive.append(now)
    inner = range(1, len(alive) - 1)
    return [0, *(i + 1 for i in inner if alive[i - 1] >= alive[i] < alive[i + 1]), len(calls)]


def _segments(calls: Sequence[Call], cuts: Sequence[int], last_use: dict[int, int]) -> Iterator[Segment]:
    """The calls between cuts, with what crosses them."""
    for start, end in pairwise(cuts):
        within = calls[start:end]
        own = {id(x): x for call in within for x in call.given}
        taken = {id(x): x for call in within for x in call.taken if id(x) not in own}
        next_use = {id(x): -i for i, call in enumerate(reversed(calls[end:])) for x in call.taken}
        crossing = [x for name, x in own.items() if last_use[name] >= end]
        yield Segment(within, list(taken.values()), sorted(crossing, key=lambda x: next_use.get(id(x), 1)))


def _advance(segment: Segment, values: dict[int, Any], twice: bool) -> None:
    """Compute what a segment hands on, from and into the values of tensors by identity; and its variables' new values.

    The second time finds those variables as the first time did, so that dropout leaves out the same.
    """
    before = [(variable, keras.ops.copy(variable)) for variable in segment.state]
    changed: list[Any] = []

    def compute(*inputs: Any) -> list[Any]:
        inner = dict(zip(map(id, segment.inputs), inputs, strict=True))
        with keras.StatelessScope(before) as scope:
            for call in segment.calls:
                arguments, named = keras.tree.map_structure(lambda x: inner.get(id(x), x), call.arguments)
                named |= {"training": True} if takes_training(call.layer) else {}
                given = keras.tree.flatten(call.layer(*arguments, **named))
                inner.update(zip(map(id, call.given), given, strict=True))
        after = [(variable, scope.get_current_value(variable), value) for variable, value in before]
        changed[:] = [variable for variable, new, old in after if new is not old]
        new = [keras.ops.stop_gradient(new) for _, new, old in after if new is not old]
        return [inner[id(x)] for x in segment.outputs] + new

    given = (keras.remat(compute) if twice else compute)(*(values[id(x)] for x in segment.inputs))
    values.update(zip(map(id, segment.outputs), given, strict=False))
    for variable, value in zip(changed, given[len(segment.outputs) :], strict=True):
        variable.assign(value)


def _bytes(x: KerasTensor) -> int:
    return prod(x.shape) * (2 if x.dtype in ("float16", "bfloat16") else 4)
