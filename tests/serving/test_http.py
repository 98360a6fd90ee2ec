"""The REST API as HTTP: framing, sizes, times, connections, who may call, and how it ends."""

import contextlib
import gzip
import http.client
import io
import json
import shutil
import socket
import struct
import threading
import time

import numpy as np
import pytest

from serving import bodies, listener, parsing, rest
from serving.api import Api
from serving.hosts import Hosts
from serving.protos import ModelSpec
from serving.status import ServingError
from tests.serving.conftest import running
from tests.serving.test_malformed import resident

pytestmark = pytest.mark.slow

PREDICT = "/v1/models/every:predict"
BODY = json.dumps({"inputs": {"a": [[1, 2]], "b": [[3, 4]]}}).encode()
SUMS = {"outputs": {"sum": [[4, 6]], "difference": [[-2, -2]], "label_bytes": [{"b64": "/wA="}]}}


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def head(*lines, first=f"POST {PREDICT} HTTP/1.1", host="localhost"):
    return "\r\n".join([first, *([] if host is None else [f"Host: {host}"]), *lines, "", ""]).encode()


def read(connection):
    """The next answer, and nothing of what follows it: status, headers, and body."""
    text, body = b"", b""
    while not text.endswith(b"\r\n\r\n"):
        text += _some(connection, 1)
    first, _, lines = text.partition(b"\r\n")
    headers = http.client.parse_headers(io.BytesIO(lines))
    while left := int(headers["Content-Length"]) - len(body):
        body += _some(connection, left)
    return int(first.split()[1]), headers, body


def _some(connection, most):
    if found := connection.recv(most):
        return found
    raise ConnectionError("the answer ends too early")


def said(connection):
    """The status and the one line of a refusal."""
    status, _, body = read(connection)
    return status, json.loads(body)["error"]


def is_closed(connection):
    with contextlib.suppress(ConnectionResetError):
        return connection.recv(1) == b""
    return True


def ask(port, *lines, body=b"", **options):
    with connect(port) as connection:
        connection.sendall(head(*lines, **options) + body)
        return said(connection)


def of_length(body=BODY, *lines):
    return head(f"Content-Length: {len(body)}", *lines) + body


@pytest.fixture
def port(server):
    return server.rest_port


@pytest.fixture
def busy(monkeypatch):
    """Predictions wait until told to go on; gives how many have begun."""
    go, begun, original = threading.Event(), [], Api.predict_arrays

    def wait(self, *arguments, **named):
        begun.append(1)
        assert go.wait(30)
        return original(self, *arguments, **named)

    monkeypatch.setattr(Api, "predict_arrays", wait)
    yield go, begun
    go.set()


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# ---- framing (RFC 9112)

