"""Settings: `AUTHSVC_*`, read from the environment once, every fault reported together."""

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, cast

from environs import Env, EnvError, EnvValidationError, validate
from limits import parse_many
from sqlalchemy.exc import ArgumentError

from authsvc.core.captchas import ALPHABETS
from authsvc.infra import hosts
from authsvc.infra.letterhead import is_sender
from authsvc.infra.logs import JSON, LINES
from authsvc.infra.mail import SmtpServer, parse_smtp_url
from authsvc.infra.redis_routes import parse_many_servers
from authsvc.web import mounts
from authsvc.web.client import UNIX_SOCKET, TrustedProxies
from authsvc.web.mounts import Mount, MountError

PREFIX = "AUTHSVC_"
DEVELOPMENT, PRODUCTION = "development", "production"
DOCUMENT, STRICT = "document", "strict"
BEARER, ANY = "bearer", "any"
SECRET_MIN_BYTES = 32
NOBODY = "authsvc@localhost.localdomain"
CLIENT_SECRET_MIN_BYTES = 16
ALGORITHMS = ("HS256", "EdDSA", "ES256", "RS256")
ADMIN_PASSWORD = "AUTHSVC_ADMIN_PASSWORD"  # noqa: S105
"""Read by `flask create-admin` alone; not a setting of the service."""
USER_PASSWORD = "AUTHSVC_USER_PASSWORD"  # noqa: S105
"""Read by `flask users create` and `set-password` alone; not a setting of the service."""
LOCAL_ORIGINS = "localhost"
"""Stands for every port of the user's own machine among the origins."""

_KUBERNETES = re.compile(r"AUTHSVC_(SERVICE_.*|PORT|PORT_.*)")
_BIND = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):(?P<port>[0-9]{1,5})")
_ORIGIN = re.compile(r"https?://[^/?#@,\s*]+")
_PUBLIC_URL = re.compile(r"https?://[^\s?@]+")
_REDIS = re.compile(r"(rediss?|unix)://.+")

_AT_LEAST_ONE = validate.Range(min=1)
_SECONDS = validate.Range(min=1)
_FRACTION_OF_SECONDS = validate.Range(min=0.05)


