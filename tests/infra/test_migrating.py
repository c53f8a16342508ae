"""The commands that migrate, run for real: twice at once, and not at all."""

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect
from sqlalchemy.pool import NullPool

from tests.infra.databases import sqlite_url
from tests.support.processes import clean_environment

ROOT = Path(__file__).parents[2]
MIGRATE, UPGRADE = ("migrate",), ("db", "upgrade")


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.mariadb)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    url: str = request.getfixturevalue("mariadb").create_database()
    return url


def begin(url: str, data: Path, *command: str) -> "subprocess.Popen[str]":
    """Start a command of an operator."""
    settings = {
        "AUTHSVC_DATABASE_URL": url,
        "AUTHSVC_DATA": str(data),
        "AUTHSVC_REDIS_URL": "redis://127.0.0.1:1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "wsgi", *command],
        cwd=ROOT,
        env={**clean_environment(), **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_of_those_who_migrate_at_once_one_does_and_all_succeed(url: str, tmp_path: Path) -> None:
    begun = [begin(url, tmp_path, *command) for command in (MIGRATE, UPGRADE, MIGRATE)]
    told = [process.communicate(timeout=60)[1] for process in begun]
    assert [process.returncode for process in begun] == [0, 0, 0], told
    assert sum("Running upgrade" in log for log in told) == 1
    assert "users" in inspect(create_engine(url, poolclass=NullPool)).get_table_names()


def test_a_command_before_the_first_migration_ends_in_a_sentence(url: str, tmp_path: Path) -> None:
    process = begin(url, tmp_path, "users", "list")
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "run the migrations first" in told
    assert "Traceback" not in told


@pytest.mark.mariadb
def test_a_migration_without_a_database_ends_in_a_sentence(tmp_path: Path) -> None:
    process = begin("mysql+pymysql://u:p@127.0.0.1:1/name", tmp_path, *MIGRATE)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "The database does not answer" in told
    assert "Traceback" not in told


def test_a_process_that_serves_does_not_import_the_commands_of_migrations(tmp_path: Path) -> None:
    program = "import sys, wsgi; sys.exit('flask_migrate' in sys.modules)"
    settings = {"AUTHSVC_DATA": str(tmp_path), "AUTHSVC_REDIS_URL": "redis://127.0.0.1:1"}
    subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**clean_environment(), **settings},
        timeout=60,
        check=True,
    )