HIDDEN = b"GET /v1/models/tiny HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = "Transfer-Encoding: chunked"
HEX, TEN = f"{len(BODY):x}", str(len(BODY))  # each has two digits
FRAMES = {
    **{
        f"chunk of {size}": head(CHUNKED) + size.encode() + b"\r\n" + BODY + b"\r\n0\r\n\r\n"
        for size in ("-1", f"-{HEX}", f"+{HEX}", f"0x{HEX}", f"{HEX[0]}_{HEX[1]}", f" {HEX}", "", "g", "1" * 21)
    },
    **{
        f"length {size}": head(f"Content-Length: {size}") + BODY
        for size in ("-1", f"+{TEN}", f"0x{HEX}", f"{TEN[0]}_{TEN[1]}", f"{TEN}.0", "", "two", "9" * 5000)
    },
    "another coding": head("Transfer-Encoding: xchunked") + b"0\r\n\r\n",
    "two codings": head("Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "a length and a coding": head("Content-Length: 5", CHUNKED) + b"0\r\n\r\n",
    "a coding and a length": head(CHUNKED, "Content-Length: 5") + b"0\r\n\r\n",
    "two lengths": head("Content-Length: 0", f"Content-Length: {len(HIDDEN)}"),
    "two lengths in one": head(f"Content-Length: 0, {len(HIDDEN)}"),
    "a coding in HTTP/1.0": head(CHUNKED, first=f"POST {PREDICT} HTTP/1.0") + b"0\r\n\r\n",
    "a chunk longer than said": head(CHUNKED) + b"2\r\n{} \r\n0\r\n\r\n",
    "a space before the colon": head("Content-Length : 0"),
    "two hosts": head("Host: localhost", "Content-Length: 0"),
    "no host": head("Content-Length: 0", host=None),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_framing_that_two_readers_could_take_differently_is_refused_and_the_connection_closed(port, kind):
    with connect(port) as connection:
        connection.sendall(FRAMES[kind] + HIDDEN)
        status, error = said(connection)
        assert status == 400 and error and is_closed(connection)


def test_the_same_length_said_twice_is_one_length(port):
    for lines in ([f"Content-Length: {TEN}"] * 2, [f"Content-Length: {TEN}, {TEN}"]):  # RFC 9112, 6.3
        with connect(port) as connection:
            connection.sendall(head(*lines) + BODY + HIDDEN)
            assert [read(connection)[0] for _ in range(2)] == [200, 200]


def test_other_requests_that_cannot_be_read(port):
    for first, status in (("GET /v1/models/tiny HTTP/2.0", 505), ("NONSENSE", 400), ("GET /é HTTP/1.1", 400)):
        with connect(port) as connection:
            connection.sendall(head(first=first))
            assert said(connection)[0] == status and is_closed(connection)
    with connect(port) as connection:
        connection.sendall(head("X: " + "x" * 2**17, first="GET /v1/models/tiny HTTP/1.1")[: 2**17])
        assert said(connection)[0] == 431


def test_a_version_of_thousands_of_digits_is_an_ordinary_mistake(port):
    for digits in ("9" * 5000, "9" * 19, "0" * 5000 + "7"):
        status, error = ask(port, first=f"GET /v1/models/tiny/versions/{digits} HTTP/1.1")
        assert status == (404 if digits.endswith("7") else 400) and len(error) < 200


# ---- methods, paths, and how long a connection lives


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_malformed_requests(port, method):
    status, error = ask(port, first=f"{method} /v1/models/tiny HTTP/1.1")
    assert (status, error) == (400, f"Malformed request: {method} /v1/models/tiny")
    assert ask(port, first=f"{method} /v2 HTTP/1.1")[0] == 404


def test_a_head_is_one_too_and_has_no_body(port):
    connection = http.client.HTTPConnection("localhost", port, timeout=30)
    for _ in range(2):
        connection.request("HEAD", "/v1/models/tiny")
        response = connection.getresponse()
        assert response.status == 400 and response.read() == b""


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "BREW"])
def test_methods_that_no_handler_sees(port, method):
    assert ask(port, first=f"{method} /v1/models/tiny HTTP/1.1")[0] == 501


@pytest.mark.parametrize(
    ("path", "lines", "expected"),
    [
        (PREDICT, ["Origin: http://evil.example"], 200),
        (PREDICT, ["Origin: https://evil.example"], 200),
        (PREDICT, ["Origin: null"], 400),
        (PREDICT, [], 400),
        ("/elsewhere", [], 404),
    ],
)
def test_what_options_answer_lets_no_page_in_without_cors(port, path, lines, expected):
    with connect(port) as connection:
        connection.sendall(head(*lines, first=f"OPTIONS {path} HTTP/1.1"))
        status, headers, body = read(connection)
        assert status == expected and "Access-Control-Allow-Origin" not in headers
        assert body == b"" or expected == 404


def test_a_path_is_looked_at_as_it_was_sent(port):
    for path, status, error in (
        ("/V1/Models/tiny/LABELS/x:predict", 400, "label: x"),
        ("//v1/models/nobody:predict", 404, "Latest(nobody)"),
        ("/v1/models/a%2Fb:predict", 404, "Latest(a/b)"),
        (f"{PREDICT}?x=1", 400, f"Malformed request: POST {PREDICT}?x=1"),
    ):
        found, told = ask(port, f"Content-Length: {len(BODY)}", body=BODY, first=f"POST {path} HTTP/1.1")
        assert found == status and error in told


