"""Mails as they are worded, as they leave, and as the postman sends them, over real servers."""

import email
import logging
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import cast

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from authsvc.core.errors import UsersUnavailable
from authsvc.core.letters import EMAIL_CHANGED, PASSWORD_CHANGED, RESET, VERIFY, Letter
from authsvc.core.mails import Mail
from authsvc.core.passwords import PasswordRule
from authsvc.core.ports import Change, MailToken, UserQuery
from authsvc.core.recovery import Recovery, RecoveryPolicy
from authsvc.infra.connections import connected
from authsvc.infra.database import LetterRow, MailTokenRow
from authsvc.infra.hashing import Argon2Hasher, HashSlots
from authsvc.infra.letterhead import Letterhead
from authsvc.infra.mail import (
    Delivery,
    FileDelivery,
    MailDeferred,
    MailRefused,
    SmtpDelivery,
    parse_smtp_url,
)
from authsvc.infra.mail import SmtpServer as Address
from authsvc.infra.mail_texts import TEXTS
from authsvc.infra.outbox import LEASE, SqlMailTokens, SqlOutbox
from authsvc.infra.postman import Postman
from authsvc.infra.users import SqlUsers
from tests.infra.databases import migrated, new_user, sqlite_url
from tests.support.processes import HOST, wait_until
from tests.support.smtp import ROOT, Mode, Settings, SmtpServer

ALICE = "alice@example.org"
LETTERHEAD = Letterhead("noreply@example.com", "https://app.example.com/account/")
LINK = "https://app.example.com/account/reset-password?token=T0KEN"


def parts_of(message: EmailMessage) -> tuple[str, str]:
    """Return a message's plain text and HTML."""
    plain, marked_up = message.iter_parts()
    return (
        cast(EmailMessage, plain).get_content(),
        cast(EmailMessage, marked_up).get_content(),
    )


def sent(mail: Mail) -> EmailMessage:
    """Return a mail as it is read at the other end."""
    content = LETTERHEAD.compose(mail).as_bytes(policy=policy.SMTP)
    return email.message_from_bytes(content, policy=policy.default)


