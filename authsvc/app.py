"""The composition root: the one file that knows every part, and joins them."""

import hmac
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from flask import Flask

from authsvc import dialects, options
from authsvc.core.accounts import Accounts
from authsvc.core.administration import Administration
from authsvc.core.captchas import Captchas
from authsvc.core.guessing import Guard
from authsvc.core.password_strength import Passwords
from authsvc.core.passwords import PasswordRule
from authsvc.core.profile import Profile
from authsvc.core.recovery import Recovery
from authsvc.core.second_factor import SecondFactor
from authsvc.core.sessions import Sessions
from authsvc.dialects import session
from authsvc.infra import connections, database, health, pools, redis, runtime, traces, undo
from authsvc.infra.audit import SqlAuditLog
from authsvc.infra.captcha_audio import ClipSpeaker
from authsvc.infra.captcha_image import PillowPainter
from authsvc.infra.captcha_store import RedisCaptchaStore
from authsvc.infra.common_passwords import CommonPasswordTable
from authsvc.infra.embedded import EmbeddedRedis
from authsvc.infra.guesses import RedisGuesses
from authsvc.infra.hashing import Argon2Hasher, HashSlots
from authsvc.infra.jwt import JwtIssuer
from authsvc.infra.letterhead import Letterhead
from authsvc.infra.mail import Delivery, FileDelivery, SmtpDelivery
from authsvc.infra.metrics import Metrics
from authsvc.infra.one_time_codes import TotpCodes
from authsvc.infra.outbox import SqlMailTokens, SqlOutbox
from authsvc.infra.painting_queue import PaintingQueue
from authsvc.infra.password_strength import ZxcvbnMeter
from authsvc.infra.postman import Postman
from authsvc.infra.proof_of_work import AltchaWork
from authsvc.infra.rate_counters import RedisRateCounters
from authsvc.infra.sessions import RedisSessions
from authsvc.infra.signing_keys import SigningKeys
from authsvc.infra.traces import Tracing
from authsvc.infra.users import SqlUsers
from authsvc.infra.vault import Vault
from authsvc.settings import ANY, DOCUMENT, LOCAL_ORIGINS, PREFIX, Settings, SettingsError
from authsvc.web import (
    admission,
    bearer,
    body,
    client_credentials,
    cookies,
    errors,
    limits,
    observing,
    openapi,
    origins,
    service,
)
from authsvc.web import health as web_health
from authsvc.web.dialect import Dialect, UseCases
from authsvc.web.mounts import MountedFlask, MountError, MountTable, mount_dialects
from authsvc.web.pages import demo, docs

_LOCAL_ORIGIN = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"


def create_app(settings: Settings) -> Flask:
    """Build the application. Nothing outside is connected yet.

    Raises:
        SettingsError: the table of mounts cannot be served.
    """
    app = MountedFlask("authsvc", static_folder=None)
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.config["MAX_CONTENT_LENGTH"] = body.READ_BYTES
    app.url_map.merge_slashes = False
    app.extensions["authsvc-proxies"] = settings.trusted_proxies
    service.install(app)
    spoken = _spoken(settings)
    openapi.install(app, spoken, dialects.EXAMPLES)
    errors.install(app, spoken)
    _mount(app, settings)
    _join(app, settings)
    _show_pages(app, settings)
    _allow_origins(app, settings)
    return app


def _mount(app: MountedFlask, settings: Settings) -> None:
    for mount in settings.mounts:
        if mount.dialect not in dialects.REGISTRY:
            known = ", ".join(dialects.REGISTRY)
            raise SettingsError([f'{PREFIX}MOUNTS: "{mount}" names no dialect; there are {known}.'])
    try:
        app.mount_table = MountTable(settings.mounts, settings.ports)
        mount_dialects(app, app.mount_table, dialects.REGISTRY)
    except MountError as error:
        raise SettingsError([f"{PREFIX}MOUNTS: {error}."]) from None


def _spoken(settings: Settings) -> Mapping[str, Dialect]:
    if settings.session_status == DOCUMENT:
        return dialects.REGISTRY
    return {**dialects.REGISTRY, "session": session.WITH_STATUS_200}


def _show_pages(app: Flask, settings: Settings) -> None:
    if settings.docs:
        docs.install(app)
    if settings.demo:
        client = Path(app.root_path).parent / "clients" / "js" / demo.CLIENT
        demo.install(app, demo.Demo(client, settings.signup_captcha, settings.password_min_length))


def _join(app: Flask, settings: Settings) -> None:
    data = settings.data.resolve()
    secret = settings.jwt_secret or runtime.signing_key(data)
    database_url = settings.database_url or runtime.sqlite_url(data)
    database.install(app, database_url, options.database_pool(settings))
    undo.install(app, database_url, lambda: runtime.undo_folder(data))
    client = redis.connect(settings.redis_url or EmbeddedRedis(data).url, options.redis(settings))
    redis.install(app, client)
    limits.install(
        app,
        options.rates(settings),
        enabled=settings.ratelimit_enabled,
        counters=RedisRateCounters(client),
    )
    bearer.install(app, bare=settings.token_scheme == ANY)
    cookies.install(app, allowed=settings.cookies, key=_derive(secret, b"csrf"))
    client_credentials.install(app, settings.introspection_clients)
    outbox = SqlOutbox()
    metrics = Metrics()
    tracing = Tracing() if traces.is_wanted() and traces.is_installed() else None
    hasher = _hasher(settings, metrics)
    if tracing is not None:
        tracing.follow_hashes(hasher)
    admission.install(app, hasher.admission)
    cases = _use_cases(app, settings, client, secret, outbox, metrics, hasher)
    app.extensions["authsvc"] = cases
    app.extensions["authsvc-postman"] = _postman(app, settings, cases, outbox)
    _watch(app, settings, client, metrics, tracing)