def test_requests_in_a_row_are_answered_in_a_row(port):
    with connect(port) as connection:
        connection.sendall(of_length() * 3)
        for _ in range(3):
            status, headers, body = read(connection)
            assert status == 200 and json.loads(body) == SUMS and headers["Server"] == "embedded"


def test_http_1_0_gets_its_answer_and_the_end(port):
    with connect(port) as connection:
        connection.sendall(b"GET /v1/models/tiny HTTP/1.0\r\n\r\n")
        assert read(connection)[0] == 200 and is_closed(connection)


def test_a_caller_who_closes_his_own_side_is_answered(port):
    with connect(port) as connection:
        connection.sendall(of_length() * 2)
        connection.shutdown(socket.SHUT_WR)
        assert [read(connection)[0] for _ in range(2)] == [200, 200] and is_closed(connection)
    with connect(port) as connection:
        connection.sendall(of_length()[:-1])
        connection.shutdown(socket.SHUT_WR)
        assert said(connection)[0] == 400 and is_closed(connection)


def test_a_body_that_nobody_reads_is_not_taken_for_a_request(port):
    for first in ("GET /v1/models/tiny HTTP/1.1", "POST /elsewhere HTTP/1.1", f"OPTIONS {PREDICT} HTTP/1.1"):
        with connect(port) as connection:
            connection.sendall(head(f"Content-Length: {len(HIDDEN)}", first=first) + HIDDEN)
            assert read(connection)[1]["Connection"] == "close" and is_closed(connection)


# ---- sizes


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_may_be_zipped(port, chunked):
    zipped = gzip.compress(BODY)
    with connect(port) as connection:
        if chunked:
            connection.sendall(head("Content-Encoding: gzip", "Transfer-Encoding: chunked"))
            for part in (zipped[:7], zipped[7:], b""):
                connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        else:
            connection.sendall(head("Content-Encoding: x-gzip", f"Content-Length: {len(zipped)}") + zipped)
        assert json.loads(read(connection)[2]) == SUMS


@pytest.mark.parametrize(
    "body",
    [BODY, gzip.compress(BODY)[:-1], gzip.compress(BODY) + b"x", gzip.compress(BODY)[:20] + b"\xff" * 40],
    ids=["plain", "cut off", "too long", "damaged"],  # not the bytes, in which the time stands
)
def test_what_is_not_zipped_whole_reads_as_nothing(port, body):
    status, error = ask(port, "Content-Encoding: gzip", f"Content-Length: {len(body)}", body=body)
    assert (status, error) == (400, "JSON Parse error: The document is empty")


def test_a_small_body_does_not_become_one_too_large(narrow):
    zipped = gzip.compress(b" " * 2**28)
    before = resident()
    status, error = ask(narrow, "Content-Encoding: gzip", f"Content-Length: {len(zipped)}", body=zipped)
    assert status == 429 and "this server takes 1048576" in error and resident() < before + 2**25


@pytest.fixture(scope="module")
def narrow(models):
    """A server that takes bodies of a mebibyte."""
    with running(models, "--rest_max_body_mib=1") as server:
        yield server.rest_port


@pytest.mark.slow
def test_a_caller_still_sending_a_body_too_large_sees_the_answer(narrow):
    block = b" " * 2**20
    before = resident()
    for lines, parts in (
        ([f"Content-Length: {64 * 2**20}"], [block] * 64),
        ([CHUNKED], [b"100000\r\n", block, b"\r\n"] * 64 + [b"0\r\n\r\n"]),
        ([CHUNKED], [f"{64 * 2**20:x}\r\n".encode(), *[block] * 64, b"\r\n0\r\n\r\n"]),
    ):
        with connect(narrow) as connection:
            connection.sendall(head(*lines))
            for part in parts:
                connection.sendall(part)
            status, error = said(connection)
            assert status == 429 and error.startswith("the request has ") and is_closed(connection)
            assert error.endswith(" bytes; this server takes 1048576")
    assert resident() - before < 20 * 2**20