class SettingsError(Exception):
    """The service cannot run with these settings. `faults` holds one sentence for each fault."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


@dataclass(frozen=True, slots=True)
class Address:
    """Where gunicorn listens: a host and a port, or a unix socket (`port` is None)."""

    host: str
    port: int | None

    def __str__(self) -> str:
        return f"unix:{self.host}" if self.port is None else f"{self.host}:{self.port}"


def _split(text: str) -> list[str]:
    return [entry.strip() for entry in text.split(",") if entry.strip()]


def _bind(text: str) -> tuple[Address, ...]:
    addresses = tuple(_address(entry) for entry in _split(text))
    if not addresses:
        raise EnvError("names no address.")
    return addresses


def _address(entry: str) -> Address:
    if entry.startswith("unix:/"):
        return Address(entry.removeprefix("unix:"), None)
    match = _BIND.fullmatch(entry)
    if match is None or not 1 <= int(match["port"]) <= 65535:
        raise EnvError(f'"{entry}" is neither host:port nor unix:/path.')
    return Address(match["host"], int(match["port"]))


def _mounts(text: str) -> tuple[Mount, ...]:
    try:
        return mounts.parse(text) if text else ()
    except MountError as error:
        raise EnvError(f"{error}.") from None


def _database_url(text: str) -> str | None:
    if not text:
        return None
    try:
        url, _ = hosts.parse(text)
    except ArgumentError:
        raise EnvError("is not a database URL.") from None
    except ValueError as error:
        raise EnvError(f"{error}.") from None
    if url.drivername not in ("sqlite", "mysql+pymysql", "mariadb+pymysql"):
        raise EnvError("must begin with sqlite://, mysql+pymysql:// or mariadb+pymysql://.")
    return text


def _redis_url(text: str) -> str | None:
    if "+" in text.partition("://")[0]:
        try:
            parse_many_servers(text)
        except ValueError as error:
            raise EnvError(str(error)) from None
    elif text and not _REDIS.fullmatch(text):
        raise EnvError(
            "must begin with redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://."
        )
    return text or None


def _secret(text: str) -> str | None:
    if text and len(text.encode()) < SECRET_MIN_BYTES:
        raise EnvError(f"is shorter than {SECRET_MIN_BYTES} bytes.")
    return text or None


def _rate(text: str) -> str:
    try:
        parse_many(text)
    except ValueError:
        raise EnvError(f'"{text}" is not a rate such as 10/minute.') from None
    return text


def _proxies(text: str) -> TrustedProxies:
    entries = _split(text)
    try:
        networks = [ip_network(entry) for entry in entries if entry != UNIX_SOCKET]
    except ValueError as error:
        raise EnvError(f"{error}.") from None
    return TrustedProxies(networks, UNIX_SOCKET in entries)


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(ip_network(entry) for entry in _split(text))
    except ValueError as error:
        raise EnvError(f"{error}.") from None


def _origins(text: str) -> tuple[str, ...]:
    origins = _split(text)
    for origin in origins:
        if origin not in ("*", LOCAL_ORIGINS) and not _ORIGIN.fullmatch(origin):
            raise EnvError(f'"{origin}" is not an origin such as https://app.example.com.')
    return tuple(origins)


def _clients(text: str) -> Mapping[str, str]:
    pairs = [entry.partition(":") for entry in _split(text)]
    for client_id, _, secret in pairs:
        if not client_id or len(secret.encode()) < CLIENT_SECRET_MIN_BYTES:
            raise EnvError(
                f"an entry is not id:secret with {CLIENT_SECRET_MIN_BYTES} bytes of secret or more."
            )
    return {client_id: secret for client_id, _, secret in pairs}


def _smtp(text: str) -> SmtpServer | None:
    try:
        return parse_smtp_url(text) if text else None
    except ValueError as error:
        raise EnvError(f"{error}.") from None


def _sender(text: str) -> str:
    if not is_sender(text):
        raise EnvError(f'"{text}" is no address such as no-reply@example.com.')
    return text


def _public_url(text: str) -> str | None:
    if text and not _PUBLIC_URL.fullmatch(text):
        raise EnvError(f'"{text}" is not a URL such as https://app.example.com.')
    return text or None


def _optional(text: str) -> str | None:
    return text or None


def _default_mounts(read: dict[str, Any]) -> str:
    """Return mounts for every URL of the documents, on the first two ports listened on."""
    if read["env"] == PRODUCTION:
        return ""
    table = ["session=/", "token=/api", "admin=/api/auth", "native=/v1"]
    ports = list(dict.fromkeys(address.port for address in read["bind"] or () if address.port))
    if len(ports) > 1:
        table.append(f"envelope=:{ports[1]}/api")
    return ", ".join(table)


def _default_origins(read: dict[str, Any]) -> str:
    return "" if read["env"] == PRODUCTION else LOCAL_ORIGINS


def _default_log_format(read: dict[str, Any]) -> str:
    return JSON if read["env"] == PRODUCTION else LINES


def _in_development(read: dict[str, Any]) -> bool:
    return bool(read["env"] != PRODUCTION)


def _cores(_: dict[str, Any]) -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _setting(parser: str, default: Any, *, secret: bool = False, **checks: Any) -> Any:
    """Declare a setting.

    Args:
        parser: how `Env` reads it.
        default: its default, or a function of the settings declared above it.
        secret: whether to keep it out of every printed form.
        checks: what else `Env` is to check.
    """
    return field(repr=not secret, metadata={"read": (parser, default, checks)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting, typed. `config/example.env` says of each what it does."""

    env: str = _setting("str", DEVELOPMENT, validate=validate.OneOf([DEVELOPMENT, PRODUCTION]))
    bind: tuple[Address, ...] = _setting("bind", "127.0.0.1:8080, 127.0.0.1:3000")
    mounts: tuple[Mount, ...] = _setting("mounts", _default_mounts)
    data: Path = _setting("path", "var")
    database_url: str | None = _setting("database_url", "", secret=True)
    redis_url: str | None = _setting("redis_url", "", secret=True)
    jwt_secret: str | None = _setting("secret", "", secret=True)
    jwt_issuer: str = _setting("str", "authsvc", validate=validate.Length(min=1))
    jwt_algorithm: str = _setting("str", "HS256", validate=validate.OneOf(ALGORITHMS))
    token_lifetime: int = _setting("int", 7200, validate=_SECONDS)
    refresh_lifetime: int = _setting("int", 2_592_000, validate=_SECONDS)
    refresh_grace: int = _setting("int", 30, validate=validate.Range(min=0, max=3600))
    session_lifetime: int = _setting("int", 31_536_000, validate=_SECONDS)
    sliding_idle: int = _setting("int", 1800, validate=_SECONDS)
    sliding_lifetime: int = _setting("int", 86_400, validate=_SECONDS)
    token_scheme: str = _setting("str", BEARER, validate=validate.OneOf([BEARER, ANY]))
    cookies: bool = _setting("bool", False)
    introspection_clients: Mapping[str, str] = _setting("clients", "", secret=True)
    public_url: str | None = _setting("public_url", "")
    smtp_url: SmtpServer | None = _setting("smtp", "", secret=True)
    mail_from: str = _setting("sender", NOBODY)
    mail_token_lifetime: int = _setting("int", 1800, validate=_SECONDS)
    totp_issuer: str = _setting("str", "authsvc", validate=validate.Length(min=1, max=64))
    audit_days: int = _setting("int", 365, validate=_AT_LEAST_ONE)
    session_status: str = _setting("str", DOCUMENT, validate=validate.OneOf([DOCUMENT, "200"]))
    signup_captcha: bool = _setting("bool", True)
    ruoyi_captcha: bool = _setting("bool", True)
    ruoyi_registration: bool = _setting("bool", _in_development)
    captcha_lifetime: int = _setting("int", 300, validate=_SECONDS)
    captcha_alphabet: str = _setting("str", "mixed", validate=validate.OneOf([*ALPHABETS]))
    captcha_max_live: int = _setting("int", 1000, validate=_AT_LEAST_ONE)
    captcha_max_live_total: int = _setting("int", 100_000, validate=_AT_LEAST_ONE)
    captcha_pow: bool = _setting("bool", False)
    captcha_pow_max_number: int = _setting("int", 100_000, validate=validate.Range(min=1000))
    captcha_test_value: str | None = _setting("optional", "", secret=True)
    password_min_length: int = _setting("int", 8, validate=validate.Range(min=1, max=128))
    password_policy: str = _setting("str", DOCUMENT, validate=validate.OneOf([DOCUMENT, STRICT]))
    admin_permission: int = _setting("int", 1, validate=validate.Range(min=1, max=2**31 - 1))
    argon2_memory_kib: int = _setting("int", 19456, validate=validate.Range(min=8))
    argon2_time_cost: int = _setting("int", 2, validate=_AT_LEAST_ONE)
    argon2_parallelism: int = _setting("int", 1, validate=_AT_LEAST_ONE)
    hash_slots: int = _setting("int", _cores, validate=_AT_LEAST_ONE)
    hash_wait: float = _setting("float", 5.0, validate=_FRACTION_OF_SECONDS)
    hash_queue: int = _setting("int", 64, validate=_AT_LEAST_ONE)
    ratelimit_enabled: bool = _setting("bool", True)
    ratelimit_login_pair: str = _setting("rate", "10/minute")
    ratelimit_login: str = _setting("rate", "60/minute")
    ratelimit_signup: str = _setting("rate", "20/hour")
    ratelimit_captcha: str = _setting("rate", "60/minute")
    ratelimit_captcha_audio: str = _setting("rate", "20/minute")
    ratelimit_refresh: str = _setting("rate", "60/minute")
    ratelimit_password: str = _setting("rate", "30/minute")
    ratelimit_mail: str = _setting("rate", "10/hour")
    guess_limit: bool = _setting("bool", True)
    guess_pair: int = _setting("int", 5, validate=_AT_LEAST_ONE)
    guess_address: int = _setting("int", 50, validate=_AT_LEAST_ONE)
    guess_name: int = _setting("int", 100, validate=_AT_LEAST_ONE)
    guess_window: int = _setting("int", 900, validate=_SECONDS)
    guess_longest_wait: int = _setting("int", 900, validate=_SECONDS)
    trusted_proxies: TrustedProxies = _setting("proxies", "")
    metrics_allow: tuple[IPv4Network | IPv6Network, ...] = _setting("networks", "127.0.0.1, ::1")
    cors_origins: tuple[str, ...] = _setting("origins", _default_origins)
    demo: bool = _setting("bool", _in_development)
    docs: bool = _setting("bool", True)
    database_pool_size: int = _setting("int", 8, validate=_AT_LEAST_ONE)
    database_pool_overflow: int = _setting("int", 4, validate=validate.Range(min=0))
    database_pool_wait: int = _setting("int", 3, validate=_SECONDS)
    database_pool_recycle: int = _setting("int", 1800, validate=_SECONDS)
    database_connect_timeout: int = _setting("int", 2, validate=_SECONDS)
    database_read_timeout: int = _setting("int", 3, validate=validate.Range(min=2))
    database_write_timeout: int = _setting("int", 4, validate=_SECONDS)
    redis_pool_size: int = _setting("int", 16, validate=_AT_LEAST_ONE)
    redis_connect_timeout: float = _setting("float", 1.0, validate=_FRACTION_OF_SECONDS)
    redis_timeout: float = _setting("float", 1.0, validate=_FRACTION_OF_SECONDS)
    workers: int = _setting("int", _cores, validate=_AT_LEAST_ONE)
    threads: int = _setting("int", 80, validate=_AT_LEAST_ONE)
    request_timeout: int = _setting("int", 30, validate=_SECONDS)
    graceful_timeout: int = _setting("int", 30, validate=_SECONDS)
    log_level: str = _setting(
        "str",
        "info",
        validate=validate.OneOf(["debug", "info", "warning", "error", "critical"]),
    )
    log_format: str = _setting("str", _default_log_format, validate=validate.OneOf([JSON, LINES]))

    @property
    def in_production(self) -> bool:
        """Whether what only development may do must be refused."""
        return self.env == PRODUCTION

    @property
    def sends_mail(self) -> bool:
        """Whether there is a way for mails to go: SMTP, or in development a folder."""
        return self.smtp_url is not None or not self.in_production

    @property
    def ports(self) -> tuple[int | None, ...]:
        """The ports listened on; None for a unix socket."""
        return tuple(address.port for address in self.bind)


