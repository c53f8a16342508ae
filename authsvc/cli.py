"""The `flask` commands of an operator."""

import os

import click
from flask import Flask
from flask.cli import with_appcontext
from flask_migrate import upgrade

from authsvc.core.errors import (
    AuthError,
    EmailTaken,
    InvalidEmail,
    InvalidPassword,
    InvalidUsername,
    Overloaded,
    Unavailable,
    UsernameTaken,
)
from authsvc.settings import ADMIN_PASSWORD
from authsvc.web.dialect import use_cases

_SENTENCES = {
    InvalidUsername: "A name has 1 to 64 characters and no control characters.",
    InvalidEmail: "That is not an e-mail address.",
    UsernameTaken: "There is a user of that name already.",
    EmailTaken: "There is a user with that e-mail address already.",
    Unavailable: "The database does not answer; run the migrations first, or start it.",
    Overloaded: "The machine is too busy to hash the password now; try again.",
}


def install(app: Flask) -> None:
    """Add the commands to the application."""
    app.cli.add_command(create_admin)
    app.cli.add_command(migrate)


@click.command("migrate")
@with_appcontext
def migrate() -> None:
    """Bring the database to the newest schema."""
    upgrade()


@click.command("create-admin")
@click.argument("name")
@click.option("--email", help="The administrator's e-mail address.")
@with_appcontext
def create_admin(name: str, email: str | None) -> None:
    """Make an administrator called NAME.

    The password is asked for, or taken from AUTHSVC_ADMIN_PASSWORD.
    """
    password = os.environ.get(ADMIN_PASSWORD) or _ask_password()
    accounts = use_cases().accounts
    try:
        user = accounts.register(
            accounts.new_user(name, password, email, accounts.policy.admin_permission)
        )
    except InvalidPassword as error:
        raise click.ClickException(
            f"A password has at least {error.min_length} characters and at most 1024 bytes."
        ) from None
    except AuthError as error:
        raise click.ClickException(_sentence(error)) from None
    click.echo(f"{user.username} is an administrator (user {user.id}).")


def _ask_password() -> str:
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password


def _sentence(error: BaseException) -> str:
    return next(text for kind, text in _SENTENCES.items() if isinstance(error, kind))