def test_who_asks_first_is_told_before_he_sends(narrow):
    with connect(narrow) as connection:
        connection.sendall(head(f"Content-Length: {2**21}", "Expect: 100-continue"))
        assert said(connection)[0] == 429 and is_closed(connection)
    with connect(narrow) as connection:
        connection.sendall(head(f"Content-Length: {len(BODY)}", "Expect: 100-continue"))
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(BODY)
        assert json.loads(read(connection)[2]) == SUMS


@pytest.mark.slow
def test_so_many_bytes_of_bodies_are_held_and_no_more(models, monkeypatch):
    monkeypatch.setattr(bodies, "HELD", 2**20)
    half = head(f"Content-Length: {2**20}") + b" " * (2**20 - 2**18)
    with running(models, "--rest_max_body_mib=1") as server:
        with connect(server.rest_port) as first, connect(server.rest_port) as second:
            first.sendall(half)
            time.sleep(1)
            second.sendall(half + b" " * 2**18)
            assert said(second) == (503, "too many large requests arrive at this moment; try again")
        until(lambda: ask(server.rest_port, f"Content-Length: {2**20}", body=b" " * 2**20)[0] == 400)


def test_two_bodies_are_parsed_at_a_time(port, monkeypatch):
    running_now, most, lock, parse = [], [], threading.Lock(), rest.parse_json

    def slowly(body):
        with lock:
            running_now.append(1)
            most.append(len(running_now))
        time.sleep(0.05)
        with lock:
            running_now.pop()
        return parse(body)

    monkeypatch.setattr(rest, "parse_json", slowly)
    with contextlib.ExitStack() as stack:
        callers = [stack.enter_context(connect(port)) for _ in range(8)]
        for caller in callers:
            caller.sendall(of_length())
        assert {read(caller)[0] for caller in callers} == {200} and max(most) == parsing.PARSING


def test_what_nobody_waits_for_any_more_is_not_run(models, busy):
    go, begun = busy
    with running(models) as server:
        with contextlib.ExitStack() as stack:
            callers = [stack.enter_context(connect(server.rest_port)) for _ in range(8)]
            for caller in callers:
                caller.sendall(of_length())
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset when closed
            until(lambda: len(begun) == 2)
            time.sleep(0.5)
        time.sleep(0.5)
        with connect(server.rest_port) as last:
            last.sendall(of_length())
            go.set()
            assert read(last)[0] == 200
        assert len(begun) == 3


def test_as_many_wait_as_the_queue_has_room_for_and_one_more_is_refused(models, busy):
    go, begun = busy
    with running(models, "--max_queue=3") as server, contextlib.ExitStack() as stack:
        callers = [stack.enter_context(connect(server.rest_port)) for _ in range(5)]
        for caller in callers:
            caller.sendall(of_length())
        until(lambda: len(begun) == 2)
        time.sleep(0.3)
        assert ask(server.rest_port, f"Content-Length: {len(BODY)}", body=BODY) == (
            503,
            "the queue is full: 5 requests wait; try again",
        )
        go.set()
        assert [read(caller)[0] for caller in callers] == [200] * 5


# ---- times and connections


@pytest.fixture
def impatient(models, monkeypatch):
    """A server that waits half a second, and has room for four."""
    monkeypatch.setattr(listener, "PATIENCE", 0.5)
    monkeypatch.setattr(bodies, "PATIENCE", 0.5)
    with running(models, "--rest_max_connections=4") as server:
        yield server.rest_port


def test_a_request_that_does_not_arrive_in_time(impatient):
    def slowly(connection, data):
        with contextlib.suppress(OSError):
            for position in range(len(data)):
                connection.sendall(data[position : position + 1])
                time.sleep(0.1)

    for data in (head("Content-Length: 5"), head("Content-Length: 99")):
        with connect(impatient) as connection:
            at_once = len(data) if b"99" in data else 20
            connection.sendall(data[:at_once])
            threading.Thread(target=slowly, args=(connection, data[at_once:] + b" " * 50), daemon=True).start()
            started = time.monotonic()
            status, error = said(connection)
            assert status == 408 and "did not arrive in time" in error and time.monotonic() - started < 3


def test_a_connection_without_a_request_is_closed(impatient):
    with connect(impatient) as connection:
        assert is_closed(connection)
    with connect(impatient) as connection:
        connection.sendall(of_length())
        assert read(connection)[0] == 200 and is_closed(connection)


