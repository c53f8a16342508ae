"""What an application lives with: verified addresses, codes, mail, signing keys, the audit log."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TABLE: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_engine": "InnoDB"}
_ADDED = (
    "email_verified",
    "disabled",
    "epoch",
    "totp_secret",
    "totp_on",
    "totp_step",
)


def _key(length: int) -> sa.String:
    binary = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return sa.String(length).with_variant(binary, "mysql", "mariadb")


def _id() -> sa.BigInteger:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _own_id() -> sa.Column[int]:
    return sa.Column("id", _id(), primary_key=True, autoincrement=True)


def _of_a_user(**also: Any) -> sa.Column[int]:
    return sa.Column(
        "user_id", _id(), sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False, **also
    )


def upgrade() -> None:
    """Add what is known of users, and the tables beside them."""
    _add_columns()
    _make_codes_and_tokens()
    _make_outbox()
    _make_keys()
    _make_audit_log()


def _add_columns() -> None:
    zero = sa.text("0")
    for column in (
        sa.Column("email_verified", sa.Boolean, nullable=False, server_default=zero),
        sa.Column("disabled", sa.Boolean, nullable=False, server_default=zero),
        sa.Column("epoch", sa.Integer, nullable=False, server_default=zero),
        sa.Column("totp_secret", sa.String(255), nullable=True),
        sa.Column("totp_on", sa.Boolean, nullable=False, server_default=zero),
        sa.Column("totp_step", sa.BigInteger, nullable=False, server_default=zero),
    ):
        op.add_column("users", column)
    op.create_index("ix_users_permission", "users", ["permission"])


def _make_codes_and_tokens() -> None:
    op.create_table(
        "recovery_codes",
        _of_a_user(primary_key=True),
        sa.Column("code_hash", _key(64), primary_key=True),
        **_TABLE,
    )
    op.create_table(
        "mail_tokens",
        sa.Column("token_hash", _key(64), primary_key=True),
        _of_a_user(index=True),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
        **_TABLE,
    )


def _make_outbox() -> None:
    op.create_table(
        "outbox",
        _own_id(),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("user_id", _id(), nullable=True),
        sa.Column("address", sa.String(254), nullable=True),
        sa.Column("language", sa.String(8), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("next_try_at", sa.BigInteger, nullable=False, index=True),
        sa.Column("tries", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
        **_TABLE,
    )


def _make_keys() -> None:
    op.create_table(
        "signing_keys",
        sa.Column("kid", _key(43), primary_key=True),
        sa.Column("algorithm", sa.String(8), nullable=False),
        sa.Column("private_key", sa.Text, nullable=False),
        sa.Column("public_key", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("signs_from", sa.BigInteger, nullable=False),
        **_TABLE,
    )


def _make_audit_log() -> None:
    op.create_table(
        "audit_log",
        _own_id(),
        sa.Column("at", sa.BigInteger, nullable=False, index=True),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("actor_id", _id(), nullable=True, index=True),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("target_id", _id(), nullable=True, index=True),
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("address", sa.String(45), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sqlite_autoincrement=True,
        **_TABLE,
    )


def downgrade() -> None:
    """Drop what was added."""
    for table in ("audit_log", "signing_keys", "outbox", "mail_tokens", "recovery_codes"):
        op.drop_table(table)
    op.drop_index("ix_users_permission", "users")
    for column in _ADDED:
        op.drop_column("users", column)
