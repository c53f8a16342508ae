"""Headers and the table of mounts: whatever they are, they are understood or passed over.

python -m tests.hostile.fuzz_headers FOLDER -max_total_time=60
"""

from contextlib import suppress
from ipaddress import ip_address, ip_network

from tests.hostile.fuzzing import fuzz, instrumented, text_of

with instrumented():  # type: ignore[attr-defined]
    from flask import Flask
    from flask.ctx import RequestContext

    from authsvc.core.errors import CsrfRejected, InvalidToken
    from authsvc.web import bearer, client_credentials, cookies
    from authsvc.web.bearer import bearer_token
    from authsvc.web.client import LANGUAGES, UNIX_SOCKET, TrustedProxies, language
    from authsvc.web.mounts import MountError, MountTable, parse

app = Flask("fuzz")
proxies = TrustedProxies([ip_network("127.0.0.0/8")], unix_socket=True)
client_credentials.install(app, {"tester": "secret"})
cookies.install(app, allowed=True, key=b"key")


PEERS = ["127.0.0.1", "", "192.0.2.1", "::ffff:127.0.0.1", "no address"]


def address(data: bytes) -> None:
    """Who the client is, behind a trusted proxy, is an address or the unix socket."""
    peer = PEERS[data[0] % len(PEERS)] if data else ""
    found = proxies.client(peer, data[1:].decode("latin-1"))
    assert found == UNIX_SOCKET or ip_address(found)


def reader(data: bytes) -> None:
    """What a client reads best is a language of ours."""
    with _request(data, "Accept-Language"):
        assert language() in LANGUAGES


def proof(data: bytes) -> None:
    """Tokens, cookies and the credentials of other services."""
    with _request(data, "Authorization", "Cookie", cookies.CSRF_HEADER):
        client_credentials.client_is_known()
        client_credentials.proves_itself_twice()
        cookies.access_token()
        cookies.refresh_token()
        with suppress(CsrfRejected):
            cookies.check_page("session")
        for bare in (False, True):
            bearer.install(app, bare=bare)
            with suppress(InvalidToken):
                bearer_token()


def mounts(data: bytes) -> None:
    """A table of mounts, and a path that belongs to one of them or to nobody."""
    text, _, path = text_of(data).partition("\n")
    with suppress(MountError):
        table = MountTable(parse(text), [8080, 3000, None])
        table.owner(8080, path)
        table.owner(None, path)


def _request(data: bytes, *names: str) -> RequestContext:
    values = data.decode("latin-1").split("\n")
    headers = {
        f"HTTP_{name.upper().replace('-', '_')}": value
        for name, value in zip(names, values, strict=False)
    }
    return app.test_request_context(method="POST", environ_overrides=headers)


SEEDS = [
    b"\0\x001.2.3.4, ::1, x",
    b"\0\0" + b"::ffff:127.0.0.1," * 20,
    b"\0\1fe80::1%eth0",
    b"\0\1" + b"1." * 500,
    b"\1zh-CN;q=0.x, *;q=nan",
    b"\1en;q=1e400, zh_TW;q=-1",
    b"\2Bearer a.b.c\n__Host-authsvc-access=x; __Host-authsvc-csrf=\xff\n\xff",
    b"\2a.b.c",
    b"\2Basic dGVzdGVyOnNlY3JldA==",
    b"\2Basic \xb2",
    b'\2Digest username="x", nonce=',
    "\3session=/, token=:3000/api, a=:٣/\n/api/login".encode(),
]

if __name__ == "__main__":
    fuzz([address, reader, proof, mounts], SEEDS)