@pytest.mark.slow
def test_an_answer_that_is_not_read_is_thrown_away(impatient):
    x = np.random.default_rng(0).random(2**19).tolist()
    request = of_length(json.dumps({"signature_name": "float64", "inputs": x}).encode())
    with connect(impatient) as connection:
        connection.sendall(request)
        connection.recv(1, socket.MSG_PEEK)
        time.sleep(1.5)
        with pytest.raises(ConnectionError):
            read(connection)


def test_a_row_of_requests_whose_answers_are_not_read_is_thrown_away(impatient):
    """The second answer waits for the first to be read; the connection must not wait with it."""
    x = np.random.default_rng(0).random(2**18).tolist()
    request = of_length(json.dumps({"signature_name": "float64", "inputs": x}).encode())

    def send(connection):
        with contextlib.suppress(OSError):
            connection.sendall(request * 3)

    with connect(impatient) as connection:
        threading.Thread(target=send, args=(connection,), daemon=True).start()
        connection.recv(1, socket.MSG_PEEK)
        time.sleep(3)
        with pytest.raises(ConnectionError):
            read(connection), read(connection)


def test_who_waits_is_told_in_time_whatever_runs(models, busy):
    """Two predictions never end; a third waits behind them."""
    _, begun = busy
    with running(models, "--rest_api_timeout_in_ms=500") as server, contextlib.ExitStack() as stack:
        callers = [stack.enter_context(connect(server.rest_port)) for _ in range(3)]
        started = time.monotonic()
        for caller in callers:
            caller.sendall(of_length())
        for caller in callers:
            assert said(caller) == (504, "the deadline passed before the answer came")
        assert time.monotonic() - started < 10 and len(begun) == 2
        assert ask(server.rest_port, first="GET /v1/models/nobody HTTP/1.1")[0] == 404


@pytest.mark.slow
def test_a_body_may_take_longer_the_more_of_it_comes(impatient, monkeypatch):
    monkeypatch.setattr(bodies, "RATE", len(BODY) / 10)
    with connect(impatient) as connection:
        connection.sendall(head(f"Content-Length: {len(BODY)}"))
        for part in (BODY[:20], BODY[20:40], BODY[40:]):
            connection.sendall(part)
            time.sleep(0.7)
        assert json.loads(read(connection)[2]) == SUMS


def test_idle_and_slow_connections_cost_no_threads_and_keep_nobody_waiting(port):
    threads = threading.active_count()
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(port)) for _ in range(200)]
        for number, connection in enumerate(slow):
            connection.sendall(of_length()[: number - 200])
        started = time.monotonic()
        with connect(port) as other:
            other.sendall(of_length())
            assert read(other)[0] == 200 and time.monotonic() - started < 2
        assert threading.active_count() - threads <= 4


@pytest.mark.slow
def test_one_connection_too_many_takes_the_place_of_the_one_that_has_waited_longest(models, busy):
    go, begun = busy
    with running(models, "--rest_max_connections=3") as server, contextlib.ExitStack() as stack:
        first, second, third = (stack.enter_context(connect(server.rest_port)) for _ in range(3))
        first.sendall(of_length())
        until(lambda: len(begun) == 1)
        fourth = stack.enter_context(connect(server.rest_port))
        assert is_closed(second)  # the first one waits for its answer
        for connection in (third, fourth):
            connection.sendall(of_length())
        until(lambda: len(begun) == 2)
        time.sleep(1)  # one of the two waits for its turn
        with connect(server.rest_port) as fifth:
            assert said(fifth) == (503, "3 connections are being answered; try again") and is_closed(fifth)
        go.set()
        assert [read(connection)[0] for connection in (first, third, fourth)] == [200] * 3


