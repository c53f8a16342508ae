"""Settings: defaults, every fault at once, what production refuses, the file that lists them."""

import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from authsvc import settings
from authsvc.settings import NAMES, Settings, SettingsError
from tests.support.processes import clean_environment
from tests.support.service import ROOT

EXAMPLE = ROOT / "config" / "example.env"
ASSIGNMENT = re.compile(r"#?(AUTHSVC_\w+)=(.*)")

# Settings with which production starts.
PRODUCTION = {
    "AUTHSVC_ENV": "production",
    "AUTHSVC_MOUNTS": "envelope=/api",
    "AUTHSVC_JWT_SECRET": "s" * 32,
    "AUTHSVC_DATABASE_URL": "mysql+pymysql://authsvc:hidden-word@127.0.0.1/authsvc",
    "AUTHSVC_REDIS_URL": "redis://127.0.0.1:6379/0",
}
DOCUMENTED = ["session=/", "token=/api", "admin=/api/auth", "native=/v1"]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the settings of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith("AUTHSVC_"):
            monkeypatch.delenv(name)


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """What sets a setting: `setting.setenv(name, value)`."""
    return monkeypatch


def load(setting: pytest.MonkeyPatch, **values: str) -> Settings:
    """Set settings, by their names without the prefix, and read all."""
    for name, value in values.items():
        setting.setenv(f"AUTHSVC_{name}", value)
    return settings.load()


def faults(setting: pytest.MonkeyPatch, **values: str) -> tuple[str, ...]:
    """Set settings and return the sentences with which they are refused."""
    with pytest.raises(SettingsError) as refusal:
        load(setting, **values)
    return refusal.value.faults


def assignments() -> dict[str, str]:
    """Return what the example file shows: name → value."""
    found = map(ASSIGNMENT.fullmatch, EXAMPLE.read_text(encoding="utf-8").splitlines())
    return {match[1]: match[2] for match in found if match}


def production_without(name: str, value: str | None = None) -> dict[str, str]:
    """Return a process's environment in production, with one setting missing or different."""
    values = {**PRODUCTION, name: value}
    return clean_environment() | {
        name: value for name, value in values.items() if value is not None
    }


# --- The example file ---


def test_the_example_file_lists_every_setting_once_and_no_other() -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    listed = [match[1] for match in map(ASSIGNMENT.fullmatch, lines) if match]
    assert sorted(listed) == sorted(NAMES)


def test_the_example_file_says_above_each_setting_what_it_is_for() -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    for comment, line in zip(["", *lines], lines, strict=False):
        if ASSIGNMENT.fullmatch(line):
            assert re.fullmatch(r"# \S.*", comment), line


def test_the_example_file_shows_the_defaults(setting: pytest.MonkeyPatch) -> None:
    default = settings.load()
    for name, value in assignments().items():
        setting.setenv(name, value)
    shown = settings.load()
    for field in fields(Settings):
        if field.name not in ("workers", "hash_slots", "trusted_proxies"):
            assert getattr(shown, field.name) == getattr(default, field.name), field.name
    assert shown.trusted_proxies.client("127.0.0.1", "192.0.2.1") == "127.0.0.1"


def test_the_example_file_suits_a_shell_systemd_and_compose_alike() -> None:
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        assert not line or line.startswith("#")
    for value in assignments().values():
        assert re.fullmatch(r"[\w.,:/=+@-]*", value)


# --- Defaults ---


def test_development_needs_no_setting_at_all() -> None:
    default = settings.load()
    assert not default.in_production
    assert default.ports == (8080, 3000)
    assert all(address.host == "127.0.0.1" for address in default.bind)
    assert [str(mount) for mount in default.mounts] == [*DOCUMENTED, "envelope=:3000/api"]
    assert default.data == Path("var")
    assert (default.token_lifetime, default.captcha_lifetime, default.password_min_length) == (
        7200,
        300,
        8,
    )
    assert default.signup_captcha
    assert default.ruoyi_captcha
    assert default.ruoyi_registration
    assert default.ratelimit_enabled
    assert default.cors_origins == ("localhost",)
    secrets = (
        default.jwt_secret,
        default.database_url,
        default.redis_url,
        default.captcha_test_value,
    )
    assert secrets == (None, None, None, None)


