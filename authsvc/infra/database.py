"""The database: its tables, and how an application is given it."""

from datetime import UTC, datetime
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import BigInteger, DateTime, ForeignKey, Integer, String, Text, create_engine, text
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from authsvc.core.users import EMAIL_MAX_LENGTH, LONGEST_FOLDING, USERNAME_MAX_LENGTH
from authsvc.infra import connections, deadlines, hosts
from authsvc.infra.connections import PoolOptions

MIGRATIONS = "authsvc/migrations"
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


def install(app: Flask, url: str, pool: PoolOptions) -> None:
    """Give the application its database; nothing is connected yet.

    Args:
        app: the application.
        url: of the database, with one host or several.
        pool: how it is connected to.
    """
    plain, places = hosts.parse(url)
    options = connections.engine_options(plain, pool)
    app.config["SQLALCHEMY_DATABASE_URI"] = plain
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = options
    db.init_app(app)
    deadlines.install(app)
    with app.app_context():
        writes = db.engine
    reads = create_engine(
        plain, **options, isolation_level="AUTOCOMMIT", skip_autocommit_rollback=True
    )
    connections.install(app, connections.Connections(writes, reads, places, pool))
