"""The one spelling of names and addresses."""

import random
import sys
import unicodedata

import pytest

from authsvc.core.errors import InvalidEmail, InvalidUsername
from authsvc.core.users import (
    EMAIL_MAX_LENGTH,
    LONGEST_FOLDING,
    PASSWORD_MAX_BYTES,
    USERNAME_MAX_LENGTH,
    check_email,
    fold,
    is_storable_password,
    normalise_username,
)

BLOCK = 256


def changed_by_folding() -> list[str]:
    """Every character of Unicode that folding does not leave as it is.

    What is normal as a whole is normal in every part, so most blocks need one look.
    """
    every = [chr(code) for code in range(sys.maxunicode + 1)]
    blocks = (every[start : start + BLOCK] for start in range(0, len(every), BLOCK))
    suspects = (block for block in blocks if fold(text := "".join(block)) != text)
    return [character for block in suspects for character in block if fold(character) != character]


CHANGED = changed_by_folding()


def random_texts(count: int) -> list[str]:
    """Texts of characters that folding changes, and of marks that combine and change places."""
    chance = random.Random(20)
    marks = [chr(code) for code in range(0x300, 0x370)] + ["\u0345", "\u1dc0", "\u3099", "\u0fb5"]
    letters = [*"aAzßİıſΣςαι ", *marks]
    texts = []
    for _ in range(count):
        source = CHANGED if chance.random() < 0.5 else letters
        texts.append("".join(chance.choices([*source, *letters], k=chance.randrange(1, 12))))
    return texts


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("Bob", "Bob"),
        ("ＢＯＢ", "BOB"),
        ("  bob\t\n", "bob"),
        ("\u3000bob\u00a0", "bob"),
        ("bob  the\u3000builder", "bob  the builder"),
        ("e\u0301", "é"),
        ("ﬁ①", "fi1"),
        ("张三", "张三"),
        ("😀", "😀"),
    ],
)
def test_a_name_is_shown_as_typed_but_normal_and_trimmed(typed: str, shown: str) -> None:
    assert normalise_username(typed) == shown


@pytest.mark.parametrize("typed", ["", " ", "\t\r\n", "\u3000", "x" * 65, "ﬁ" * 33, "😀" * 65])
def test_a_name_that_is_empty_or_too_long_once_it_is_normal_is_refused(typed: str) -> None:
    with pytest.raises(InvalidUsername):
        normalise_username(typed)


@pytest.mark.parametrize("typed", ["x", "x" * 64, " " + "ﬁ" * 32 + " ", "e\u0301" * 64])
def test_a_name_of_one_to_sixty_four_characters_is_taken(typed: str) -> None:
    assert 1 <= len(normalise_username(typed)) <= USERNAME_MAX_LENGTH


@pytest.mark.parametrize(
    ("category", "character"),
    [
        ("Cc", "\x00"),
        ("Cc", "\n"),
        ("Cc", "\x7f"),
        ("Cf", "\u00ad"),
        ("Cf", "\u200b"),
        ("Cf", "\u202e"),
        ("Cf", "\ufeff"),
        ("Cf", "\U000e0041"),
        ("Cs", "\ud800"),
        ("Co", "\ue000"),
        ("Co", "\U0010fffd"),
        ("Cn", "\u0378"),
        ("Cn", "\uffff"),
    ],
)
def test_a_name_with_a_character_that_nobody_can_see_is_refused(
    category: str, character: str
) -> None:
    assert unicodedata.category(character) == category
    with pytest.raises(InvalidUsername):
        normalise_username(f"bo{character}b")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Bob", "bOB"),
        ("bob", "ＢＯＢ"),
        ("straße", "STRASSE"),
        ("e\u0301", "É"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("ﬁn", "FIN"),
        ("K", "k"),
    ],
)
def test_two_spellings_of_one_name_have_one_key(one: str, other: str) -> None:
    assert fold(normalise_username(one)) == fold(normalise_username(other))


@pytest.mark.parametrize(
    ("one", "other"), [("resume", "résumé"), ("a b", "ab"), ("i", "ı"), ("😀", "😁"), ("l", "1")]
)
def test_two_names_that_only_look_alike_have_two_keys(one: str, other: str) -> None:
    assert fold(one) != fold(other)


def test_folding_what_is_folded_changes_nothing_for_any_character_of_unicode() -> None:
    assert [hex(ord(c)) for c in CHANGED if fold(fold(c)) != fold(c)] == []


def test_folding_what_is_folded_changes_nothing_in_any_text() -> None:
    assert [text for text in random_texts(5000) if fold(fold(text)) != fold(text)] == []


def test_a_normal_name_is_normal_already() -> None:
    for text in random_texts(5000):
        try:
            name = normalise_username(text)
        except InvalidUsername:
            continue
        assert normalise_username(name) == name


