"""Sealed secrets: only the same secret, for the same purpose, reads them."""

import base64

import pytest

from authsvc.core.errors import Unsealable
from authsvc.infra.vault import Vault

SECRET = "a key of more than thirty-two bytes"
PURPOSE = "totp of user 7"
PLAIN = b"the private half \x00\xff"


@pytest.fixture
def vault() -> Vault:
    return Vault(SECRET)


def changed(text: str, at: int) -> str:
    """Return the text with another letter of the same alphabet at this place."""
    return text[:at] + ("B" if text[at] == "A" else "A") + text[at + 1 :]


@pytest.mark.parametrize("plain", [PLAIN, b"", bytes(range(256)) * 16])
def test_what_was_sealed_is_read_by_every_vault_of_the_secret(vault: Vault, plain: bytes) -> None:
    assert Vault(SECRET).open(vault.seal(plain, PURPOSE), PURPOSE) == plain


def test_sealed_text_tells_its_version_and_nothing_of_what_it_holds(vault: Vault) -> None:
    sealed = vault.seal(PLAIN, PURPOSE)
    version, _, content = sealed.partition(".")
    assert version == "v1"
    assert sealed.isascii()
    held = base64.urlsafe_b64decode(content)
    assert len(held) == 12 + len(PLAIN) + 16
    assert PLAIN[:8] not in held
    assert PURPOSE.encode() not in held


def test_nothing_is_sealed_twice_alike(vault: Vault) -> None:
    sealed = [vault.seal(PLAIN, PURPOSE) for _ in range(50)]
    nonces = {base64.urlsafe_b64decode(text.removeprefix("v1."))[:12] for text in sealed}
    assert len(nonces) == len(set(sealed)) == 50


@pytest.mark.parametrize("purpose", ["totp of user 8", "totp of user 70", "", "TOTP of user 7"])
def test_another_purpose_reads_nothing(vault: Vault, purpose: str) -> None:
    with pytest.raises(Unsealable):
        vault.open(vault.seal(PLAIN, PURPOSE), purpose)


@pytest.mark.parametrize("secret", [SECRET + "x", SECRET[:-1], SECRET.upper()])
def test_another_secret_reads_nothing(vault: Vault, secret: str) -> None:
    with pytest.raises(Unsealable):
        Vault(secret).open(vault.seal(PLAIN, PURPOSE), PURPOSE)


def test_text_that_was_changed_anywhere_is_refused(vault: Vault) -> None:
    sealed = vault.seal(PLAIN, PURPOSE)
    for at in range(len(sealed)):
        with pytest.raises(Unsealable):
            vault.open(changed(sealed, at), PURPOSE)


def test_text_that_was_cut_anywhere_is_refused(vault: Vault) -> None:
    sealed = vault.seal(PLAIN, PURPOSE)
    for length in range(len(sealed)):
        with pytest.raises(Unsealable):
            vault.open(sealed[:length], PURPOSE)


@pytest.mark.parametrize(
    "respell",
    [
        lambda sealed: sealed.removeprefix("v1."),
        lambda sealed: sealed.replace("v1.", "v2."),
        lambda sealed: "v1." + sealed,
        lambda sealed: sealed + "\n",
        lambda sealed: sealed + "=",
        lambda sealed: sealed + "!",
        lambda sealed: sealed[:9] + "!" + sealed[9:],
        lambda sealed: sealed.replace("-", "+").replace("_", "/"),
        lambda sealed: sealed + "é",
        lambda sealed: sealed + "\ud800",
        lambda _: "",
        lambda _: "v1.",
        lambda _: "{}",
    ],
    ids=range(13),
)
def test_text_that_seal_does_not_write_is_refused(vault: Vault, respell: object) -> None:
    sealed = next(
        text
        for text in (vault.seal(PLAIN, PURPOSE) for _ in range(1000))
        if "-" in text and "_" in text
    )
    assert callable(respell)
    with pytest.raises(Unsealable):
        vault.open(respell(sealed), PURPOSE)
