"""The addresses of Redis that name many servers."""

import pytest

from authsvc.infra.redis_routes import ManyServers, parse_many_servers


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        (
            "redis+sentinel://a:1,b/authsvc",
            ManyServers("sentinel", False, (("a", 1), ("b", 26379)), None, None, "authsvc"),
        ),
        (
            "redis+sentinel://user:p%40ss@a:1/authsvc/3",
            ManyServers("sentinel", False, (("a", 1),), "user", "p@ss", "authsvc", 3),
        ),
        (
            "rediss+cluster://:secret@[::1]:7000,[2001:db8::1]",
            ManyServers("cluster", True, (("::1", 7000), ("2001:db8::1", 6379)), None, "secret"),
        ),
        (
            "redis+cluster://a:1,b:2/",
            ManyServers("cluster", False, (("a", 1), ("b", 2)), None, None),
        ),
    ],
)
def test_an_address_says_who_is_asked_and_how(url: str, servers: ManyServers) -> None:
    assert parse_many_servers(url) == servers


def test_no_password_is_printed() -> None:
    assert "secret" not in repr(parse_many_servers("redis+cluster://:secret@a:1"))


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("redis+other://a:1", "is neither"),
        ("http+cluster://a:1", "is neither"),
        ("redis+sentinel://a:1", "names no service"),
        ("redis+sentinel://a:1/authsvc/x", "is not the number of a database"),
        ("redis+cluster://a:1/0", "has one database only"),
        ("redis+cluster://a:1,,b:2", "is not host:port"),
        ("redis+cluster://", "is not host:port"),
        ("redis+cluster://a:99999", "is not host:port"),
        ("redis+cluster://a:x", "is not host:port"),
        ("redis+cluster://a:1?db=1", "takes no parameters"),
    ],
)
def test_an_address_that_is_not_one_is_refused_in_a_sentence(url: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        parse_many_servers(url)
