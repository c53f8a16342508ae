"""What start-up tells an operator about settings that are allowed and deserve caution."""

import pytest

from authsvc import settings
from authsvc.cautions import cautions

PRODUCTION = {
    "ENV": "production",
    "MOUNTS": "session=/, native=/v1",
    "DATABASE_URL": "mysql+pymysql://authsvc:secret@127.0.0.1/authsvc",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "JWT_SECRET": "x" * 32,
    "SMTP_URL": "smtp://127.0.0.1",
    "PUBLIC_URL": "https://app.example.com",
    "MAIL_FROM": "no-reply@example.com",
}


RUOYI = "session=/, native=/v1, ruoyi=/r"


def told(monkeypatch: pytest.MonkeyPatch, **chosen: str) -> list[str]:
    """Returns what is said of a production with these settings."""
    for name, value in (PRODUCTION | chosen).items():
        monkeypatch.setenv(f"AUTHSVC_{name}", value)
    return cautions(settings.load())


def test_a_careful_production_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch) == []


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        (
            {"MOUNTS": "token=/api, envelope=/other, native=/v1"},
            "anyone signs up without a captcha through token=/api, envelope=/other.",
        ),
        (
            {"SIGNUP_CAPTCHA": "off"},
            "anyone signs up without a captcha through session=/, native=/v1.",
        ),
        (
            {"MOUNTS": RUOYI, "RUOYI_REGISTRATION": "on", "RUOYI_CAPTCHA": "off"},
            "anyone signs up without a captcha through ruoyi=/r.",
        ),
        ({"SMTP_URL": ""}, "no mail is sent: AUTHSVC_SMTP_URL is not set."),
        (
            {"PUBLIC_URL": "http://app.example.com"},
            "AUTHSVC_PUBLIC_URL is not https: who sees the traffic can use the links in mails.",
        ),
        (
            {"RATELIMIT_ENABLED": "off"},
            "AUTHSVC_RATELIMIT_ENABLED is off: anyone may ask as often as they like.",
        ),
        (
            {"MOUNTS": RUOYI, "PASSWORD_MIN_LENGTH": "21"},
            "AUTHSVC_PASSWORD_MIN_LENGTH is more than the frontend of ruoyi=/r lets anyone type:"
            " nobody can sign up there.",
        ),
        (
            {"GUESS_LIMIT": "off"},
            "AUTHSVC_GUESS_LIMIT is off: passwords can be guessed freely.",
        ),
    ],
)
def test_what_deserves_caution_is_said_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, chosen: dict[str, str], sentence: str
) -> None:
    assert told(monkeypatch, **chosen) == [sentence]


@pytest.mark.parametrize(
    "chosen",
    [
        {"RUOYI_CAPTCHA": "off"},
        {"RUOYI_REGISTRATION": "on"},
        {"PASSWORD_MIN_LENGTH": "20"},
    ],
    ids=["closed without captcha", "open with captcha", "passwords of one length"],
)
def test_a_sign_up_that_is_closed_or_has_rules_of_its_own_is_not_named(
    monkeypatch: pytest.MonkeyPatch, chosen: dict[str, str]
) -> None:
    assert told(monkeypatch, MOUNTS=RUOYI, **chosen) == []


def test_without_the_native_dialect_nobody_misses_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, SMTP_URL="", MOUNTS="session=/") == []


@pytest.mark.parametrize("env", ["development", "production"])
def test_captchas_of_digits_are_named_everywhere(monkeypatch: pytest.MonkeyPatch, env: str) -> None:
    assert told(monkeypatch, ENV=env, CAPTCHA_ALPHABET="digits") == [
        "AUTHSVC_CAPTCHA_ALPHABET is digits: machines read and guess such captchas more easily."
    ]


def test_a_captcha_that_anyone_can_solve_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHSVC_CAPTCHA_TEST_VALUE", "solved")
    assert cautions(settings.load()) == [
        "AUTHSVC_CAPTCHA_TEST_VALUE is set: it solves every captcha."
    ]
