"""Who may talk to the page."""

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from tf_landslide.page.doors import guards


def asked(host, allowed=(), method="GET", listening="127.0.0.1", **headers):
    """The status and headers of an answer to a request."""
    routes = [Route("/", lambda _: PlainTextResponse("in"), methods=["GET", "POST"])]
    client = TestClient(Starlette(routes=routes, middleware=guards(listening, allowed)), base_url="http://x")
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.request(method, "/", headers={"Host": host, **names})


@pytest.mark.parametrize(
    ("host", "allowed", "listening", "status"),
    [
        ("127.0.0.1:7860", (), "127.0.0.1", 200),
        ("localhost:7860", (), "127.0.0.1", 200),
        ("LocalHost", (), "127.0.0.1", 200),
        ("[::1]:7860", (), "::1", 200),
        ("192.168.1.5:7860", (), "0.0.0.0", 200),  # digits: no name server can point them elsewhere
        ("maps.example.org", (), "maps.example.org", 200),
        ("evil.example:7860", (), "127.0.0.1", 403),  # DNS rebinding
        ("localhost.evil.example", (), "127.0.0.1", 403),
        ("evil.example@localhost", (), "evil", 200),  # the browser never sends it; its host is localhost
        ("[::1", (), "127.0.0.1", 403),
        ("", (), "127.0.0.1", 403),
        ("maps.example.org", ("Maps.Example.org",), "127.0.0.1", 200),
        ("other.example.org", ("maps.example.org",), "127.0.0.1", 403),
        ("other.example.org", ("*",), "127.0.0.1", 200),
    ],
)
def test_the_name_it_is_asked_by(host, allowed, listening, status):
    assert asked(host, allowed, listening=listening).status_code == status


@pytest.mark.parametrize(
    ("origin", "allowed", "status"),
    [
        ("http://localhost:7860", (), 200),
        ("https://localhost:7860", (), 200),  # behind a proxy that speaks TLS
        ("http://evil.example", (), 403),
        ("http://localhost:3000", (), 403),
        ("http://localhost:7860.evil.example", (), 403),
        ("null", (), 403),
        ("http://[", (), 403),
        ("https://maps.example.org", ("maps.example.org",), 200),
        ("https://maps.example.org:8443", ("maps.example.org:8443",), 200),
        ("https://maps.example.org", ("maps.example.org:8443",), 403),
        ("http://evil.example", ("*",), 200),
    ],
)
def test_the_site_that_calls(origin, allowed, status):
    for method in ("GET", "POST"):
        answer = asked("localhost:7860", allowed, method, Origin=origin)
        assert answer.status_code == status
        foreign = status == 200 and "localhost:7860" not in origin
        assert answer.headers.get("access-control-allow-origin") == ({True: origin}.get(foreign))
        assert "access-control-allow-credentials" not in answer.headers
    preflight = {"Access_Control_Request_Method": "POST"}
    assert asked("localhost:7860", allowed, "OPTIONS", Origin=origin, **preflight).is_success == (
        status == 200 and "localhost:7860" not in origin
    )


def test_other_sites_may_link_to_it_and_not_draw_on_it():
    assert asked("localhost", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status_code == 200
    assert asked("localhost", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors").status_code == 403
    assert asked("localhost", method="POST", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status_code == 403
    assert asked("localhost", Sec_Fetch_Site="same-origin", Sec_Fetch_Mode="cors").status_code == 200