def test_the_key_of_a_name_fits_its_column_for_every_character_of_unicode() -> None:
    """A name of 64 characters is a name of each of them 64 times over, at the worst."""
    for character in CHANGED:
        for typed in (character, character * USERNAME_MAX_LENGTH):
            try:
                name = normalise_username(typed)
            except InvalidUsername:
                continue
            assert len(fold(name)) <= LONGEST_FOLDING * len(name), hex(ord(character))


def test_the_key_of_an_address_fits_its_column_for_every_character_of_unicode() -> None:
    longest = EMAIL_MAX_LENGTH * LONGEST_FOLDING
    for character in CHANGED:
        for typed in (
            f"{character}@example.com",
            f"{character * 64}@example.com",
            f"a@{character}.com",
            f"{character * 64}@{character * 63}.{character * 63}.{character * 60}",
        ):
            try:
                address = check_email(typed)
            except InvalidEmail:
                continue
            assert len(fold(address)) <= longest, hex(ord(character))


def test_the_key_of_a_name_or_an_address_fits_its_column_in_any_text() -> None:
    for text in random_texts(5000):
        try:
            name = normalise_username(text)
            assert len(fold(name)) <= LONGEST_FOLDING * len(name), ascii(text)
        except InvalidUsername:
            pass
        try:
            address = check_email(f"{text}@{text}.com")
            assert len(fold(address)) <= LONGEST_FOLDING * len(address), ascii(text)
        except InvalidEmail:
            pass


@pytest.mark.parametrize(
    "address",
    [
        "a@b.c",
        "user@example.com",
        "USER@Example.COM",
        "first.last+tag@sub.example.co.uk",
        "!#$%&'*+/=?^_`{|}~-@example.com",
        "1@2.com",
        "user@xn--fsq.com",
        "user@my-host.example",
        "用户@例子.中国",
        "josé@example.com",
        "ａ@example.com",
        "x" * 64 + "@example.com",
        "user@" + "x" * 63 + ".com",
    ],
)
def test_an_address_is_kept_as_typed(address: str) -> None:
    assert check_email(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "user",
        "@example.com",
        "user@",
        "user@localhost",
        "user@@example.com",
        "a@b@example.com",
        "user@example.com.",
        "user@.example.com",
        "user@example..com",
        ".user@example.com",
        "user.@example.com",
        "us..er@example.com",
        "user@-example.com",
        "user@example-.com",
        "user@exa_mple.com",
        "user@127.0.0.1",
        "user@[127.0.0.1]",
        '"user name"@example.com',
        "user name@example.com",
        " user@example.com",
        "user@example.com ",
        "user@example.com\n",
        "user@exam\u00a0ple.com",
        "us\u2028er@example.com",
        "us\x00er@example.com",
        "us\u200ber@example.com",
        "us\ud800er@example.com",
        "us\ue000er@example.com",
        "User <user@example.com>",
        "user,other@example.com",
        "user＠example.com",
        "x" * 65 + "@example.com",
        "user@" + "x" * 64 + ".com",
        "ﷺ@example.com",
        "a＠b@example.com",
        "a…b@example.com",
        "user@a．.com",
    ],
)
def test_what_is_no_address_as_typed_or_as_compared_is_refused(address: str) -> None:
    with pytest.raises(InvalidEmail):
        check_email(address)


def address_of_length(length: int) -> str:
    local = "x" * 64
    labels = ["y" * 63, "y" * 63, "y" * (length - 64 - 1 - 63 - 1 - 63 - 1)]
    return f"{local}@{'.'.join(labels)}"


def test_an_address_has_at_most_254_characters() -> None:
    assert len(check_email(address_of_length(254))) == 254
    with pytest.raises(InvalidEmail):
        check_email(address_of_length(255))


def test_a_long_hostile_address_is_refused_at_once() -> None:
    for address in ("a" * 65_536, "a." * 32_768, "a@" + "b-" * 32_768, "@" * 65_536):
        with pytest.raises(InvalidEmail):
            check_email(address)
    for address in ("a@" + "b-" * 126, "a@" + "b." * 126, "a" * 253, "a." * 120 + "@b.c"):
        with pytest.raises(InvalidEmail):
            check_email(address)


def test_a_password_is_measured_in_bytes_of_utf_8() -> None:
    assert is_storable_password("x" * PASSWORD_MAX_BYTES)
    assert not is_storable_password("x" * (PASSWORD_MAX_BYTES + 1))
    assert is_storable_password("密" * (PASSWORD_MAX_BYTES // 3))
    assert not is_storable_password("密" * (PASSWORD_MAX_BYTES // 3 + 1))
    assert not is_storable_password("pass\ud800word")
