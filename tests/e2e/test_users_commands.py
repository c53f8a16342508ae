"""The operator's commands, run as an operator runs them."""

import contextlib
import json
import os
import pty
import re
import signal
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from tests.e2e.frontends import FAST
from tests.support.service import ROOT, Service

PASSWORD = "correct horse battery"
Run = subprocess.CompletedProcess[str]


class Operator:
    """Someone at the command line of one service, which need not run."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def users(self, *arguments: str, **options: Any) -> Run:
        return self.flask("users", *arguments, **options)

    def flask(self, *arguments: str, stdin: str = "", password: str | None = None) -> Run:
        env = self.service.environment()
        if password is not None:
            env |= {"AUTHSVC_USER_PASSWORD": password}
        return subprocess.run(
            command(*arguments),
            cwd=ROOT,
            env=env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def create(self, name: str, *options: str) -> dict[str, Any]:
        return json_of(self.users("create", name, "--json", *options, password=PASSWORD))

    def listed(self, *options: str) -> list[dict[str, Any]]:
        return lines_of(self.users("list", "--json", "--limit", "1000", *options))

    def log(self, *options: str) -> list[dict[str, Any]]:
        return lines_of(self.flask("audit", "--json", *options))


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "flask", "--app", "wsgi", *arguments]


def lines_of(run: Run) -> list[dict[str, Any]]:
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def read_all(terminal: int) -> str:
    """Read what is shown on a terminal until nobody writes to it any more."""
    shown = b""
    with contextlib.suppress(OSError), os.fdopen(terminal, "rb", buffering=0) as screen:
        while some := screen.read(4096):
            shown += some
    return shown.decode()


def json_of(run: Run) -> dict[str, Any]:
    [value] = lines_of(run)
    return value


def fails_with(run: Run, sentence: str) -> None:
    assert run.returncode == 1, run.stdout + run.stderr
    assert run.stderr.strip().splitlines()[-1] == f"Error: {sentence}"
    assert "Traceback" not in run.stderr


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    """An operator of a service on SQLite."""
    return operator_of(Service(tmp_path_factory.mktemp("operator"), FAST))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("sqlite", id="sqlite"),
        pytest.param(
            "mariadb", id="mariadb", marks=[pytest.mark.mariadb, pytest.mark.redis_server]
        ),
    ],
)
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    """An operator of a service on SQLite, or on MariaDB and Redis."""
    if request.param == "sqlite":
        operator: Operator = request.getfixturevalue("operator")
        return operator
    stores = {
        "AUTHSVC_DATABASE_URL": request.getfixturevalue("mariadb").create_database(),
        "AUTHSVC_REDIS_URL": request.getfixturevalue("redis_server").url,
    }
    return operator_of(Service(tmp_path_factory.mktemp("operator"), FAST | stores))


def operator_of(service: Service) -> Operator:
    service.migrate()
    operator = Operator(service)
    operator.create("root", "--permission", "9")
    return operator


class TestUsers:
    def test_a_user_is_created_shown_and_deleted(self, operator: Operator) -> None:
        user = operator.create("王小明", "--email", "wang@example.com", "--permission", "1")
        assert user | {"id": 0, "createdAt": ""} == {
            "id": 0,
            "username": "王小明",
            "email": "wang@example.com",
            "emailVerified": False,
            "permission": 1,
            "disabled": False,
            "totp": False,
            "data": {},
            "createdAt": "",
        }
        assert operator.listed("--search", "王") == [user]
        run = operator.users("delete", "王小明", "--yes")
        assert (run.returncode, run.stdout) == (0, "王小明 is deleted.\n")
        assert operator.listed("--search", "王") == []

    def test_a_user_is_named_by_any_spelling_or_by_id(self, operator: Operator) -> None:
        user = operator.create("Straße")
        assert operator.users("disable", "STRASSE").stdout == (
            "Straße is disabled, and logged out everywhere.\n"
        )
        assert operator.listed("--search", "strasse")[0]["disabled"] is True
        assert operator.users("enable", f"#{user['id']}").stdout == "Straße is enabled.\n"
        assert operator.listed("--search", "strasse")[0]["disabled"] is False
        run = operator.users("set-permission", "straße", "2")
        assert run.stdout == "Straße has permission 2.\n"
        run = operator.users("logout", "straße")
        assert run.stdout == "Straße is logged out everywhere.\n"
        actions = [entry["action"] for entry in operator.log("--user", "straße")]
        assert actions == [
            "user.logged_out",
            "user.edited",
            "user.enabled",
            "user.disabled",
            "user.created",
        ]

    def test_passwords_come_from_standard_input_too(self, operator: Operator) -> None:
        run = operator.users("create", "typist", "--password-stdin", stdin=f"{PASSWORD}\n")
        assert re.fullmatch(r"typist is user \d+\.\n", run.stdout)
        run = operator.users("set-password", "typist", "--password-stdin", stdin="otter 4 fish\n")
        assert run.stdout == "typist has another password, and is logged out everywhere.\n"
        [entry] = operator.log("--user", "typist", "--action", "password.set")
        assert "otter" not in json.dumps(entry)
        assert entry["actor"] is None

    def test_a_fault_is_one_sentence_and_status_1(self, operator: Operator) -> None:
        operator.create("taken", "--email", "taken@example.com")
        faults: Sequence[tuple[tuple[str, ...], str]] = [
            (("disable", "nobody"), "There is no such user."),
            (("disable", "#999999"), "There is no such user."),
            (("disable", "a\nb"), "There is no such user."),
            (("create", "TAKEN"), "There is a user of that name already."),
            (("create", "a\x1b[2J"), "A name has 1 to 64 characters and no control characters."),
            (("create", "new", "--email", "x"), "That is not an e-mail address."),
            (
                ("create", "new", "--email", "TAKEN@example.com"),
                "There is a user with that e-mail address already.",
            ),
        ]
        for arguments, sentence in faults:
            fails_with(operator.users(*arguments, password=PASSWORD), sentence)
        for password, sentence in (
            ("short", "A password has at least 8 characters and at most 1024 bytes."),
            ("password1", "That password is one of those that people use most."),
            ("taken2026", "That password is made of the user name."),
        ):
            fails_with(operator.users("set-password", "taken", password=password), sentence)

    def test_the_last_administrator_stays(self, operator: Operator) -> None:
        assert [user["username"] for user in operator.listed("--permission", "9")] == ["root"]
        for user in operator.listed():
            if user["permission"] and user["username"] != "root":
                operator.users("set-permission", f"#{user['id']}", "0")
        last = "Nobody would be left who can administer."
        fails_with(operator.users("disable", "root"), last)
        fails_with(operator.users("set-permission", "root", "0"), last)
        fails_with(operator.users("delete", "root", "--yes"), last)

    def test_two_operators_who_demote_each_a_last_administrator_leave_one(
        self, either: Operator
    ) -> None:
        either.create("second", "--permission", "9")
        for _ in range(3):
            with ThreadPoolExecutor(2) as pool:
                runs = list(
                    pool.map(
                        lambda name: either.users("set-permission", name, "0"),
                        ("root", "second"),
                    )
                )
            assert Counter(run.returncode for run in runs) == {0: 1, 1: 1}
            assert len(either.listed("--permission", "9")) == 1
            for name in ("root", "second"):
                assert either.users("set-permission", name, "9").returncode == 0
        either.users("delete", "second", "--yes")


class TestTables:
    def test_a_table_is_aligned_and_clipped_by_columns_of_the_terminal(
        self, operator: Operator
    ) -> None:
        operator.create("表" * 40)
        operator.create("表1e5")
        run = operator.users("list", "--search", "表")
        header, rule, first, second = run.stdout.splitlines()
        assert header.split()[:4] == ["Id", "Name", "E-mail", "Verified"]
        assert "表" * 19 + "…" in first
        assert "表" * 20 not in first
        assert "表1e5 " in second
        assert set(rule) == {"-", " "}

    def test_a_table_says_that_there_is_more_and_where(self, operator: Operator) -> None:
        ids = [operator.create(f"many{number}")["id"] for number in range(3)]
        run = operator.users("list", "--search", "many", "--limit", "2")
        assert run.stdout.splitlines()[-1] == f"There are more: --after {ids[1]}"
        run = operator.users("list", "--search", "many", "--limit", "2", "--after", str(ids[1]))
        assert "many2" in run.stdout
        assert "There are more" not in run.stdout

    def test_filters_are_joined(self, operator: Operator) -> None:
        operator.create("filter-a", "--permission", "3")
        operator.create("filter-b", "--permission", "3")
        operator.users("disable", "filter-b")
        found = operator.listed("--search", "filter", "--state", "disabled", "--permission", "3")
        assert [user["username"] for user in found] == ["filter-b"]


class TestTransfer:
    def test_what_is_exported_can_be_imported(self, either: Operator, tmp_path: Path) -> None:
        either.create("mover", "--email", "mover@example.com", "--permission", "2")
        either.users("disable", "mover")
        file, again = tmp_path / "users.jsonl", tmp_path / "again.jsonl"
        assert either.users("export", str(file), "--with-hashes").returncode == 0
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        [line] = [line for line in file.read_text().splitlines() if '"mover"' in line]
        assert json.loads(line)["passwordHash"].startswith("$argon2id$")

        either.users("delete", "mover", "--yes")
        (tmp_path / "one.jsonl").write_text(line + "\n")
        run = either.users("import", str(tmp_path / "one.jsonl"))
        assert (run.returncode, run.stdout) == (0, "1 imported, 0 skipped, 0 failed.\n")
        either.users("export", str(again), "--with-hashes")
        assert line in again.read_text().splitlines()
        [exported, _] = either.log("--action", "users.exported", "--limit", "2")
        assert exported["details"] == {"hashes": True}

    def test_hashes_are_only_exported_if_asked_for_and_no_file_is_overwritten(
        self, operator: Operator, tmp_path: Path
    ) -> None:
        out = lines_of(operator.users("export"))
        assert out
        assert not any("passwordHash" in line for line in out)
        file = tmp_path / "kept"
        file.write_text("mine")
        fails_with(operator.users("export", str(file)), f"{file}: File exists.")
        assert file.read_text() == "mine"

    def test_each_line_is_checked_and_told_by_its_number(
        self, operator: Operator, tmp_path: Path
    ) -> None:
        hashed = bcrypt.hashpw(b"foreign", bcrypt.gensalt(4)).decode()
        lines: list[tuple[object, str | None]] = [
            ({"username": "imp1", "passwordHash": hashed, "data": {"a": [1]}}, None),
            ("nonsense", "the line is not JSON in UTF-8."),
            ([], "the line is not a JSON object."),
            ({"passwordHash": hashed}, "username is missing."),
            ({"username": "imp2"}, "give either password or passwordHash."),
            (
                {"username": "imp2", "password": PASSWORD, "passwordHash": hashed},
                "give either password or passwordHash.",
            ),
            ({"username": "imp2", "passwordHash": hashed, "x": 1}, 'there is no field "x".'),
            ({"username": 2, "passwordHash": hashed}, "username is not text."),
            (
                {"username": "imp2", "passwordHash": hashed, "email": 1},
                "email is not text or null.",
            ),
            (
                {"username": "imp2", "passwordHash": hashed, "disabled": 1},
                "disabled is not true or false.",
            ),
            (
                {"username": "imp2", "passwordHash": hashed, "permission": True},
                "permission is not an integer.",
            ),
            (
                {"username": "imp2", "passwordHash": hashed, "permission": 2**31},
                "permission is not from 0 to 2147483647.",
            ),
            (
                {"username": "imp2", "passwordHash": "$1$abc"},
                "The password hash was not made by anything known here, or is too costly.",
            ),
            ({"username": "IMP1", "passwordHash": hashed}, "There is a user of that name already."),
            (
                {"username": "imp3", "password": PASSWORD, "data": "x" * 70000},
                "the line is longer than 64 KiB.",
            ),
            ({"username": "imp4", "password": PASSWORD, "email": None}, None),
        ]
        file = tmp_path / "users.jsonl"
        text = "\n".join(x if isinstance(x, str) else json.dumps(x) for x, _ in lines)
        file.write_text("\ufeff" + text)  # a BOM before the first line, no end after the last
        run = operator.users("import", str(file))
        told = [line for line in run.stderr.splitlines() if line.startswith("line ")]
        assert told == [f"line {n}: {why}" for n, (_, why) in enumerate(lines, 1) if why]
        assert (run.returncode, run.stdout) == (1, "2 imported, 0 skipped, 14 failed.\n")
        found = {user["username"]: user for user in operator.listed("--search", "imp")}
        assert set(found) == {"imp1", "imp4"}
        assert found["imp1"]["data"] == {"a": [1]}
        [entry] = operator.log("--action", "users.imported", "--limit", "1")
        assert entry["details"] == {"imported": 2, "skipped": 0, "failed": 14}

    def test_standard_input_is_read_and_users_who_are_there_are_skipped(
        self, operator: Operator
    ) -> None:
        lines = "\n".join(
            json.dumps({"username": f"skip{number}", "password": PASSWORD}) for number in range(3)
        )
        first = operator.users("import", "-", "--json", stdin=lines + "\n\n")
        assert json_of(first) == {"imported": 3, "skipped": 0, "failed": 0}
        second = operator.users("import", "-", "--json", "--skip-existing", stdin=lines)
        assert json_of(second) == {"imported": 0, "skipped": 3, "failed": 0}

    def test_on_a_terminal_a_bar_shows_how_much_was_read(
        self, operator: Operator, tmp_path: Path
    ) -> None:
        file = tmp_path / "bar.jsonl"
        lines = [json.dumps({"username": f"bar{n}", "password": PASSWORD}) for n in range(50)]
        file.write_text("\n".join([*lines, "nonsense"]))
        terminal, theirs = pty.openpty()
        process = subprocess.Popen(
            command("users", "import", str(file)),
            cwd=ROOT,
            env=operator.service.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
        )
        os.close(theirs)
        shown = read_all(terminal)
        assert process.wait(30) == 1
        assert "100%" in shown
        assert "\r\x1b[Kline 51: the line is not JSON in UTF-8.\r\n" in shown

    def test_an_import_that_is_killed_can_be_run_again(
        self, either: Operator, tmp_path: Path
    ) -> None:
        hashed = bcrypt.hashpw(b"foreign", bcrypt.gensalt(4)).decode()
        count = 3000
        file = tmp_path / "many.jsonl"
        file.write_text(
            "".join(
                json.dumps({"username": f"killed{number}", "passwordHash": hashed}) + "\n"
                for number in range(count)
            )
        )
        process = subprocess.Popen(
            command("users", "import", str(file)),
            cwd=ROOT,
            env=either.service.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 30
        while not either.listed("--search", "killed", "--limit", "1"):
            assert time.monotonic() < deadline
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        stored = len(either.listed("--search", "killed", "--limit", str(count)))
        counts = json_of(either.users("import", str(file), "--skip-existing", "--json"))
        assert counts == {"imported": count - stored, "skipped": stored, "failed": 0}


class TestKeysAndAudit:
    def test_there_is_nothing_to_rotate_where_a_secret_signs(self, operator: Operator) -> None:
        fails_with(
            operator.flask("keys", "rotate"),
            "Tokens are signed with AUTHSVC_JWT_SECRET (HS256): there is no key to rotate.",
        )
        assert lines_of(operator.flask("keys", "list", "--json")) == []

    def test_a_rotated_key_is_listed_and_in_the_log(self, operator: Operator) -> None:
        env = operator.service.environment() | {"AUTHSVC_JWT_ALGORITHM": "EdDSA"}
        run = subprocess.run(
            command("keys", "rotate"), cwd=ROOT, env=env, capture_output=True, text=True, timeout=60
        )
        assert run.returncode == 0, run.stderr
        kid = run.stdout.split()[0]
        listed = subprocess.run(
            command("keys", "list"), cwd=ROOT, env=env, capture_output=True, text=True, timeout=60
        )
        assert kid in listed.stdout
        assert "published" in listed.stdout
        [entry] = operator.log("--action", "keys.rotated")
        assert entry["details"] == {"kid": kid, "algorithm": "EdDSA"}

    def test_the_log_is_a_table_with_the_newest_first(self, operator: Operator) -> None:
        user = operator.create("logged")
        run = operator.flask("audit", "--user", f"#{user['id']}")
        header, _, row = run.stdout.splitlines()
        assert header.split("  ")[0] == "Id" or header.split()[0] == "Id"
        assert "user.created" in row
        assert f"logged (#{user['id']})" in row
        assert operator.log("--limit", "1")[0]["target"] == {"id": user["id"], "username": "logged"}

    def test_what_is_old_is_dropped_on_demand(self, operator: Operator) -> None:
        run = operator.flask("audit", "prune", "--days", "1")
        assert (run.returncode, run.stdout) == (0, "0 entries are dropped.\n")
