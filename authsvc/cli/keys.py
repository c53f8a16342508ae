"""`flask keys`: the keys that sign access tokens."""

import time
from dataclasses import asdict

import click
from flask.cli import with_appcontext

from authsvc.cli.speech import plain_errors
from authsvc.cli.tables import local_time, show_json, show_table
from authsvc.core.audit import KEYS_ROTATED, Entry
from authsvc.core.clients import OPERATOR
from authsvc.infra.signing_keys import KeyStatus, NothingToRotate
from authsvc.web.dialect import use_cases

_COLUMNS = ("Id", "Algorithm", "State", "Made (UTC)", "Signs from (UTC)", "Ends (UTC)")


@click.group("keys")
def keys() -> None:
    """Look after the keys that sign access tokens."""


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a key on each line as JSON.")
@with_appcontext
def list_keys(as_json: bool) -> None:
    """List the keys in the order in which they sign."""
    with plain_errors():
        statuses = use_cases().keys.statuses()
    if not as_json:
        show_table(_COLUMNS, map(_row, statuses), widest=43)
        return
    for status in statuses:
        show_json(asdict(status))


@keys.command("rotate")
@with_appcontext
def rotate() -> None:
    """Make a key that signs later, once every node knows it; the present one stays good."""
    with plain_errors():
        try:
            key = use_cases().keys.rotate(time.time())
        except NothingToRotate:
            raise click.ClickException(
                "Tokens are signed with AUTHSVC_JWT_SECRET (HS256): there is no key to rotate."
            ) from None
        details = {"kid": key.kid, "algorithm": key.algorithm}
        use_cases().audit.append(Entry(KEYS_ROTATED, None, None, OPERATOR, details))
    click.echo(f"{key.kid} ({key.algorithm}) signs from {local_time(key.signs_from)} UTC on.")


def _row(status: KeyStatus) -> tuple[object, ...]:
    return (
        status.kid,
        status.algorithm,
        status.state,
        local_time(status.created_at),
        local_time(status.signs_from),
        "" if status.ends_at is None else local_time(status.ends_at),
    )