NAMES = frozenset(PREFIX + setting.name.upper() for setting in fields(Settings))
"""The name of every setting."""


def load() -> Settings:
    """Read the environment.

    Raises:
        SettingsError: with every fault that there is.
    """
    env = _reader()
    settings = Settings(**_read(env))
    faults = dict(_refused(settings))
    try:
        env.seal()
    except EnvValidationError as error:
        found = cast(dict[str, list[str]], error.error_messages)
        faults |= {name: " ".join(map(str, found[name])) for name in found}
    faults |= dict(_unknown_names())
    if faults:
        raise SettingsError(f"{name}: {faults[name]}" for name in sorted(faults))
    return settings


def _reader() -> Env:
    env = Env(eager=False, prefix=PREFIX)
    for name, parser in (
        ("bind", _bind),
        ("mounts", _mounts),
        ("database_url", _database_url),
        ("redis_url", _redis_url),
        ("secret", _secret),
        ("optional", _optional),
        ("rate", _rate),
        ("proxies", _proxies),
        ("networks", _networks),
        ("origins", _origins),
        ("clients", _clients),
        ("smtp", _smtp),
        ("sender", _sender),
        ("public_url", _public_url),
    ):
        env.add_parser(name, parser)
    return env


def _read(env: Env) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for setting in fields(Settings):
        parser, default, checks = setting.metadata["read"]
        if callable(default):
            default = default(values)
        values[setting.name] = getattr(env, parser)(setting.name.upper(), default, **checks)
    values["data"] = Path(values["data"])
    return values