@pytest.mark.long
def test_a_thousand_connections_leave_no_more_memory_than_the_first_hundred(models):
    with running(models, "--rest_max_connections=100") as server:
        grown = []
        for _ in range(3):
            with contextlib.ExitStack() as stack:
                for _ in range(400):
                    connection = stack.enter_context(connect(server.rest_port))
                    with contextlib.suppress(OSError):
                        connection.sendall(of_length()[:-1])
            grown.append(resident())
        assert grown[-1] - grown[0] < 10 * 2**20
        assert ask(server.rest_port, first="GET /v1/models/nobody HTTP/1.1")[0] == 404


# ---- who may call


def hears(port, *lines, host="localhost"):
    with connect(port) as connection:
        connection.sendall(head(*lines, first="GET /v1/models/tiny HTTP/1.1", host=host))
        return read(connection)[0]


def test_a_server_on_its_own_machine_is_called_by_its_own_names_only(port):
    for host in ("localhost", f"LOCALHOST:{port}", "localhost.", "127.0.0.1:80", "[::1]:8501", socket.gethostname()):
        assert hears(port, host=host) == 200, host
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "localhost.evil.example",
        "127.0.0.2",
        "localhost@evil",
        "::1",
    ):
        assert hears(port, host=host) == 403, host
    status, error = ask(port, f"Content-Length: {len(BODY)}", body=BODY, host="evil.example")
    assert status == 403 and "'evil.example'" in error and "--allowed_hosts" in error and "\n" not in error


def test_the_names_can_be_given(models):
    with running(models, "--allowed_hosts=Maps.example, ::1") as server:
        found = [hears(server.rest_port, host=host) for host in ("maps.example:80", "[::1]", "localhost")]
        assert found == [200, 200, 403]


@pytest.mark.parametrize(
    ("allowed", "host", "address", "called", "answered"),
    [
        ("*", "127.0.0.1", "127.0.0.1", "evil.example", True),
        ("", "0.0.0.0", "0.0.0.0", "landslides.example", True),  # deployed: called by many names
        ("", "::", "::", "landslides.example", True),
        ("landslides.example", "0.0.0.0", "0.0.0.0", "landslides.example", True),
        ("landslides.example", "0.0.0.0", "0.0.0.0", "other.example", False),
        ("", "127.0.0.2", "127.0.0.2", "127.0.0.2:8501", True),
        ("", "::1", "::1", "evil.example", False),
        ("", "[::1]", "::1", "[::1]:8501", True),
        ("", "127.0.0.1", "127.0.0.1", None, True),  # HTTP/1.0, which no browser speaks
    ],
)
def test_what_names_are_its_own_depends_on_where_it_listens(allowed, host, address, called, answered):
    hosts = Hosts.of(allowed, host, address, cors=False)
    with contextlib.nullcontext() if answered else pytest.raises(ServingError, match="is not called"):
        hosts.check_name({} if called is None else {"host": called})


def test_pages_of_other_origins_may_not_call(port):
    host = f"localhost:{port}"
    for origin in (f"http://{host}", f"HTTP://LOCALHOST:{port}"):
        assert hears(port, f"Origin: {origin}", host=host) == 200, origin
    assert hears(port, "Origin: http://localhost", host="localhost:80") == 200
    assert hears(port, "Origin: https://localhost", host="localhost") == 200  # a proxy may have ended TLS
    for origin in ("http://evil.example", "http://localhost:1", f"http://127.0.0.1:{port}", "null", "http://"):
        assert hears(port, f"Origin: {origin}", host=host) == 403, origin
    status, error = ask(port, "Origin: http://evil.example", f"Content-Length: {len(BODY)}", body=BODY)
    assert status == 403 and "--rest_api_enable_cors_support" in error and "\n" not in error


def test_pages_of_other_origins_may_call_with_cors(models):
    with running(models, "--rest_api_enable_cors_support") as server, connect(server.rest_port) as connection:
        for first in (f"OPTIONS {PREDICT} HTTP/1.1", "GET /v1/models/tiny HTTP/1.1", "GET /v1/models/nobody HTTP/1.1"):
            connection.sendall(head("Origin: http://evil.example", first=first))
            status, headers, _ = read(connection)
            assert status == (404 if "nobody" in first else 200)
            assert headers["Access-Control-Allow-Origin"] == "*"
            assert headers["Access-Control-Allow-Methods"] == "POST, GET"
            assert headers["Access-Control-Allow-Headers"] == "Content-Type"