def test_there_is_a_worker_and_a_hash_slot_for_every_core() -> None:
    default = settings.load()
    assert default.workers == default.hash_slots == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("bind", "mounts"),
    [
        ("127.0.0.1:18080, 127.0.0.1:13000", [*DOCUMENTED, "envelope=:13000/api"]),
        ("127.0.0.1:18080,[::1]:18080,127.0.0.1:13000", [*DOCUMENTED, "envelope=:13000/api"]),
        ("0.0.0.0:8000", DOCUMENTED),
        ("unix:/run/authsvc.sock", DOCUMENTED),
    ],
)
def test_mounts_that_are_not_set_follow_the_ports(
    setting: pytest.MonkeyPatch, bind: str, mounts: list[str]
) -> None:
    assert [str(mount) for mount in load(setting, BIND=bind).mounts] == mounts


def test_mounts_that_are_set_stay(setting: pytest.MonkeyPatch) -> None:
    loaded = load(setting, BIND="127.0.0.1:1,127.0.0.1:2", MOUNTS="token=/, admin=:2/a")
    assert [str(mount) for mount in loaded.mounts] == ["token=/", "admin=:2/a"]


# --- Faults ---


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENV", "staging"),
        ("BIND", "8080"),
        ("BIND", "127.0.0.1:0"),
        ("BIND", "127.0.0.1:65536"),
        ("BIND", " , "),
        ("MOUNTS", "token"),
        ("MOUNTS", ","),
        ("DATABASE_URL", "no url"),
        ("DATABASE_URL", "postgresql://host/name"),
        ("DATABASE_URL", "mysql+pymysql://u:p@h1,h2:0/name"),
        ("DATABASE_URL", "mysql+pymysql://u:p@h1,/name"),
        ("REDIS_URL", "http://host"),
        ("REDIS_URL", "redis+sentinel://host:26379"),
        ("REDIS_URL", "redis+cluster://host:7000/1"),
        ("JWT_SECRET", "too short"),
        ("JWT_ISSUER", ""),
        ("TOKEN_LIFETIME", "0"),
        ("TOKEN_LIFETIME", "2h"),
        ("SLIDING_IDLE", "0"),
        ("SLIDING_LIFETIME", "0"),
        ("SIGNUP_CAPTCHA", "perhaps"),
        ("PASSWORD_MIN_LENGTH", "0"),
        ("ADMIN_PERMISSION", "0"),
        ("ARGON2_MEMORY_KIB", "7"),
        ("HASH_WAIT", "0"),
        ("RATELIMIT_LOGIN", "often"),
        ("TRUSTED_PROXIES", "proxy.example.com"),
        ("CORS_ORIGINS", "app.example.com"),
        ("DATABASE_READ_TIMEOUT", "1"),
        ("WORKERS", "0"),
        ("LOG_LEVEL", "loud"),
        ("SESSION_STATUS", "201"),
        ("TOKEN_SCHEME", "none"),
        ("CAPTCHA_ALPHABET", "letters"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_its_name(
    setting: pytest.MonkeyPatch, name: str, value: str
) -> None:
    [fault] = faults(setting, **{name: value})
    assert fault.startswith(f"AUTHSVC_{name}: ")


def test_every_fault_is_reported_at_once(setting: pytest.MonkeyPatch) -> None:
    found = faults(setting, THREADS="many", MOUNTS="token", JWT_SECRET="short", DATABASE_ULR="x")
    names = ["AUTHSVC_DATABASE_ULR", "AUTHSVC_JWT_SECRET", "AUTHSVC_MOUNTS", "AUTHSVC_THREADS"]
    assert [fault.partition(":")[0] for fault in found] == names


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("DATABASE_ULR", "AUTHSVC_DATABASE_URL"),
        ("MOUNT", "AUTHSVC_MOUNTS"),
        ("TOKEN_LIFETIME_SECONDS", "AUTHSVC_TOKEN_LIFETIME"),
        ("ADMIN_PASSWD", "AUTHSVC_ADMIN_PASSWORD"),
        ("PORTS", "AUTHSVC_"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(
    setting: pytest.MonkeyPatch, name: str, nearest: str
) -> None:
    [fault] = faults(setting, **{name: "1"})
    assert fault.startswith(f"AUTHSVC_{name}: there is no such setting; the nearest is {nearest}")


def test_what_kubernetes_injects_for_a_service_called_authsvc_is_ignored(
    setting: pytest.MonkeyPatch,
) -> None:
    load(
        setting,
        SERVICE_HOST="10.0.0.1",
        SERVICE_PORT="8080",
        SERVICE_PORT_HTTP="8080",
        PORT="tcp://10.0.0.1:8080",
        PORT_8080_TCP="tcp://10.0.0.1:8080",
        PORT_8080_TCP_ADDR="10.0.0.1",
    )


def test_the_password_for_make_admin_may_lie_in_the_environment(
    setting: pytest.MonkeyPatch,
) -> None:
    load(setting, ADMIN_PASSWORD="any word")


def test_neither_a_fault_nor_the_printed_settings_tell_a_secret(
    setting: pytest.MonkeyPatch,
) -> None:
    told = str(faults(setting, JWT_SECRET="hidden-word", DATABASE_URL="hidden-word://u:p@h/n"))
    assert "hidden-word" not in told
    for name, value in PRODUCTION.items():
        setting.setenv(name, value)
    printed = repr(load(setting, JWT_SECRET="hidden-word" * 3))
    assert "hidden-word" not in printed


# --- Production ---


def test_production_starts_with_what_it_asks_for(setting: pytest.MonkeyPatch) -> None:
    for name, value in PRODUCTION.items():
        setting.setenv(name, value)
    loaded = settings.load()
    assert loaded.in_production
    assert loaded.cors_origins == ()
    assert loaded.ruoyi_captcha
    assert not loaded.ruoyi_registration


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTHSVC_MOUNTS", None),
        ("AUTHSVC_JWT_SECRET", None),
        ("AUTHSVC_DATABASE_URL", None),
        ("AUTHSVC_DATABASE_URL", "sqlite:////var/lib/authsvc.sqlite3"),
        ("AUTHSVC_REDIS_URL", None),
        ("AUTHSVC_CAPTCHA_TEST_VALUE", "12345"),
    ],
)
def test_production_refuses_what_only_development_may_do(
    setting: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    for each, given in ({**PRODUCTION, name: value}).items():
        if given is not None:
            setting.setenv(each, given)
    with pytest.raises(SettingsError) as refusal:
        settings.load()
    [fault] = refusal.value.faults
    assert fault.startswith(f"{name}: ")


def test_production_names_all_that_it_misses_at_once(setting: pytest.MonkeyPatch) -> None:
    names = [
        fault.partition(":")[0]
        for fault in faults(setting, ENV="production", CAPTCHA_TEST_VALUE="x")
    ]
    refused = ["CAPTCHA_TEST_VALUE", "DATABASE_URL", "JWT_SECRET", "MOUNTS", "REDIS_URL"]
    assert names == [f"AUTHSVC_{name}" for name in refused]


def test_production_names_what_it_misses_beside_every_other_fault(
    setting: pytest.MonkeyPatch,
) -> None:
    named = {
        fault.partition(":")[0]
        for fault in faults(setting, ENV="production", WORKERS="many", REDIS_URL="x", MOUNT="x")
    }
    asked = ["DATABASE_URL", "JWT_SECRET", "MOUNT", "MOUNTS", "REDIS_URL", "WORKERS"]
    assert named == {f"AUTHSVC_{name}" for name in asked}


# --- From outside ---


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", "import wsgi"],
        ["-m", "gunicorn", "-c", "config/gunicorn.conf.py", "wsgi:app"],
        ["-m", "flask", "--app", "wsgi", "migrate"],
    ],
    ids=["wsgi", "gunicorn", "flask"],
)
def test_a_start_that_is_refused_says_why_in_plain_sentences_and_exits_with_status_1(
    arguments: list[str], tmp_path: Path
) -> None:
    environment = production_without("AUTHSVC_JWT_SECRET") | {
        "AUTHSVC_DATABASE_URL": "sqlite://",
        "AUTHSVC_DATA": str(tmp_path / "data"),
    }
    run = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    lines = run.stderr.splitlines()
    assert run.returncode == 1, run.stderr
    assert [line.partition(": ")[2].partition(":")[0] for line in lines] == [
        "AUTHSVC_DATABASE_URL",
        "AUTHSVC_JWT_SECRET",
    ]
    assert all(line.startswith("authsvc: ") for line in lines)
    assert not (tmp_path / "data").exists()


def test_a_table_of_mounts_that_cannot_be_served_is_refused_in_the_same_way() -> None:
    environment = production_without("AUTHSVC_MOUNTS", "token=/api, envelope=/api")
    run = subprocess.run(
        [sys.executable, "-c", "import wsgi"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 1
    [line] = run.stderr.splitlines()
    assert line.startswith(
        'authsvc: AUTHSVC_MOUNTS: "token=/api" and "envelope=/api" both claim POST /api/'
    )
