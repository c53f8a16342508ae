"""What an operator does once: the schema, and the first administrator."""

import os

import click
from flask.cli import with_appcontext
from flask_migrate import upgrade

from authsvc.cli.speech import ask_password, plain_errors
from authsvc.core.clients import OPERATOR
from authsvc.settings import ADMIN_PASSWORD
from authsvc.web.dialect import use_cases


@click.command("migrate")
@with_appcontext
def migrate() -> None:
    """Bring the database to the newest schema."""
    with plain_errors():
        upgrade()


@click.command("create-admin")
@click.argument("name")
@click.option("--email", help="The administrator's e-mail address.")
@with_appcontext
def create_admin(name: str, email: str | None) -> None:
    """Make an administrator called NAME.

    The password is asked for, or taken from AUTHSVC_ADMIN_PASSWORD.
    """
    password = os.environ.get(ADMIN_PASSWORD) or ask_password()
    accounts = use_cases().accounts
    with plain_errors():
        new_user = accounts.new_user(name, password, email, accounts.policy.admin_permission)
        user = accounts.create_user(None, new_user, OPERATOR)
    click.echo(f"{user.username} is an administrator (user {user.id}).")