def _unknown_names() -> Iterator[tuple[str, str]]:
    known = NAMES | {ADMIN_PASSWORD, USER_PASSWORD}
    for name in os.environ:
        if name.startswith(PREFIX) and name not in known and not _KUBERNETES.fullmatch(name):
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
            yield name, f"there is no such setting; the nearest is {nearest}."


def _refused(settings: Settings) -> Iterator[tuple[str, str]]:
    if not settings.mounts:
        yield f"{PREFIX}MOUNTS", "choose the dialects to serve, such as envelope=/api."
    if settings.smtp_url is not None and settings.public_url is None:
        yield f"{PREFIX}PUBLIC_URL", "mails need the address that their links begin with."
    if settings.cookies and "*" in settings.cors_origins:
        yield f"{PREFIX}CORS_ORIGINS", "with cookies, * would let every site act for its visitors."
    if not settings.in_production:
        return
    if settings.smtp_url is not None and settings.mail_from == NOBODY:
        yield f"{PREFIX}MAIL_FROM", "production needs the address that its mails come from."
    if settings.jwt_secret is None:
        yield f"{PREFIX}JWT_SECRET", f"production needs {SECRET_MIN_BYTES} bytes or more."
    if settings.database_url is None or settings.database_url.startswith("sqlite"):
        yield f"{PREFIX}DATABASE_URL", "production needs MySQL or MariaDB, not SQLite."
    if settings.redis_url is None:
        yield f"{PREFIX}REDIS_URL", "production needs a Redis of its own, not the embedded one."
    if settings.captcha_test_value is not None:
        yield f"{PREFIX}CAPTCHA_TEST_VALUE", "production accepts no test value."
