"""The `flask` commands of an operator."""

from flask import Flask

from authsvc.cli.accounts import create_admin, migrate
from authsvc.cli.audit import audit
from authsvc.cli.keys import keys
from authsvc.cli.transfer import export_users, import_users
from authsvc.cli.users import users
from authsvc.infra import migrations

users.add_command(import_users)
users.add_command(export_users)


def install(app: Flask) -> None:
    """Add the commands to the application, and what they need."""
    migrations.install(app)
    for command in (create_admin, migrate, users, keys, audit):
        app.cli.add_command(command)