# ---- how a server is named


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("smtp://mail.example.org", Address("mail.example.org", 25, "smtp")),
        ("smtp://127.0.0.1:2525", Address("127.0.0.1", 2525, "smtp")),
        ("smtp://[::1]:2525/", Address("::1", 2525, "smtp")),
        ("smtp+starttls://mail.example.org", Address("mail.example.org", 587, "smtp+starttls")),
        ("smtps://a%40b:p%3A%2F@mail", Address("mail", 465, "smtps", "a@b", "p:/")),
        ("smtp://u:p@localhost:25", Address("localhost", 25, "smtp", "u", "p")),
        ("smtp://u:p@mail.example.org", Address("mail.example.org", 25, "smtp+starttls", "u", "p")),
    ],
)
def test_a_server_is_named_by_a_url(text: str, server: Address) -> None:
    assert parse_smtp_url(text) == server


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mail.example.org",
        "http://mail.example.org",
        "smtp://",
        "smtp://mail:port",
        "smtp://mail:0",
        "smtp://mail:70000",
        "smtp://mail/path",
        "smtp://mail?starttls=on",
        "smtp://mail#x",
        "smtp://user@mail",
        "smtp://user:@mail",
        "smtp://:secret@mail",
        "smtp://us%C3%A9r:secret@mail",
        "smtp://ma il",
        "smtp://[::1",
    ],
)
def test_another_form_is_refused_and_no_password_repeated(text: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011
        parse_smtp_url(text)
    assert "secret" not in str(refusal.value)


def test_a_server_does_not_show_its_password_when_printed() -> None:
    assert "secret" not in repr(parse_smtp_url("smtps://user:secret@mail"))


# ---- how a mail is worded


@pytest.mark.parametrize("kind", [VERIFY, RESET, EMAIL_CHANGED, PASSWORD_CHANGED])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_mail_is_worded_in_every_language(kind: str, language: str) -> None:
    token = "T0KEN" if kind in (VERIFY, RESET) else None
    message = sent(Mail(kind, ALICE, language, "alice", token, 30))
    assert message["Subject"] == TEXTS[language][kind][0]
    assert (message["From"], message["To"]) == ("noreply@example.com", ALICE)
    assert message["Content-Language"] == language
    assert message["Auto-Submitted"] == "auto-generated"
    for text in parts_of(message):
        assert "app.example.com" in text
        assert "$" not in text
        assert ("T0KEN" in text) == (token is not None)


def test_an_unknown_language_is_english() -> None:
    assert sent(Mail(PASSWORD_CHANGED, ALICE, "fr"))["Content-Language"] == "en"


def test_a_link_begins_with_the_public_url() -> None:
    plain, marked_up = parts_of(sent(Mail(RESET, ALICE, "en", "alice", "T0KEN", 30)))
    assert f"\n{LINK}\n" in plain
    assert f'<a href="{LINK}">' in marked_up
    assert "30 minutes" in plain


def test_a_name_cannot_break_out_of_its_place() -> None:
    plain, marked_up = parts_of(sent(Mail(RESET, ALICE, "en", "<b>$link</b>", "T0KEN", 30)))
    assert "Your user name is: <b>$link</b>\n" in plain
    assert "&lt;b&gt;$link&lt;/b&gt;" in marked_up
    assert "<b>" not in marked_up


def test_a_reader_who_may_be_a_stranger_is_told_no_name() -> None:
    plain, _ = parts_of(sent(Mail(RESET, ALICE, "en", None, "T0KEN", 30)))
    assert "user name" not in plain


def test_a_domain_beyond_ascii_is_written_in_ascii() -> None:
    assert sent(Mail(PASSWORD_CHANGED, "bob@bücher.example", "en"))["To"] == (
        "bob@xn--bcher-kva.example"
    )


def test_a_domain_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(MailRefused):
        LETTERHEAD.compose(Mail(PASSWORD_CHANGED, f"bob@{'ü' * 63}.example", "en"))


@pytest.mark.parametrize("domain", ["faß.example", "straẞe.example", "ςας.example"])
def test_a_domain_that_older_software_takes_for_another_is_refused(domain: str) -> None:
    with pytest.raises(MailRefused):
        LETTERHEAD.compose(Mail(PASSWORD_CHANGED, f"bob@{domain}", "en"))


def test_a_sender_that_is_no_address_is_refused() -> None:
    for sender in ("", "a@b@c", "x@example.org\r\nBcc: y@example.org"):
        with pytest.raises(ValueError):  # noqa: PT011
            Letterhead(sender, "https://example.org")


# ---- how a mail leaves


@pytest.fixture
def smtp(tmp_path: Path) -> Iterator[SmtpServer]:
    with SmtpServer(tmp_path / "smtp") as server:
        yield server


def plain_to(server: SmtpServer) -> SmtpDelivery:
    return SmtpDelivery(Address(HOST, server.port, "smtp"), "example.com")


def message_to(address: str = ALICE) -> EmailMessage:
    return LETTERHEAD.compose(Mail(PASSWORD_CHANGED, address, "zh", "爱丽丝"))


def test_a_mail_arrives_as_it_was_worded(smtp: SmtpServer) -> None:
    plain_to(smtp).deliver(message_to(), "1")
    [arrived] = smtp.mails()
    assert (arrived["X-Recipient"], arrived["Subject"]) == (ALICE, "您的密码已更改")
    assert "您的用户名：爱丽丝" in parts_of(arrived)[0]


@pytest.mark.parametrize(
    ("mode", "fact"),
    [
        (Mode.REFUSE_FOR_NOW, MailDeferred),
        (Mode.REFUSE_SENDER, MailDeferred),
        (Mode.DROP, MailDeferred),
        (Mode.REFUSE_RECIPIENT, MailRefused),
        (Mode.REFUSE_CONTENT, MailRefused),
    ],
)
def test_a_refusal_is_for_now_or_for_good_and_names_no_address(
    smtp: SmtpServer, mode: Mode, fact: type[Exception]
) -> None:
    smtp.turn(mode)
    with pytest.raises(fact) as refusal:
        plain_to(smtp).deliver(message_to(), "1")
    assert "example" not in str(refusal.value)
    assert smtp.mails() == []


def test_a_mail_that_was_taken_is_sent_whatever_the_server_says_at_the_end(
    smtp: SmtpServer,
) -> None:
    smtp.turn(Mode.LEAVE_RUDELY)
    plain_to(smtp).deliver(message_to(), "1")
    assert len(smtp.mails()) == 1


def test_a_server_that_hangs_is_left_after_ten_seconds(smtp: SmtpServer) -> None:
    smtp.turn(Mode.HANG)
    begin = time.monotonic()
    with pytest.raises(MailDeferred):
        plain_to(smtp).deliver(message_to(), "1")
    assert time.monotonic() - begin < 15


def test_a_server_that_is_down_defers_mails(smtp: SmtpServer) -> None:
    smtp.stop()
    with pytest.raises(MailDeferred):
        plain_to(smtp).deliver(message_to(), "1")
    smtp.start()
    plain_to(smtp).deliver(message_to(), "1")
    assert len(smtp.mails()) == 1


def test_a_slow_server_is_cut_off_as_a_whole(
    smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authsvc.infra.mail._WHOLE_SECONDS", 0.5)
    smtp.turn(Mode.HANG)
    begin = time.monotonic()
    with pytest.raises(MailDeferred):
        plain_to(smtp).deliver(message_to(), "1")
    assert time.monotonic() - begin < 5


def test_an_address_beyond_ascii_needs_a_server_that_takes_it(tmp_path: Path) -> None:
    address = "爱丽丝@bücher.example"
    with SmtpServer(tmp_path / "able") as able:
        plain_to(able).deliver(message_to(address), "1")
        assert able.mails()[0]["X-Recipient"] == "爱丽丝@xn--bcher-kva.example"
    with (
        SmtpServer(tmp_path / "unable", Settings(smtputf8=False)) as unable,
        pytest.raises(MailRefused),
    ):
        plain_to(unable).deliver(message_to(address), "1")


def trust(server: SmtpServer) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(server.folder / "cert.pem"))


def test_a_server_that_offers_encryption_is_taken_at_its_word(tmp_path: Path) -> None:
    with SmtpServer(tmp_path / "smtp", Settings(starttls=True)) as server:
        plain_to(server).deliver(message_to(), "1")
        assert server.mails()[0]["X-Secured"] == "yes"


def test_encryption_that_is_insisted_on_comes_with_a_login(tmp_path: Path) -> None:
    settings = Settings(starttls=True, user="user", password="pass word")
    with SmtpServer(tmp_path / "smtp", settings) as server:
        address = Address("localhost", server.port, "smtp+starttls", "user", "pass word")
        SmtpDelivery(address, "example.com", trust(server)).deliver(message_to(), "1")
        assert server.mails()[0]["X-Secured"] == "yes"


def test_tls_from_the_first_byte(tmp_path: Path) -> None:
    with SmtpServer(tmp_path / "smtp", Settings(tls=True)) as server:
        address = Address("localhost", server.port, "smtps")
        SmtpDelivery(address, "example.com", trust(server)).deliver(message_to(), "1")
        assert server.mails()[0]["X-Secured"] == "yes"


@pytest.mark.parametrize("settings", [Settings(), Settings(starttls=True), Settings(tls=True)])
def test_nothing_is_sent_where_encryption_is_insisted_on_and_cannot_be_trusted(
    tmp_path: Path, settings: Settings
) -> None:
    with SmtpServer(tmp_path / "smtp", settings) as server:
        security = "smtps" if settings.tls else "smtp+starttls"
        address = Address("localhost", server.port, security, "user", "password")
        with pytest.raises(MailDeferred):
            SmtpDelivery(address, "example.com").deliver(message_to(), "1")
        assert server.tries() == 0


def test_a_wrong_login_defers_mails(tmp_path: Path) -> None:
    with SmtpServer(tmp_path / "smtp", Settings(user="user", password="right")) as server:
        for user, password in (("user", "wrong"), ("", "")):
            address = Address(HOST, server.port, "smtp", user, password)
            with pytest.raises(MailDeferred):
                SmtpDelivery(address, "example.com").deliver(message_to(), "1")
        assert server.mails() == []


def test_in_development_mails_are_files_for_ones_own_eyes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "var" / "mail"
    with caplog.at_level(logging.INFO):
        FileDelivery(folder).deliver(message_to(), "7")
    [file] = folder.iterdir()
    assert file.name.endswith("-7.eml")
    assert (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    assert str(file) in caplog.text
    assert ALICE not in caplog.text
    written = email.message_from_bytes(file.read_bytes(), policy=policy.default)
    assert written["To"] == ALICE


def test_a_folder_that_cannot_be_written_defers_mails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MailDeferred):
        FileDelivery(tmp_path / "file" / "mail").deliver(message_to(), "7")


# ---- how the postman goes about it


class NoSessions:
    """Sessions of which there are none."""

    def close_all(self, user_id: int) -> None:
        return


def postman_of(
    app: Flask,
    outbox: SqlOutbox,
    delivery: Delivery,
    *chores: object,
    folder: Path,
    tokens: SqlMailTokens | None = None,
) -> Postman:
    """Return a postman over the database of an application."""
    recovery = Recovery(
        SqlUsers(),
        outbox,
        tokens or SqlMailTokens(),
        Argon2Hasher(HashSlots(folder, 1, 30), memory_kib=8, time_cost=1, parallelism=1),
        PasswordRule(8, frozenset()),
        NoSessions(),
        time.time,
        RecoveryPolicy(sends_mail=True),
    )
    return Postman(app, outbox, recovery, LETTERHEAD, delivery, chores)  # type: ignore[arg-type]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    """An application whose one user is alice."""
    with migrated(sqlite_url(tmp_path)) as app:
        SqlUsers().add(new_user("alice", ALICE), "hash", lambda _: None)
        yield app


@pytest.fixture
def outbox(app: Flask) -> SqlOutbox:
    return SqlOutbox()


@pytest.fixture
def postman(app: Flask, outbox: SqlOutbox, smtp: SmtpServer, tmp_path: Path) -> Iterator[Postman]:
    """A postman who has not begun yet."""
    postman = postman_of(app, outbox, plain_to(smtp), folder=tmp_path)
    yield postman
    postman.stop()


def put(outbox: SqlOutbox, kind: str = RESET, address: str = ALICE) -> None:
    outbox.put(Letter(kind, None, address, "en"))


def count(row: type[object]) -> int:
    with connected() as connection:
        return connection.scalar(select(func.count()).select_from(row)) or 0


def make_due() -> None:
    """Let the time of all that waits be come."""
    with connected(writes=True) as connection:
        connection.execute(update(LetterRow).values(next_try_at=0))
        connection.commit()


def test_a_letter_is_sent_at_once_and_forgotten(
    postman: Postman, outbox: SqlOutbox, smtp: SmtpServer
) -> None:
    postman.start()
    put(outbox)
    assert wait_until(lambda: len(smtp.mails()) == 1 and count(LetterRow) == 0, 10)
    assert "/reset-password?token=" in parts_of(smtp.mails()[0])[0]


def test_a_letter_of_another_process_is_found(
    postman: Postman, outbox: SqlOutbox, smtp: SmtpServer
) -> None:
    postman.start()
    put(SqlOutbox())
    assert wait_until(lambda: len(smtp.mails()) == 1, 10)


def test_a_letter_to_nobody_is_dropped_without_a_mail(
    postman: Postman, outbox: SqlOutbox, smtp: SmtpServer
) -> None:
    put(outbox, address="nobody@example.org")
    assert postman.send_one()
    assert count(LetterRow) == 0
    assert smtp.tries() == 0


def test_a_letter_that_is_refused_for_now_is_sent_later_with_a_token_of_its_own(
    postman: Postman, outbox: SqlOutbox, smtp: SmtpServer
) -> None:
    smtp.turn(Mode.REFUSE_FOR_NOW)
    put(outbox)
    postman.send_one()
    assert (count(LetterRow), count(MailTokenRow)) == (1, 0)
    assert not postman.send_one()
    smtp.turn(Mode.ACCEPT)
    make_due()
    postman.send_one()
    assert (count(LetterRow), count(MailTokenRow), len(smtp.mails())) == (0, 1, 1)


def test_a_letter_waits_while_the_server_is_down(
    postman: Postman, outbox: SqlOutbox, smtp: SmtpServer
) -> None:
    smtp.kill()
    put(outbox)
    postman.send_one()
    assert count(LetterRow) == 1
    smtp.start()
    make_due()
    postman.send_one()
    assert (count(LetterRow), len(smtp.mails())) == (0, 1)


def test_a_letter_that_is_refused_for_good_is_dropped_and_no_address_is_logged(
    postman: Postman, outbox: SqlOutbox, smtp: SmtpServer, caplog: pytest.LogCaptureFixture
) -> None:
    smtp.turn(Mode.REFUSE_RECIPIENT)
    put(outbox)
    with caplog.at_level(logging.DEBUG):
        postman.send_one()
    assert count(LetterRow) == 0
    assert "letter 1 (reset) can never be sent" in caplog.text
    assert "example.org" not in caplog.text


def test_twenty_letters_for_one_address_are_one_mail(
    postman: Postman, outbox: SqlOutbox, smtp: SmtpServer
) -> None:
    for _ in range(20):
        put(outbox)
    while postman.send_one():
        pass
    assert (count(LetterRow), len(smtp.mails())) == (0, 1)


def test_four_postmen_send_each_letter_once(
    app: Flask, outbox: SqlOutbox, smtp: SmtpServer, tmp_path: Path
) -> None:
    for number in range(12):
        user = new_user(f"user{number}", f"user{number}@example.org")
        SqlUsers().add(user, "hash", lambda _: None)
        put(outbox, address=f"user{number}@example.org")
    postmen = [postman_of(app, SqlOutbox(), plain_to(smtp), folder=tmp_path) for _ in range(4)]
    for postman in postmen:
        postman.start()
    try:
        assert wait_until(lambda: count(LetterRow) == 0, 30)
    finally:
        for postman in postmen:
            postman.stop()
    recipients = sorted(mail["X-Recipient"] for mail in smtp.mails())
    assert recipients == sorted(f"user{number}@example.org" for number in range(12))


def test_the_chores_are_done_though_one_finds_its_store_down(
    app: Flask, outbox: SqlOutbox, smtp: SmtpServer, tmp_path: Path
) -> None:
    done = threading.Event()

    def fail() -> None:
        raise UsersUnavailable

    postman = postman_of(app, outbox, plain_to(smtp), fail, done.set, folder=tmp_path)
    postman.start()
    try:
        assert done.wait(10)
    finally:
        postman.stop()


def test_a_postman_outlives_a_database_that_is_away(
    postman: Postman, outbox: SqlOutbox, smtp: SmtpServer
) -> None:
    postman.start()
    with connected(writes=True) as connection:
        connection.exec_driver_sql("ALTER TABLE outbox RENAME TO outbox_away")
        connection.commit()
    time.sleep(3)
    with connected(writes=True) as connection:
        connection.exec_driver_sql("ALTER TABLE outbox_away RENAME TO outbox")
        connection.commit()
    put(outbox)
    assert wait_until(lambda: len(smtp.mails()) == 1, 10)


def test_a_postman_begins_anew_after_what_nobody_foresaw(
    app: Flask,
    outbox: SqlOutbox,
    smtp: SmtpServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crashes: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", crashes.append)
    monkeypatch.setattr("authsvc.infra.postman._REST_AFTER_CRASH", 0.1)

    def fail_once() -> None:
        if not crashes:
            raise LookupError

    postman = postman_of(app, outbox, plain_to(smtp), fail_once, folder=tmp_path)
    postman.start()
    try:
        assert wait_until(lambda: len(crashes) == 1, 10)
        put(outbox)
        assert wait_until(lambda: len(smtp.mails()) == 1, 10)
    finally:
        postman.stop()


def test_a_letter_that_could_not_be_sent_for_a_day_is_dropped_with_an_error(
    postman: Postman, outbox: SqlOutbox, smtp: SmtpServer, caplog: pytest.LogCaptureFixture
) -> None:
    smtp.turn(Mode.REFUSE_FOR_NOW)
    put(outbox)
    with connected(writes=True) as connection:
        connection.execute(update(LetterRow).values(created_at=LetterRow.created_at - 86_400))
        connection.commit()
    with caplog.at_level(logging.ERROR):
        postman.send_one()
    assert count(LetterRow) == 0
    assert "could not be sent for a day" in caplog.text


def test_a_postman_stops_within_five_seconds_while_a_server_hangs(
    postman: Postman, outbox: SqlOutbox, smtp: SmtpServer
) -> None:
    smtp.turn(Mode.HANG)
    postman.start()
    put(outbox)
    assert wait_until(lambda: smtp.tries() == 1, 10)
    begin = time.monotonic()
    postman.stop()
    assert time.monotonic() - begin < 7


PUT_AND_DIE = """
import os, signal, sys
from authsvc.core.letters import RESET, Letter
from authsvc.infra.outbox import SqlOutbox
from tests.infra.databases import connected_to
with connected_to(sys.argv[1]):
    SqlOutbox().put(Letter(RESET, None, "alice@example.org", "en"))
    os.kill(os.getpid(), signal.SIGKILL)
"""

SEND = """
import sys
from pathlib import Path
from authsvc.infra.mail import SmtpDelivery, SmtpServer
from authsvc.infra.outbox import SqlOutbox
from tests.infra.databases import connected_to
from tests.infra.test_mail import postman_of
with connected_to(sys.argv[1]) as app:
    delivery = SmtpDelivery(SmtpServer("127.0.0.1", int(sys.argv[2]), "smtp"), "example.com")
    postman_of(app, SqlOutbox(), delivery, folder=Path(sys.argv[3])).send_one()
"""


def test_a_process_killed_between_putting_and_sending_loses_nothing(
    app: Flask, postman: Postman, smtp: SmtpServer, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", PUT_AND_DIE, sqlite_url(tmp_path)]
    assert subprocess.run(command, cwd=ROOT, timeout=60).returncode == -signal.SIGKILL
    assert postman.send_one()
    assert len(smtp.mails()) == 1


def test_a_process_killed_while_sending_leaves_the_letter_to_the_next(
    app: Flask, postman: Postman, outbox: SqlOutbox, smtp: SmtpServer, tmp_path: Path
) -> None:
    smtp.turn(Mode.HANG)
    put(outbox)
    command = [sys.executable, "-c", SEND, sqlite_url(tmp_path), str(smtp.port), str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT) as sender:
        begun = wait_until(lambda: smtp.tries() == 1, 30)
        sender.kill()
    assert begun
    smtp.turn(Mode.ACCEPT)
    assert not postman.send_one()
    let_the_lease_be_over()
    assert postman.send_one()
    assert (len(smtp.mails()), count(LetterRow)) == (1, 0)


def let_the_lease_be_over() -> None:
    """Put all that the dead sender did a lease further into the past."""
    with connected(writes=True) as connection:
        connection.execute(update(LetterRow).values(next_try_at=LetterRow.next_try_at - LEASE))
        earlier = MailTokenRow.expires_at - LEASE
        connection.execute(update(MailTokenRow).values(expires_at=earlier))
        connection.commit()


def test_a_letter_that_is_withdrawn_while_it_is_written_is_not_sent(
    app: Flask, outbox: SqlOutbox, smtp: SmtpServer, tmp_path: Path
) -> None:
    [alice] = SqlUsers().find(UserQuery(1))

    class Slow(SqlMailTokens):
        """Lets the user's password be changed just before a token is kept."""

        def keep(self, token_hash: str, token: MailToken, made_at: int, lifetime: int) -> bool:
            SqlUsers().edit(alice.id, lambda user, _: Change(user, drops_mail_tokens=True))
            return super().keep(token_hash, token, made_at, lifetime)

    outbox.put(Letter(VERIFY, alice.id, "thief@example.net", "en"))
    postman = postman_of(app, outbox, plain_to(smtp), folder=tmp_path, tokens=Slow())
    assert postman.send_one()
    assert smtp.mails() == []
    with connected() as connection:
        assert connection.execute(select(MailTokenRow.token_hash)).all() == []
