"""`flask users`: the users, one at a time."""

import click
from flask.cli import with_appcontext

from authsvc.cli.speech import password_given, plain_errors, user_given
from authsvc.cli.tables import local_time, show_json, show_table
from authsvc.core.clients import OPERATOR
from authsvc.core.ports import UserQuery
from authsvc.core.users import User
from authsvc.dialects.native.shapes import user_shape
from authsvc.web.dialect import use_cases

PAGE = 200
PERMISSION = click.IntRange(0, 2**31 - 1)

_COLUMNS = ("Id", "Name", "E-mail", "Verified", "Permission", "State", "Codes", "Created (UTC)")
_stdin = click.option("--password-stdin", is_flag=True, help="Read the password from stdin.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead, for scripts.")


@click.group("users")
def users() -> None:
    """Administer users; a USER is a name, or an id such as '#12'."""


@users.command("list")
@click.option("--search", default="", help="The beginning of the name or the e-mail address.")
@click.option("--permission", type=PERMISSION, help="Only users with exactly this permission.")
@click.option("--state", type=click.Choice(["enabled", "disabled"]), help="Only such users.")
@click.option("--after", type=click.IntRange(0, 10**18), default=0, help="Only greater ids.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@_json
@with_appcontext
def list_users(
    search: str, permission: int | None, state: str | None, after: int, limit: int, as_json: bool
) -> None:
    """List users in the order of their ids; with --json, one user on each line."""
    disabled = None if state is None else state == "disabled"
    query = UserQuery(min(limit, 10**9) + 1, after, _clean(search), permission, disabled)
    with plain_errors():
        found = use_cases().administration.find(query)
    shown = found[:limit]
    if as_json:
        for user in shown:
            show_json(user_shape(user))
        return
    show_table(_COLUMNS, map(_row, shown))
    if len(found) > limit:
        click.echo(f"There are more: --after {shown[-1].id}")


@users.command("create")
@click.argument("name")
@click.option("--email", help="The user's e-mail address.")
@click.option("--permission", type=PERMISSION, default=0, show_default=True)
@_stdin
@_json
@with_appcontext
def create(
    name: str, email: str | None, permission: int, password_stdin: bool, as_json: bool
) -> None:
    """Make a user called NAME.

    The password is asked for, or taken from AUTHSVC_USER_PASSWORD or standard input.
    """
    password = password_given(password_stdin)
    with plain_errors():
        new_user = use_cases().accounts.new_user(name, password, email, permission, strict=True)
        user = use_cases().administration.create(None, new_user, OPERATOR)
    if as_json:
        show_json(user_shape(user))
    else:
        click.echo(f"{user.username} is user {user.id}.")


@users.command("disable")
@click.argument("user")
@with_appcontext
def disable(user: str) -> None:
    """Let USER do nothing any more, and end all sessions."""
    with plain_errors():
        target = user_given(user)
        use_cases().administration.edit(None, target.id, OPERATOR, disabled=True)
    click.echo(f"{target.username} is disabled, and logged out everywhere.")


@users.command("enable")
@click.argument("user")
@with_appcontext
def enable(user: str) -> None:
    """Let a disabled USER log in again."""
    with plain_errors():
        target = user_given(user)
        use_cases().administration.edit(None, target.id, OPERATOR, disabled=False)
    click.echo(f"{target.username} is enabled.")


@users.command("set-permission")
@click.argument("user")
@click.argument("permission", type=PERMISSION)
@with_appcontext
def set_permission(user: str, permission: int) -> None:
    """Give USER a PERMISSION; 0 is an ordinary user's."""
    with plain_errors():
        target = user_given(user)
        use_cases().administration.edit(None, target.id, OPERATOR, permission=permission)
    click.echo(f"{target.username} has permission {permission}.")


@users.command("set-password")
@click.argument("user")
@_stdin
@with_appcontext
def set_password(user: str, password_stdin: bool) -> None:
    """Give USER another password, and end all sessions.

    The password is asked for, or taken from AUTHSVC_USER_PASSWORD or standard input.
    """
    with plain_errors():
        target = user_given(user)
        password = password_given(password_stdin)
        use_cases().administration.set_password(None, target.id, password, OPERATOR)
    click.echo(f"{target.username} has another password, and is logged out everywhere.")


@users.command("remove-totp")
@click.argument("user")
@with_appcontext
def remove_totp(user: str) -> None:
    """Ask USER for no one-time codes any more."""
    with plain_errors():
        target = user_given(user)
        use_cases().administration.remove_second_factor(None, target.id, OPERATOR)
    click.echo(f"{target.username} logs in without a code.")


@users.command("logout")
@click.argument("user")
@with_appcontext
def log_out(user: str) -> None:
    """End all sessions of USER."""
    with plain_errors():
        target = user_given(user)
        use_cases().administration.log_out(None, target.id, OPERATOR)
    click.echo(f"{target.username} is logged out everywhere.")


@users.command("delete")
@click.argument("user")
@click.option("--yes", is_flag=True, help="Do not ask whether this is meant.")
@with_appcontext
def delete(user: str, yes: bool) -> None:
    """Delete USER."""
    with plain_errors():
        target = user_given(user)
        if not yes:
            click.confirm(f"Delete {target.username} (user {target.id})?", abort=True)
        use_cases().administration.delete(None, target.id, OPERATOR)
    click.echo(f"{target.username} is deleted.")


def _clean(search: str) -> str:
    """Drop what the terminal sent that is not text, and no name has."""
    return search.encode(errors="replace").decode()


def _row(user: User) -> tuple[object, ...]:
    return (
        user.id,
        user.username,
        user.email or "",
        "yes" if user.email_verified else "",
        user.permission,
        "disabled" if user.disabled else "enabled",
        "on" if user.totp_on else "",
        local_time(user.created_at),
    )
