"""How Alembic reaches the application's database."""

from alembic import context
from flask import current_app

from authsvc.infra.migrations import turn

database = current_app.extensions["migrate"].db


def run_migrations() -> None:
    """Run the migrations on one connection, each in a transaction where the database has them."""
    with turn() as connection:
        context.configure(
            connection=connection,
            target_metadata=database.metadata,
            render_as_batch=connection.dialect.name == "sqlite",
            compare_type=True,
        )
        with context.begin_transaction():
            context.run_migrations()


run_migrations()
