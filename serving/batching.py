"""Requests of one shape run together: one thread gathers what waits, and runs it as one batch."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.caller import Caller
from serving.status import Code, ServingError

if TYPE_CHECKING:  # TensorFlow starts with it
    from serving.servable import Servable


@dataclass(frozen=True)
class BatchingOptions:
    """TensorFlow Serving's batching parameters, with its defaults."""

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    allowed_batch_sizes: tuple[int, ...] = ()

    @classmethod
    def of(cls, parameters: Any) -> BatchingOptions:
        """The options of a ``BatchingParameters`` message.

        Raises:
            ServingError: parameters that would change answers and are not supported, or contradict each other.
        """
        for name in ("pad_variable_length_inputs", "enable_large_batch_splitting"):
            value = getattr(parameters, name)
            if getattr(value, "value", value):
                raise ServingError(Code.INVALID_ARGUMENT, f"batching parameter {name} is not supported")
        names = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
        given = {name: getattr(parameters, name).value for name in names if parameters.HasField(name)}
        for name, value in given.items():
            if value < (0 if name == "batch_timeout_micros" else 1):
                raise ServingError(Code.INVALID_ARGUMENT, f"{name} must be positive; was {value}")
        sizes = tuple(parameters.allowed_batch_sizes)
        if sizes and (list(sizes) != sorted(set(sizes)) or sizes[-1] != given.get("max_batch_size", 1000)):
            raise ServingError(
                Code.INVALID_ARGUMENT, "allowed_batch_sizes must grow, and the last must equal max_batch_size"
            )
        return cls(**given, allowed_batch_sizes=sizes)


@dataclass(eq=False)  # a task is itself, whatever its arrays hold
class _Task:
    servable: Servable
    signature: str
    inputs: dict[str, np.ndarray]
    outputs: Sequence[str]
    caller: Caller
    result: Future

    @property
    def size(self) -> int:
        return next(iter(self.inputs.values())).shape[0]

    @property
    def key(self) -> tuple:
        """Tasks of one key can be concatenated."""
        shapes = tuple((name, array.dtype.str, array.shape[1:]) for name, array in sorted(self.inputs.items()))
        return id(self.servable), self.signature, tuple(self.outputs), shapes


def can_batch(inputs: dict[str, np.ndarray], signature) -> bool:
    """Whether every input and output has an open first axis, and the inputs of this request agree on it."""
    infos = [*signature.inputs.values(), *signature.outputs.values()]
    open_first = all(i.tensor_shape.dim and i.tensor_shape.dim[0].size == -1 for i in infos)
    sizes = {array.shape[0] if array.ndim else None for array in inputs.values()}
    return open_first and len(sizes) == 1 and None not in sizes


class Batcher:
    """Gathers requests into batches."""

    def __init__(self, options: BatchingOptions):
        self.options = options
        self._queue: deque[_Task] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batch-{i}", daemon=True)
            for i in range(options.num_batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, servable, signature: str, inputs, outputs, caller: Caller) -> dict[str, np.ndarray]:
        """Run a request in a batch with others.

        Raises:
            ServingError: larger than a batch, the queue full, the caller's deadline, or what running it gave.
        """
        task = _Task(servable, signature, inputs, outputs, caller, Future())
        options = self.options
        if task.size > options.max_batch_size:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"Task size {task.size} is larger than maximum input batch size {options.max_batch_size}",
            )
        with self._changed:
            if sum(t.size for t in self._queue) + task.size > options.max_enqueued_batches * options.max_batch_size:
                raise ServingError(
                    Code.UNAVAILABLE, "The batch scheduling queue to which this task was submitted is full"
                )
            self._queue.append(task)
            self._changed.notify_all()
        try:
            return task.result.result(None if caller.deadline is None else caller.patience())
        except TimeoutError:
            raise ServingError(Code.DEADLINE_EXCEEDED, "the deadline passed before the answer came") from None

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _work(self) -> None:
        while tasks := self._gather():
            try:
                self._run(tasks)
            except BaseException as error:
                for task in tasks:
                    if not task.result.done():
                        task.result.set_exception(error)

    def _gather(self) -> list[_Task]:
        """The next batch: the oldest task and others of its key, as many as fit, after waiting for more to come."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            if not self._queue:
                return []
            first = self._queue.popleft()
            tasks, size = [first], first.size
            until = time.monotonic() + self.options.batch_timeout_micros / 1e6
            while True:
                for task in [t for t in self._queue if t.key == first.key]:
                    if size + task.size <= self.options.max_batch_size:
                        self._queue.remove(task)
                        tasks.append(task)
                        size += task.size
                left = until - time.monotonic()
                if size >= self.options.max_batch_size or left <= 0 or self._closed:
                    return tasks
                self._changed.wait(left)

    def _run(self, tasks: list[_Task]) -> None:
        for task in [task for task in tasks if not task.caller.waits()]:
            task.result.set_exception(ServingError(Code.DEADLINE_EXCEEDED, "the caller has gone"))
            tasks.remove(task)
        if not tasks:
            return
        first = tasks[0]
        inputs = {name: np.concatenate([t.inputs[name] for t in tasks]) for name in first.inputs}
        size = sum(task.size for task in tasks)
        padding = next((allowed for allowed in self.options.allowed_batch_sizes if allowed >= size), size) - size
        if padding:
            inputs = {name: np.concatenate([a, np.repeat(a[:1], padding, axis=0)]) for name, a in inputs.items()}
        results = first.servable.run(first.signature, inputs, first.outputs)
        for name, array in results.items():
            if array.ndim == 0 or array.shape[0] != size + padding:
                raise ServingError(
                    Code.FAILED_PRECONDITION,
                    f"Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the "
                    f"input tensors: {name}; serve this model without batching",
                )
        start = 0
        for task in tasks:
            task.result.set_result({name: array[start : start + task.size] for name, array in results.items()})
            start += task.size
