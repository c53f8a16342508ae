"""`flask users import` and `export`: all users, a line each."""

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import BinaryIO

import click
from flask.cli import with_appcontext

from authsvc.cli.lines import MalformedLine, lines_of, read_line, write_line
from authsvc.cli.speech import plain_errors, sentence_of
from authsvc.cli.tables import show_json
from authsvc.cli.users import PAGE
from authsvc.core.audit import EXPORTED, IMPORTED, Entry
from authsvc.core.clients import OPERATOR
from authsvc.core.errors import AuthError, Overloaded, Unavailable, UsernameTaken
from authsvc.core.ports import UserQuery
from authsvc.web.dialect import use_cases


@dataclass(slots=True)
class Tally:
    """What became of the lines."""

    imported: int = 0
    skipped: int = 0
    failed: int = 0


@click.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--skip-existing", is_flag=True, help="Pass over users whose name is taken.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@with_appcontext
def import_users(file: BinaryIO, skip_existing: bool, as_json: bool) -> None:
    """Add the users of FILE ('-' is standard input), a JSON object on each line.

    Fields: username; password, or passwordHash as argon2, bcrypt, Django (PBKDF2, bcrypt,
    argon2) or werkzeug (PBKDF2, scrypt) write it; and, if wanted, email, emailVerified,
    permission, data, disabled.

    Each user is stored for good before the next line is read: after an interruption, run
    the command again with --skip-existing. The status is 1 if any line failed.
    """
    tally = Tally()
    with plain_errors():
        try:
            with _progress(file) as advance:
                for number, line in enumerate(lines_of(file), 1):
                    _import_line(number, line, tally, skip_existing)
                    advance(len(line))
        finally:
            use_cases().audit.append(Entry(IMPORTED, None, None, OPERATOR, asdict(tally)))
    _report(tally, as_json)


@click.command("export")
@click.argument("file", default="-", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--with-hashes", is_flag=True, help="Write the password hashes too.")
@with_appcontext
def export_users(file: str, with_hashes: bool) -> None:
    """Write all users to FILE, which must not exist yet, or to standard output.

    `flask users import` reads what is written with --with-hashes. Ids, one-time codes and
    sessions are not written.
    """
    with plain_errors(), _created(file) as out:
        use_cases().audit.append(Entry(EXPORTED, None, None, OPERATOR, {"hashes": with_hashes}))
        after = 0
        while page := use_cases().administration.find(UserQuery(PAGE, after)):
            for user in page:
                out.write(write_line(user, with_hash=with_hashes))
            after = page[-1].id


def _import_line(number: int, line: bytes, tally: Tally, skip_existing: bool) -> None:
    if not line.strip():
        return
    try:
        use_cases().administration.admit(read_line(line))
        tally.imported += 1
    except MalformedLine as fault:
        _fail(number, str(fault), tally)
    except (Unavailable, Overloaded):
        _say(f"Stopped at line {number}: {tally.imported} users are stored.")
        raise
    except UsernameTaken as error:
        if skip_existing:
            tally.skipped += 1
        else:
            _fail(number, sentence_of(error), tally)
    except AuthError as error:
        _fail(number, sentence_of(error), tally)


def _fail(number: int, sentence: str, tally: Tally) -> None:
    tally.failed += 1
    _say(f"line {number}: {sentence}")


def _say(sentence: str) -> None:
    """Print a line of its own on standard error, where a progress bar may stand."""
    click.echo(f"\r\x1b[K{sentence}" if sys.stderr.isatty() else sentence, err=True)


def _report(tally: Tally, as_json: bool) -> None:
    if as_json:
        show_json(asdict(tally))
    else:
        click.echo(f"{tally.imported} imported, {tally.skipped} skipped, {tally.failed} failed.")
    if tally.failed:
        raise click.exceptions.Exit(1)


@contextmanager
def _progress(file: BinaryIO) -> Iterator[Callable[[int], None]]:
    """Show how much has been read, if that can be known and somebody looks."""
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode) or not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(length=status.st_size, label="Importing", file=sys.stderr) as bar:
        yield bar.update


@contextmanager
def _created(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdout.buffer
        return
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}.") from None
    with open(descriptor, "wb") as out:
        yield out
