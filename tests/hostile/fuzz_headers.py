"""Headers and the table of mounts: whatever they are, they are understood or passed over.

python -m tests.hostile.fuzz_headers FOLDER -max_total_time=60
"""

from contextlib import suppress
from ipaddress import ip_address, ip_network

from tests.hostile.fuzzing import fuzz, instrumented, text_of

with instrumented():  # type: ignore[attr-defined]
    from flask import Flask, g
    from flask.ctx import RequestContext

    from authsvc.core.errors import CsrfRejected, InvalidToken
    from authsvc.web import client_credentials, cookies
    from authsvc.web.bearer import bearer_token
    from authsvc.web.client import (
        LANGUAGES,
        UNIX_SOCKET,
        TrustedProxies,
        client,
        client_network,
    )
    from authsvc.web.mounts import MountError, MountTable, parse

app = Flask("fuzz")
app.extensions["authsvc-proxies"] = TrustedProxies([ip_network("127.0.0.0/8")], unix_socket=True)
client_credentials.install(app, {"tester": "secret"})
cookies.install(app, allowed=True, key=b"key")


PEERS = ["127.0.0.1", "", "192.0.2.1", "::ffff:127.0.0.1", "no address"]


def address(data: bytes) -> None:
    """Who the client is, behind a trusted proxy, is an address or the unix socket."""
    peer = PEERS[data[0] % len(PEERS)] if data else ""
    with _request(data[1:], "X-Forwarded-For", "User-Agent", "Accept-Language", REMOTE_ADDR=peer):
        g.request_id = "request-1"
        found = client()
        assert found.address == UNIX_SOCKET or ip_address(found.address)
        assert client_network() == found.network
        assert found.user_agent.isprintable()
        assert found.language in LANGUAGES


def proof(data: bytes) -> None:
    """Tokens, cookies and the credentials of other services."""
    with _request(data, "Authorization", "Cookie", cookies.CSRF_HEADER):
        client_credentials.client_is_known()
        client_credentials.proves_itself_twice()
        cookies.access_token()
        cookies.refresh_token()
        with suppress(CsrfRejected):
            cookies.check_page("session")
        with suppress(InvalidToken):
            bearer_token()


def mounts(data: bytes) -> None:
    """A table of mounts, and a path that belongs to one of them or to nobody."""
    text, _, path = text_of(data).partition("\n")
    with suppress(MountError):
        table = MountTable(parse(text), [8080, 3000, None])
        table.owner(8080, path)
        table.owner(None, path)


def _request(data: bytes, *names: str, **more: str) -> RequestContext:
    values = data.decode("latin-1").split("\n")
    headers = {
        f"HTTP_{name.upper().replace('-', '_')}": value
        for name, value in zip(names, values, strict=False)
    }
    return app.test_request_context(method="POST", environ_overrides=headers | more)


SEEDS = [
    b"\0\x001.2.3.4, ::1, x\nMozilla\nzh-CN;q=0.x, *;q=nan",
    b"\0\0" + b"::ffff:127.0.0.1," * 20 + b"\n\x7f\n" + b"en;q=1e400",
    b"\0\1fe80::1%eth0",
    b"\1Bearer a.b.c\n__Host-authsvc-access=x; __Host-authsvc-csrf=\xff\n\xff",
    b"\1Basic dGVzdGVyOnNlY3JldA==",
    b"\1Basic \xb2",
    b'\1Digest username="x", nonce=',
    "\2session=/, token=:3000/api, a=:٣/\n/api/login".encode(),
]

if __name__ == "__main__":
    fuzz([address, proof, mounts], SEEDS)