def _use_cases(
    app: Flask,
    settings: Settings,
    client: redis.RedisClient,
    secret: str,
    outbox: SqlOutbox,
    metrics: Metrics,
    hasher: Argon2Hasher,
) -> UseCases:
    users, audit, vault = SqlUsers(), SqlAuditLog(), Vault(secret)
    session_policy = options.sessions(settings)
    keys = SigningKeys(
        vault, settings.jwt_algorithm, time.time, token_lifetime=session_policy.longest_token
    )
    tokens = JwtIssuer(app, secret, settings.jwt_issuer, time.time, keys)
    key = _derive(secret, b"refresh tokens")
    store, policy = RedisSessions(client), options.accounts(settings)
    sessions = Sessions(store, tokens, users, audit, time.time, key, session_policy, metrics)
    rule = PasswordRule(settings.password_min_length, CommonPasswordTable())
    guard = _guard(settings, client)
    codes = TotpCodes(settings.totp_issuer)
    second_factor = SecondFactor(users, codes, vault, guard, hasher, time.time)
    accounts = Accounts(users, hasher, rule, sessions, guard, second_factor, policy)
    recovery = Recovery(
        users,
        outbox,
        SqlMailTokens(),
        hasher,
        rule,
        sessions,
        time.time,
        options.recovery(settings),
    )
    return UseCases(
        accounts=accounts,
        captchas=_captchas(settings, client, secret, metrics),
        sessions=sessions,
        profile=Profile(users, hasher, rule, sessions, guard, policy),
        second_factor=second_factor,
        recovery=recovery,
        administration=Administration(users, hasher, rule, accounts, sessions, policy),
        passwords=Passwords(rule, ZxcvbnMeter()),
        audit=audit,
        tokens=tokens,
        keys=keys,
    )


def _guard(settings: Settings, client: redis.RedisClient) -> Guard:
    return Guard(RedisGuesses(client, options.guesses(settings)) if settings.guess_limit else None)


def _postman(app: Flask, settings: Settings, cases: UseCases, outbox: SqlOutbox) -> Postman:
    public_url = settings.public_url or f"http://localhost:{_port(settings)}"
    delivery: Delivery = FileDelivery(settings.data.resolve() / "mail")
    if settings.smtp_url is not None:
        delivery = SmtpDelivery(settings.smtp_url, socket.gethostname())
    longest = settings.audit_days * 86400
    return Postman(
        app,
        outbox,
        cases.recovery,
        Letterhead(settings.mail_from, public_url),
        delivery,
        [SqlMailTokens().prune, lambda: cases.audit.forget_before(int(time.time()) - longest)],
    )


def _watch(
    app: Flask,
    settings: Settings,
    client: redis.RedisClient,
    metrics: Metrics,
    tracing: Tracing | None,
) -> None:
    engines = connections.of(app).reads, connections.of(app).writes
    checks = health.Database(engines[0], f"{app.root_path}/migrations")
    web_health.install(
        app,
        readiness=health.Readiness(
            {
                "database": checks.answers,
                "migrations": checks.is_at_head,
                "redis": lambda: health.redis_answers(client),
            }
        ),
        exposition=metrics.exposition,
        readers=settings.metrics_allow,
    )
    if tracing is not None:
        for engine in engines:
            tracing.follow_database(engine)
        tracing.follow_redis(client)
    observing.install(app, settings.trusted_proxies, metrics, tracing)
    watch = pools.PoolWatch(
        lambda: sum(map(pools.database_connections, engines)),
        lambda: redis.connections_in_use(client),
        metrics.in_use,
    )
    watchers = [watch, undo.Undoer(app)]
    app.extensions["authsvc-watchers"] = watchers if tracing is None else [*watchers, tracing]


def _port(settings: Settings) -> int:
    return next((port for port in settings.ports if port), 8080)


def _captchas(
    settings: Settings, client: redis.RedisClient, secret: str, metrics: Metrics
) -> Captchas:
    work = AltchaWork(_derive(secret, b"proof of work"), settings.captcha_pow_max_number)
    return Captchas(
        store=RedisCaptchaStore(client, settings.captcha_max_live_total),
        painter=PaintingQueue(PillowPainter()),
        speaker=ClipSpeaker(),
        proof_of_work=work if settings.captcha_pow else None,
        clock=time.time,
        key=_derive(secret, b"captcha"),
        policy=options.captchas(settings),
        events=metrics,
    )


def _derive(secret: str, purpose: bytes) -> bytes:
    return hmac.digest(secret.encode(), b"authsvc " + purpose, "sha256")


def _hasher(settings: Settings, metrics: Metrics) -> Argon2Hasher:
    return Argon2Hasher(
        HashSlots(runtime.lock_folder(), settings.hash_slots, settings.hash_wait),
        memory_kib=settings.argon2_memory_kib,
        time_cost=settings.argon2_time_cost,
        parallelism=settings.argon2_parallelism,
        places=settings.hash_queue,
        observer=metrics,
    )


def _allow_origins(app: Flask, settings: Settings) -> None:
    if not settings.cors_origins:
        return
    allowed = [
        "*" if origin == "*" else re.compile(_pattern(origin) + r"\Z")
        for origin in settings.cors_origins
    ]
    origins.install(app, allowed, credentials=settings.cookies)


def _pattern(origin: str) -> str:
    return _LOCAL_ORIGIN if origin == LOCAL_ORIGINS else re.escape(origin)
