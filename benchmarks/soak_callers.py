"""Who asks the server and the page in a soak: one request after another, of a kind drawn by chance, each judged."""

from __future__ import annotations

import http.client
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np

ANSWERED, REFUSED, TOLD, CANCELLED, WRONG, LOST = "answered", "refused", "told invalid", "cancelled", "wrong", "lost"
OUTCOMES = (ANSWERED, REFUSED, TOLD, CANCELLED, WRONG, LOST)
TOLERANCE = 1e-5
DEADLINE = 120.0  # seconds that a caller waits; who hears nothing until then is lost
PAUSE = 0.05  # seconds that a refused caller waits before it asks again, at least; twice that at most
VALID, INVALID, CANCEL = "valid", "invalid", "cancel"
MIXED = (VALID,) * 14 + (INVALID,) * 3 + (CANCEL,) * 3
METHOD = "/tensorflow.serving.PredictionService/Predict"
Ask = Callable[[random.Random, str], str]


@dataclass(frozen=True)
class Question:
    """A request and its answer: (H, W) probabilities that the predictor gave in this process."""

    message: bytes
    body: bytes
    answer: np.ndarray


class OverGrpc:
    """A caller over a gRPC connection of its own."""

    def __init__(self, address: str, questions: Sequence[Question], invalid: Sequence[bytes]):
        options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        self._call = grpc.insecure_channel(address, options).unary_unary(METHOD)
        self._questions, self._invalid = questions, invalid

    def __call__(self, rng: random.Random, kind: str) -> str:
        from serving.protos import PredictResponse  # TensorFlow Serving's messages
        from serving.tensors import to_array

        question = rng.choice(self._questions)
        message = rng.choice(self._invalid) if kind == INVALID else question.message
        future = self._call.future(message, timeout=DEADLINE)
        if kind == CANCEL:
            time.sleep(rng.uniform(0, 0.1))
            future.cancel()
        try:
            response = PredictResponse.FromString(future.result())
        except grpc.FutureCancelledError:
            return CANCELLED
        except grpc.RpcError as error:
            return _of_code(error, kind)
        if kind == INVALID:
            return WRONG
        return _judged(to_array(response.outputs["probability"]), question.answer)


def _of_code(error: Any, kind: str) -> str:
    code, said = error.code(), error.details() or ""
    if code == grpc.StatusCode.RESOURCE_EXHAUSTED or (code == grpc.StatusCode.UNAVAILABLE and "try again" in said):
        return REFUSED
    if code == grpc.StatusCode.CANCELLED and kind == CANCEL:
        return CANCELLED
    return TOLD if code == grpc.StatusCode.INVALID_ARGUMENT and kind == INVALID else LOST


class OverRest:
    """A caller over HTTP that keeps its connection, as long as it does not break off."""

    def __init__(self, address: str, model: str, questions: Sequence[Question], invalid: Sequence[bytes]):
        self._host, self._path = address, f"/v1/models/{model}:predict"
        self._questions, self._invalid = questions, invalid
        self._connection = http.client.HTTPConnection(address, timeout=DEADLINE)

    def __call__(self, rng: random.Random, kind: str) -> str:
        question = rng.choice(self._questions)
        body = rng.choice(self._invalid) if kind == INVALID else question.body
        try:
            self._connection.request("POST", self._path, body, {"Content-Type": "application/json"})
            if kind == CANCEL:
                time.sleep(rng.uniform(0, 0.1))
                self._anew()
                return CANCELLED
            response = self._connection.getresponse()
            status, content = response.status, response.read()
        except (OSError, http.client.HTTPException):
            self._anew()
            return LOST
        if status in (429, 503):
            return REFUSED
        if status == 400 and kind == INVALID:
            return TOLD
        if status != 200:
            return LOST
        return WRONG if kind == INVALID else _judged(np.array(json.loads(content)["outputs"]), question.answer)

    def _anew(self) -> None:
        self._connection.close()
        self._connection = http.client.HTTPConnection(self._host, timeout=DEADLINE)


def _judged(found: np.ndarray, answer: np.ndarray) -> str:
    right = found.size == answer.size and bool(np.abs(found.reshape(answer.shape) - answer).max() <= TOLERANCE)
    return ANSWERED if right else WRONG


class OnPage:
    """A tab of the page: it runs, and hands its results' key back with the next run, as a browser does.

    Args:
        address: of the page.
        files: uploaded patches by name, as ``uploaded`` gives them.
        broken: a file that is no patch, uploaded too.
        model: to run.
        answers: of each patch, what ``told`` made of the first answer; filled where it is empty.
    """

    def __init__(self, address: str, files: dict[str, Any], broken: Any, model: str, answers: dict[str, Any]):
        self._api, self._model, self._answers = f"{address}/gradio_api", model, answers
        self._client, self._key = httpx.Client(timeout=DEADLINE), None
        self._files, self._broken = files, broken
        self._session = f"{random.getrandbits(60):x}"

    def __call__(self, rng: random.Random, kind: str) -> str:
        name = rng.choice(sorted(self._files))
        file = self._broken if kind == INVALID else self._files[name]
        data = {"data": [[file], [], self._model, 0.5, False, None, self._key], "session_hash": self._session}
        try:
            response = self._client.post(f"{self._api}/call/run", json=data)
            if response.status_code in (429, 503):
                return REFUSED
            response.raise_for_status()
            event, found = self._heard(response.json()["event_id"], rng.uniform(0, 0.3) if kind == CANCEL else None)
        except (httpx.HTTPError, ValueError, KeyError):
            return LOST
        return self._judged(name, kind, event, found)

    def _heard(self, event: str, leaves_after: float | None) -> tuple[str, Any]:
        """How a run ends, and with what; who leaves hangs up."""
        kind = ""
        with self._client.stream("GET", f"{self._api}/call/run/{event}") as stream:
            if leaves_after is not None:
                time.sleep(leaves_after)
                return CANCELLED, None
            for line in stream.iter_lines():
                if line.startswith("event: "):
                    kind = line[7:]
                elif line.startswith("data: ") and kind in ("complete", "error"):
                    return kind, json.loads(line[6:])
        return LOST, None

    def _judged(self, name: str, kind: str, event: str, found: Any) -> str:
        if event == CANCELLED:
            return CANCELLED
        if event == "error":
            return REFUSED if "queue is full" in str(found).lower() else LOST
        if event != "complete":
            return LOST
        if kind == INVALID:
            return TOLD if "broken" in str(found[10]) and "truncated HDF5 file" in str(found[10]) else WRONG
        self._key = found[0]
        return ANSWERED if self._answers.setdefault(name, told(found)) == told(found) else WRONG


def uploaded(address: str, path: Path) -> dict[str, Any]:
    """What a call of the page takes for a file."""
    with path.open("rb") as file:
        response = httpx.post(f"{address}/gradio_api/upload", files={"files": (path.name, file)}, timeout=DEADLINE)
    return {"path": response.json()[0], "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}


def told(found: list[Any]) -> list[Any]:
    """What an answer of the page says but for how long it took: the pictures (their names are digests), the numbers."""
    numbers = [cell for i, cell in enumerate(found[14]["data"][0]) if found[14]["headers"][i] != "seconds"]
    pictures = [picture["image"]["path"].split("/")[-2] for picture in (*found[12], *found[13])]
    return [*numbers, *pictures]


def rests(outcome: str, rng: random.Random) -> None:
    """A caller that was refused waits a little."""
    if outcome == REFUSED:
        time.sleep(PAUSE * (1 + rng.random()))
