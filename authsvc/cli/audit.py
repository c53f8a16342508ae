"""`flask audit`: who did what to whom."""

import json
import time

import click
from flask.cli import with_appcontext

from authsvc.cli.speech import id_given, plain_errors, user_given
from authsvc.cli.tables import local_time, show_json, show_table
from authsvc.core.audit import Record
from authsvc.dialects.native.users import entry_shape
from authsvc.web.dialect import use_cases

_COLUMNS = ("Id", "At (UTC)", "Action", "By", "To", "From", "Details")
_DAY = 86400


@click.group("audit", invoke_without_command=True)
@click.option("--user", help="Only what this user (a name, or '#12') did or suffered.")
@click.option("--action", help="Only this action, such as user.disabled.")
@click.option("--limit", type=click.IntRange(1, 10**9), default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print an entry on each line as JSON.")
@click.pass_context
@with_appcontext
def audit(
    context: click.Context, user: str | None, action: str | None, limit: int, as_json: bool
) -> None:
    """Show the audit log, the newest first."""
    if context.invoked_subcommand is not None:
        return
    with plain_errors():
        user_id = None if user is None else id_given(user) or user_given(user).id
        records = use_cases().audit.page(before=None, limit=limit, user_id=user_id, action=action)
    if not as_json:
        show_table(_COLUMNS, map(_row, records), widest=60)
        return
    for record in records:
        show_json(entry_shape(record))


@audit.command("prune")
@click.option("--days", type=click.IntRange(1, 36500), required=True, help="How many to keep.")
@with_appcontext
def prune(days: int) -> None:
    """Drop the entries that are older than so many days."""
    with plain_errors():
        dropped = use_cases().audit.forget_before(int(time.time()) - days * _DAY)
    click.echo(f"{dropped} entries are dropped.")


def _row(record: Record) -> tuple[object, ...]:
    return (
        record.id,
        local_time(record.at),
        record.action,
        _person(record.actor_id, record.actor),
        _person(record.target_id, record.target),
        record.address,
        json.dumps(record.details, ensure_ascii=False) if record.details else "",
    )


def _person(user_id: int | None, name: str) -> str:
    return "" if user_id is None else f"{name} (#{user_id})"
