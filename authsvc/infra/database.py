"""The database: its tables, its connections, and what its failures mean."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    BigInteger,
    Connection,
    DateTime,
    Engine,
    ForeignKey,
    Integer,
    String,
    Text,
    event,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from authsvc.core.errors import UsersUnavailable
from authsvc.core.users import EMAIL_MAX_LENGTH, LONGEST_FOLDING, USERNAME_MAX_LENGTH

MIGRATIONS = "authsvc/migrations"
_DEADLOCK, _LOCK_WAIT_TIMEOUT = 1213, 1205
_WRITES = "authsvc_writes"
_USER_ID = "users.id"


class Base(DeclarativeBase):
    """The base of the models."""


db = SQLAlchemy(model_class=Base)


def _key(length: int) -> String:
    """Text that is compared code point by code point, on every database alike."""
    binary = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return String(length).with_variant(binary, "mysql", "mariadb")


def _id() -> Any:
    """A number that SQLite can give by itself too."""
    return BigInteger().with_variant(Integer, "sqlite")


class UserRow(db.Model):  # type: ignore[name-defined,misc]
    """A user, as stored. Ids are never given twice."""

    __tablename__ = "users"
    __table_args__ = {"sqlite_autoincrement": True, "mysql_charset": "utf8mb4"}

    id: Mapped[int] = mapped_column(_id(), primary_key=True, autoincrement=True)
    username: Mapped[str] = mapped_column(String(USERNAME_MAX_LENGTH))
    username_key: Mapped[str] = mapped_column(
        _key(USERNAME_MAX_LENGTH * LONGEST_FOLDING), unique=True
    )
    email: Mapped[str | None] = mapped_column(String(EMAIL_MAX_LENGTH))
    email_key: Mapped[str | None] = mapped_column(
        _key(EMAIL_MAX_LENGTH * LONGEST_FOLDING), unique=True
    )
    permission: Mapped[int] = mapped_column(Integer, index=True)
    data: Mapped[str] = mapped_column(Text)
    password_hash: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(DateTime, default=lambda: datetime.now(UTC))
    email_verified: Mapped[bool] = mapped_column(default=False, server_default=text("0"))
    disabled: Mapped[bool] = mapped_column(default=False, server_default=text("0"))
    epoch: Mapped[int] = mapped_column(Integer, default=0, server_default=text("0"))
    totp_secret: Mapped[str | None] = mapped_column(String(255))
    totp_on: Mapped[bool] = mapped_column(default=False, server_default=text("0"))
    totp_step: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))


class RecoveryCodeRow(db.Model):  # type: ignore[name-defined,misc]
    """A code that stands in for a one-time code, once."""

    __tablename__ = "recovery_codes"
    __table_args__ = {"mysql_charset": "utf8mb4"}

    user_id: Mapped[int] = mapped_column(
        _id(), ForeignKey(_USER_ID, ondelete="CASCADE"), primary_key=True
    )
    code_hash: Mapped[str] = mapped_column(_key(64), primary_key=True)


class MailTokenRow(db.Model):  # type: ignore[name-defined,misc]
    """What a mail proves: whoever shows the token received it."""

    __tablename__ = "mail_tokens"
    __table_args__ = {"mysql_charset": "utf8mb4"}

    token_hash: Mapped[str] = mapped_column(_key(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(
        _id(), ForeignKey(_USER_ID, ondelete="CASCADE"), index=True
    )
    purpose: Mapped[str] = mapped_column(String(16))
    email: Mapped[str] = mapped_column(String(EMAIL_MAX_LENGTH))
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)


class LetterRow(db.Model):  # type: ignore[name-defined,misc]
    """A mail that is to be written and sent, outside the request that asked for it."""

    __tablename__ = "outbox"
    __table_args__ = {"sqlite_autoincrement": True, "mysql_charset": "utf8mb4"}

    id: Mapped[int] = mapped_column(_id(), primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(16))
    user_id: Mapped[int | None] = mapped_column(_id())
    address: Mapped[str | None] = mapped_column(String(EMAIL_MAX_LENGTH))
    language: Mapped[str] = mapped_column(String(8))
    created_at: Mapped[int] = mapped_column(BigInteger)
    next_try_at: Mapped[int] = mapped_column(BigInteger, index=True)
    tries: Mapped[int] = mapped_column(Integer)


class SigningKeyRow(db.Model):  # type: ignore[name-defined,misc]
    """A key that signs access tokens; its private half is sealed."""

    __tablename__ = "signing_keys"
    __table_args__ = {"mysql_charset": "utf8mb4"}

    kid: Mapped[str] = mapped_column(_key(43), primary_key=True)
    algorithm: Mapped[str] = mapped_column(String(8))
    private_key: Mapped[str] = mapped_column(Text)
    public_key: Mapped[str] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(BigInteger)
    signs_from: Mapped[int] = mapped_column(BigInteger)


class AuditRow(db.Model):  # type: ignore[name-defined,misc]
    """Who did what to whom. Rows are added, and dropped when they are old; never changed."""

    __tablename__ = "audit_log"
    __table_args__ = {"sqlite_autoincrement": True, "mysql_charset": "utf8mb4"}

    id: Mapped[int] = mapped_column(_id(), primary_key=True, autoincrement=True)
    at: Mapped[int] = mapped_column(BigInteger, index=True)
    action: Mapped[str] = mapped_column(String(32))
    actor_id: Mapped[int | None] = mapped_column(_id(), index=True)
    actor: Mapped[str] = mapped_column(String(USERNAME_MAX_LENGTH))
    target_id: Mapped[int | None] = mapped_column(_id(), index=True)
    target: Mapped[str] = mapped_column(String(USERNAME_MAX_LENGTH))
    address: Mapped[str] = mapped_column(String(45))
    request_id: Mapped[str] = mapped_column(String(64))
    details: Mapped[str] = mapped_column(Text)


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """Connections to the database: counts, and times in seconds."""

    size: int
    overflow: int
    wait: int
    recycle: int
    connect_timeout: int
    read_timeout: int
    write_timeout: int


def install(app: Flask, url: str, pool: PoolOptions) -> None:
    """Give the application its database; nothing is connected yet."""
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
        "hide_parameters": True,  # they hold names, addresses and hashes; errors are logged
        "pool_pre_ping": True,
        "pool_size": pool.size,
        "max_overflow": pool.overflow,
        "pool_timeout": pool.wait,
        "pool_recycle": pool.recycle,
        **_driver_options(url, pool),
    }
    db.init_app(app)
    Migrate(app, db, directory=f"{app.root_path}/migrations")
    with app.app_context():
        _prepare(db.engine)


def _driver_options(url: str, pool: PoolOptions) -> dict[str, Any]:
    if make_url(url).get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": pool.write_timeout}}
    lock_wait = max(1, pool.read_timeout - 1)
    return {
        "isolation_level": "READ COMMITTED",
        "connect_args": {
            "charset": "utf8mb4",
            "connect_timeout": pool.connect_timeout,
            "read_timeout": pool.read_timeout,
            "write_timeout": pool.write_timeout,
            "init_command": f"SET SESSION innodb_lock_wait_timeout = {lock_wait}",
        },
    }


def _prepare(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def connected(*, writes: bool = False) -> Iterator[Connection]:
    """Lend a connection, in a transaction that is rolled back unless it is committed.

    Raises:
        UsersUnavailable: the database did not answer.
    """
    try:
        with db.engine.connect().execution_options(**{_WRITES: writes}) as connection:
            yield connection
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        raise UsersUnavailable from error


def is_worth_repeating(error: BaseException | None) -> bool:
    """Tell whether the database undid the transaction only because another stood in its way."""
    return isinstance(error, DBAPIError) and _code(error) in (_DEADLOCK, _LOCK_WAIT_TIMEOUT)


def lost_connection(error: DBAPIError) -> bool:
    """Tell whether the connection broke, so that the outcome of a COMMIT is not known."""
    return error.connection_invalidated


def _code(error: DBAPIError) -> object:
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments else None