# ---- a swap, and the end


def test_a_request_is_run_by_the_version_that_it_was_read_for(tmp_path, monkeypatch):
    import tensorflow as tf

    for version, name in ((1, "old"), (2, "new")):
        call = tf.function(lambda version=version, **inputs: {"y": 0 * next(iter(inputs.values())) + version})
        signature = call.get_concrete_function(**{name: tf.TensorSpec([None], tf.float32, name=name)})
        tf.saved_model.save(tf.Module(), str(tmp_path / "aside" / str(version)), signatures=signature)
    served = tmp_path / "models" / "swapped"
    shutil.copytree(tmp_path / "aside" / "1", served / "1")
    original = rest.to_proto

    with running(tmp_path / "models") as server:

        def swap_meanwhile(array):
            shutil.copytree(tmp_path / "aside" / "2", served / "2")
            threading.Thread(target=server.manager.poll, daemon=True).start()
            latest = server.manager.statuses
            until(lambda: [v.number for v in latest(ModelSpec(name="swapped")) if v.state == 30][:1] == [2])
            return original(array)

        monkeypatch.setattr(rest, "to_proto", swap_meanwhile)
        with connect(server.rest_port) as connection:
            connection.sendall(of_length(b'{"inputs": [0, 0]}').replace(b"/every:", b"/swapped:"))
            status, _, body = read(connection)
            assert (status, json.loads(body)) == (200, {"outputs": [1.0, 1.0]})
            monkeypatch.setattr(rest, "to_proto", original)
            connection.sendall(of_length(b'{"inputs": [0, 0]}').replace(b"/every:", b"/swapped:"))
            assert json.loads(read(connection)[2]) == {"outputs": [2.0, 2.0]}


def test_a_server_that_stops_finishes_its_answers_and_takes_no_more(models, busy):
    go, begun = busy
    with running(models) as server, contextlib.ExitStack() as stack:
        idle, *asking = (stack.enter_context(connect(server.rest_port)) for _ in range(4))
        idle.sendall(head(first="GET /v1/models/tiny HTTP/1.1"))
        assert read(idle)[1]["Connection"] is None
        for connection in asking:
            connection.sendall(of_length())
        until(lambda: len(begun) == 2)
        stopping = threading.Thread(target=server.stop, args=(20,))
        stopping.start()
        assert is_closed(idle)
        until(lambda: _refuses(server.rest_port))
        go.set()
        for connection in asking:
            status, headers, body = read(connection)
            assert (status, headers["Connection"], json.loads(body)) == (200, "close", SUMS)
            assert is_closed(connection)
        stopping.join(10)
        assert not stopping.is_alive()


def _refuses(port):
    with contextlib.suppress(OSError), connect(port):
        return False
    return True


def test_connections_that_wait_in_the_queue_are_answered_by_a_server_that_stops(models, monkeypatch):
    """Nobody accepts for a second, in which callers come and the server is told to stop."""
    with running(models) as server, contextlib.ExitStack() as stack:
        held, accept = threading.Event(), socket.socket.accept

        def late(self):
            if self.getsockname()[1] == server.rest_port and not held.is_set():
                held.set()
                time.sleep(1)
            return accept(self)

        monkeypatch.setattr(socket.socket, "accept", late)
        callers = [stack.enter_context(connect(server.rest_port))]
        assert held.wait(5)
        callers += [stack.enter_context(connect(server.rest_port)) for _ in range(20)]
        for caller in callers:
            caller.sendall(of_length())
        threading.Thread(target=server.stop, args=(20,), daemon=True).start()
        for caller in callers:
            status, headers, body = read(caller)
            assert (status, json.loads(body)) == (200, SUMS) and headers["Connection"] == "close"


@pytest.mark.slow
def test_what_outlasts_the_grace_is_told_so(models, busy):
    go, begun = busy
    with running(models) as server, connect(server.rest_port) as connection:
        connection.sendall(of_length())
        until(lambda: begun)
        server.stop(0.1)
        assert said(connection) == (503, "the server has stopped") and is_closed(connection)
        go.set()
