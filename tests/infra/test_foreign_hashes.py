"""Hashes made elsewhere are verified as their makers do, and none costs more than it may."""

import base64
import hashlib
import itertools
import logging
import random
import re
from collections.abc import Callable
from pathlib import Path

import bcrypt
import pytest
from argon2 import PasswordHasher, Type
from werkzeug.security import check_password_hash, generate_password_hash

from authsvc.core.errors import Overloaded
from authsvc.infra.hashing import Argon2Hasher, HashSlots
from tests.infra.databases import Crowd

PASSWORDS = ["password", "lètmein", "密码密码密码", "😀" * 9, "", " ", "pass word", "x" * 71]
Make = Callable[[str], str]


def bcrypt_hash(password: str, prefix: bytes = b"2b") -> str:
    read = password.encode()[:72]
    return bcrypt.hashpw(read, bcrypt.gensalt(4, b"2a" if prefix == b"2a" else b"2b")).decode()


def bcrypt_2y(password: str) -> str:
    return bcrypt_hash(password).replace("$2b$", "$2y$")


def django_bcrypt_sha256(password: str) -> str:
    digest = hashlib.sha256(password.encode()).hexdigest()
    return f"bcrypt_sha256${bcrypt_hash(digest)}"


def django_pbkdf2(password: str, digest: str = "sha256", iterations: int = 100) -> str:
    derived = hashlib.pbkdf2_hmac(digest, password.encode(), b"seasalt", iterations)
    return f"pbkdf2_{digest}${iterations}$seasalt${base64.b64encode(derived).decode()}"


def argon2(password: str, kind: Type = Type.ID) -> str:
    maker = PasswordHasher(memory_cost=16, time_cost=1, parallelism=2, hash_len=16, type=kind)
    return maker.hash(password)


MAKERS: dict[str, Make] = {
    "bcrypt 2a": lambda password: bcrypt_hash(password, b"2a"),
    "bcrypt 2b": bcrypt_hash,
    "bcrypt 2y": bcrypt_2y,
    "Django bcrypt": lambda password: f"bcrypt${bcrypt_hash(password)}",
    "Django bcrypt_sha256": django_bcrypt_sha256,
    "Django PBKDF2 sha256": django_pbkdf2,
    "Django PBKDF2 sha1": lambda password: django_pbkdf2(password, "sha1"),
    "Django argon2": lambda password: "argon2" + argon2(password),
    "argon2id": argon2,
    "argon2i": lambda password: argon2(password, Type.I),
    "argon2d": lambda password: argon2(password, Type.D),
    "werkzeug scrypt": lambda password: generate_password_hash(password, "scrypt:1024:8:1"),
    "werkzeug PBKDF2 sha1": lambda password: generate_password_hash(password, "pbkdf2:sha1:99"),
    "werkzeug PBKDF2 sha256": lambda password: generate_password_hash(password, "pbkdf2:sha256:1"),
    "werkzeug PBKDF2 sha512": lambda password: generate_password_hash(password, "pbkdf2:sha512:9"),
}
BCRYPT = ["bcrypt 2a", "bcrypt 2b", "bcrypt 2y", "Django bcrypt"]
each_form = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@pytest.fixture
def slots(tmp_path: Path) -> HashSlots:
    """One slot, soon given up."""
    return HashSlots(tmp_path, 1, wait=0.2)


@pytest.fixture
def hasher(tmp_path: Path) -> Argon2Hasher:
    """A hasher whose own hashes cost next to nothing, and that waits for its only slot."""
    slots = HashSlots(tmp_path, 1, wait=30)
    return Argon2Hasher(slots, memory_kib=8, time_cost=1, parallelism=1)


class TestEveryForm:
    @each_form
    @pytest.mark.parametrize("password", PASSWORDS)
    def test_only_the_password_that_was_hashed_is_right(
        self, hasher: Argon2Hasher, make: Make, password: str
    ) -> None:
        made = make(password)
        assert hasher.verify(made, password)
        for wrong in (password + "x", "x" + password, password + " ", password.upper() + "X"):
            assert not hasher.verify(made, wrong)

    @each_form
    def test_passwords_at_random_are_told_apart(self, hasher: Argon2Hasher, make: Make) -> None:
        chance = random.Random(4)
        for _ in range(20):
            password = "".join(chance.choices("aB3 é密😀$:\n", k=chance.randrange(1, 18)))
            made = make(password)
            assert hasher.verify(made, password)
            assert not hasher.verify(made, password + "x")
            assert not hasher.verify(made, password[:-1])

    @each_form
    def test_a_hash_made_elsewhere_is_known_and_needs_renewing(
        self, hasher: Argon2Hasher, make: Make
    ) -> None:
        made = make("password")
        assert hasher.is_known(made)
        assert hasher.needs_rehash(made)

    @each_form
    def test_a_hash_made_elsewhere_holds_a_slot_while_it_is_verified(
        self, slots: HashSlots, make: Make
    ) -> None:
        made = make("password")
        hasher = Argon2Hasher(slots, memory_kib=8, time_cost=1, parallelism=1)
        with slots.hold(), Crowd(None, 1) as crowd:
            assert isinstance(crowd.begin(hasher.verify, made, "password").exception(5), Overloaded)

    @each_form
    def test_a_hash_that_was_cut_or_grew_is_not_known_and_no_ones_password(
        self, hasher: Argon2Hasher, make: Make
    ) -> None:
        made = make("password")
        cut = [made[:length] for length in range(len(made))]
        grown = [
            made + "a",
            made + "=",
            made + "$",
            made + "\n",
            "a" + made,
            " " + made,
            made + "é",
        ]
        for damaged in cut + grown:
            assert not hasher.is_known(damaged)
            assert not hasher.verify(damaged, "password")

    @each_form
    def test_a_hash_with_another_character_is_another_hash(
        self, hasher: Argon2Hasher, make: Make
    ) -> None:
        made = make("password")
        known = 0
        for place, character in itertools.product(range(len(made)), "a9$é"):
            changed = made[:place] + character + made[place + 1 :]
            if any_bcrypt(changed) != any_bcrypt(made) and hasher.is_known(changed):
                assert not hasher.verify(changed, "password")
                known += 1
        assert known > 20


def any_bcrypt(password_hash: str) -> str:
    """Return the hash with one name for the three that bcrypt has."""
    return re.sub(r"\$2[aby]\$", "$2b$", password_hash)


class TestPublishedHashes:
    """Hashes that are printed in the tests and specifications of their makers."""

    @pytest.mark.parametrize(
        ("password_hash", "password"),
        [
            # Django's own test of its hashers, in the release of 390,000 iterations
            (
                "pbkdf2_sha256$390000$seasalt$8xBlGd3jVgvJ+92hWPxi5ww0uuAuAnKgC45eudxro7c=",
                "lètmein",
            ),
            # djangohashers, which holds itself to Django 1.9
            (
                "pbkdf2_sha256$24000$KQ8zeK6wKRuR$cmhbSt1XVKuO4FGd9+AX8qSBD4Z0395nZatXTJpEtTY=",
                "ExjGmyUT73bFoT",
            ),
            ("pbkdf2_sha1$24000$KQ8zeK6wKRuR$tSJh4xdxfMJotlxfkCGjTFpGYZU=", "ExjGmyUT73bFoT"),
            # crypt_blowfish
            ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
            # RFC 7914, section 12
            (
                "scrypt:16384:8:1$SodiumChloride$"
                "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
                "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887",
                "pleaseletmein",
            ),
            # RFC 6070
            ("pbkdf2:sha1:4096$salt$4b007901b765489abead49d926f721d065a429c1", "password"),
        ],
    )
    def test_a_published_hash_is_verified(
        self, hasher: Argon2Hasher, password_hash: str, password: str
    ) -> None:
        assert hasher.is_known(password_hash)
        assert hasher.verify(password_hash, password)
        assert not hasher.verify(password_hash, password + "z")


class TestBcrypt:
    @pytest.mark.parametrize("form", BCRYPT)
    @pytest.mark.parametrize(
        "password",
        ["x" * 72, "x" * 73, "x" * 1024, "密" * 24 + "码", "😀" * 100],
        ids=lambda password: f"{len(password)} {password[-1]}",
    )
    def test_only_the_first_seventy_two_bytes_count_as_they_did_where_it_was_made(
        self, hasher: Argon2Hasher, form: str, password: str
    ) -> None:
        made = MAKERS[form](password)
        assert hasher.verify(made, password)
        assert hasher.verify(made, password + "x")
        assert not hasher.verify(made, "y" + password[1:])
        assert not hasher.verify(made, password.encode()[:71].decode(errors="ignore"))

    def test_under_djangos_sha256_every_byte_counts(self, hasher: Argon2Hasher) -> None:
        made = django_bcrypt_sha256("x" * 200)
        assert hasher.verify(made, "x" * 200)
        assert not hasher.verify(made, "x" * 201)
        assert not hasher.verify(made, "x" * 72)

    @pytest.mark.parametrize("form", BCRYPT)
    def test_a_password_does_not_go_on_after_a_nul(self, hasher: Argon2Hasher, form: str) -> None:
        made = MAKERS[form]("ab")
        assert bcrypt.checkpw(b"ab\0ab", made[-60:].encode())
        assert not hasher.verify(made, "ab\0ab")


class TestNul:
    @pytest.mark.parametrize("form", [form for form in MAKERS if form not in BCRYPT])
    def test_a_nul_within_a_password_is_a_character_like_any_other(
        self, hasher: Argon2Hasher, form: str
    ) -> None:
        made = MAKERS[form]("ab\0cd")
        assert hasher.verify(made, "ab\0cd")
        for wrong in ("ab", "ab\0", "ab\0ce", "abcd"):
            assert not hasher.verify(made, wrong)

    @pytest.mark.parametrize("form", [form for form in MAKERS if form.startswith("werkzeug")])
    def test_a_nul_at_the_end_counts_as_little_as_where_the_hash_was_made(
        self, hasher: Argon2Hasher, form: str
    ) -> None:
        made = MAKERS[form]("password")
        for password in ("password\0", "password\0\0", "\0password"):
            assert hasher.verify(made, password) == check_password_hash(made, password)


DIGEST = "A" * 42 + "E="
HEX = "0" * 128


class TestBounds:
    @pytest.mark.parametrize(
        ("dearest", "too_dear"),
        [
            ("$2b$16$" + "." * 53, "$2b$17$" + "." * 53),
            ("bcrypt_sha256$$2b$16$" + "." * 53, "bcrypt_sha256$$2b$31$" + "." * 53),
            (f"pbkdf2_sha256$5000000$salt${DIGEST}", f"pbkdf2_sha256$5000001$salt${DIGEST}"),
            (f"pbkdf2:sha512:5000000$salt${HEX}", f"pbkdf2:sha512:999999999$salt${HEX}"),
            (f"scrypt:262144:8:1$salt${HEX}", f"scrypt:524288:8:1$salt${HEX}"),
            (f"scrypt:262144:8:1$salt${HEX}", f"scrypt:262144:16:1$salt${HEX}"),
            (f"scrypt:32768:8:8$salt${HEX}", f"scrypt:32768:8:9$salt${HEX}"),
            (f"scrypt:32768:1:1$salt${HEX}", f"scrypt:2:999999999:999999999$salt${HEX}"),
            ("$argon2id$v=19$m=262144,t=4,p=1$", "$argon2id$v=19$m=262145,t=1,p=1$"),
            ("argon2$argon2id$v=19$m=102400,t=2,p=8$", "argon2$argon2id$v=19$m=102400,t=11,p=8$"),
            ("$argon2id$v=19$m=128,t=1,p=16$", "$argon2id$v=19$m=136,t=1,p=17$"),
        ],
    )
    def test_a_hash_is_known_only_up_to_what_a_log_in_may_cost(
        self, hasher: Argon2Hasher, dearest: str, too_dear: str
    ) -> None:
        argon2_end = "A" * 22 + "$" + "A" * 43
        dearest, too_dear = (
            made + argon2_end if "v=19" in made else made for made in (dearest, too_dear)
        )
        assert hasher.is_known(dearest)
        assert not hasher.is_known(too_dear)

    @pytest.mark.parametrize(
        "made",
        [
            "$2b$17$" + "." * 53,
            f"pbkdf2_sha256$5000001$salt${DIGEST}",
            f"scrypt:524288:8:1$salt${HEX}",
        ],
    )
    def test_a_hash_that_costs_too_much_is_no_ones_password_at_once(
        self, hasher: Argon2Hasher, made: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert not hasher.verify(made, "password")
        assert "cannot be read" in caplog.text

    @pytest.mark.parametrize(
        "made",
        [
            "$argon2id$v=19$m=16,t=1,p=1$" + "A" * 22 + "$" + "A" * 20,
            "$argon2id$v=20$m=16,t=1,p=1$" + "A" * 22 + "$" + "A" * 43,
            "$argon2id$v=16$m=16,t=1,p=1$" + "A" * 22 + "$" + "A" * 43,
            "$argon2id$m=16,t=1,p=1$" + "A" * 22 + "$" + "A" * 43,
        ],
    )
    def test_an_argon2_hash_of_too_few_bytes_or_of_another_version_is_not_known(
        self, hasher: Argon2Hasher, made: str
    ) -> None:
        assert not hasher.is_known(made)

    def test_a_hash_fills_the_column_and_no_more(self, hasher: Argon2Hasher) -> None:
        made = f"pbkdf2_sha256$1${{}}${DIGEST}"
        room = 255 - len(made.format(""))
        assert hasher.is_known(made.format("s" * room))
        assert not hasher.is_known(made.format("s" * (room + 1)))

    def test_todays_own_parameters_are_known_however_dear(self, slots: HashSlots) -> None:
        cheap, dear = (
            Argon2Hasher(slots, memory_kib=136, time_cost=1, parallelism=lanes) for lanes in (1, 17)
        )
        made = dear.hash("password")
        assert dear.is_known(made)
        assert not cheap.is_known(made)


MALFORMED = [
    "",
    "plain",
    "password",
    "5f4dcc3b5aa765d61d8327deb882cf99",
    "!",
    "md5$salt$3f86d0d3d465b7b458c231bf3555c0e3",
    "sha1$seasalt$cff36ea83f5706ce9aa7454e63e431fc726b2dc8",
    "$1$salt$qJH7.N4xYta3aEG/dfqo/0",
    "$6$salt$" + "a" * 86,
    "$2$04$" + "." * 53,
    "$2x$04$" + "." * 53,
    "$2b$03$" + "." * 53,
    "$2b$4$" + "." * 53,
    "$2b$-4$" + "." * 53,
    "$2b$٠٤$" + "." * 53,
    "$2b$04$" + "." * 52,
    "$2b$04$" + "." * 54,
    "$2b$04$" + "." * 52 + "!",
    "$2b$04$" + "." * 21 + "/" + "." * 31,
    "$2b$04$" + "." * 52 + "/",
    "bcrypt_sha256$2b$04$" + "." * 53,
    "bcrypt$bcrypt$$2b$04$" + "." * 53,
    f"pbkdf2_sha256$0$salt${DIGEST}",
    f"pbkdf2_sha256$-1$salt${DIGEST}",
    f"pbkdf2_sha256$1e3$salt${DIGEST}",
    f"pbkdf2_sha256$٩$salt${DIGEST}",
    f"pbkdf2_sha256$1$$salt${DIGEST}",
    f"pbkdf2_sha256$1$${DIGEST}",
    f"pbkdf2_sha256$1$s lt${DIGEST}",
    f"pbkdf2_sha256$1$sält${DIGEST}",
    f"pbkdf2_sha256$$salt${DIGEST}",
    f"pbkdf2_md5$1$salt${DIGEST}",
    f"pbkdf2_sha1$1$salt${DIGEST}",
    "pbkdf2_sha256$1$salt$" + "A" * 42 + "B=",
    "pbkdf2_sha256$1$salt$" + "A" * 43,
    "pbkdf2_sha256$1$salt$" + "A" * 44,
    "pbkdf2_sha256$1$salt$" + "!" * 43 + "=",
    f"pbkdf2:sha256:1$salt${HEX}",
    "pbkdf2:sha256:1$salt$" + "0" * 63,
    "pbkdf2:sha256:1$salt$" + "g" * 64,
    "pbkdf2:sha256:1$salt$" + "A" * 64,
    "pbkdf2:sha256$salt$" + "0" * 64,
    "pbkdf2:sha256:1:1$salt$" + "0" * 64,
    "pbkdf2:shake_256:1$salt$" + "0" * 64,
    f"scrypt$salt${HEX}",
    f"scrypt:0:8:1$salt${HEX}",
    f"scrypt:1:8:1$salt${HEX}",
    f"scrypt:1000:8:1$salt${HEX}",
    f"scrypt:1024:0:1$salt${HEX}",
    f"scrypt:1024:8:0$salt${HEX}",
    f"scrypt:65536:1:1$salt${HEX}",
    f"scrypt:1024:8$salt${HEX}",
    "scrypt:1024:8:1$salt$" + "0" * 64,
    "$argon2id$",
    "$argon2id$v=19$m=16,t=1,p=1$$",
    "$argon2id$v=19$m=16,t=1,p=1$" + "A" * 10 + "$" + "A" * 43,
    "$argon2id$v=19$m=16,t=1,p=1$" + "A" * 21 + "B$" + "A" * 43,
    "$argon2id$v=19$m=16,t=1,p=1$" + "A" * 22 + "$" + "A" * 42 + "B",
    "$argon2id$v=19$m=16,t=1,p=1$" + "A" * 22 + "$" + "A" * 45,
    "$argon2id$v=19$m=15,t=1,p=2$" + "A" * 22 + "$" + "A" * 43,
    "$argon2id$v=19$m=16,t=0,p=1$" + "A" * 22 + "$" + "A" * 43,
    "$argon2id$v=19$m=016,t=1,p=1$" + "A" * 22 + "$" + "A" * 43,
    "$argon2x$v=19$m=16,t=1,p=1$" + "A" * 22 + "$" + "A" * 43,
    "argon2argon2$argon2id$v=19$m=16,t=1,p=1$" + "A" * 22 + "$" + "A" * 43,
    "密码",
    "\ud800",
    "$argon2id$v=19$m=16,t=1,p=1$é$" + "A" * 43,
]


class TestMalformed:
    @pytest.mark.parametrize("malformed", MALFORMED)
    def test_what_no_maker_of_hashes_writes_is_not_known_and_no_ones_password(
        self, hasher: Argon2Hasher, malformed: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert not hasher.is_known(malformed)
        assert not hasher.verify(malformed, "")
        assert not hasher.verify(malformed, "password")
        assert {record.levelno for record in caplog.records} == {logging.ERROR}
        assert len(malformed) < 20 or malformed not in caplog.text
        assert hasher.needs_rehash(malformed)

    @pytest.mark.parametrize("readable", ["A" * 22, "A" * 11, "A" * 24])
    def test_every_argon2_hash_that_is_known_can_be_read(
        self, hasher: Argon2Hasher, readable: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        for end in ("A" * 22, "A" * 24, "A" * 43, "A" * 86):
            for made in (
                f"$argon2{kind}$v=19$m=16,t=1,p=2${readable}${end}" for kind in ("i", "id")
            ):
                assert hasher.is_known(made)
                assert not hasher.verify(made, "password")
        assert caplog.text == ""

    def test_a_wrong_password_is_not_logged(
        self, hasher: Argon2Hasher, caplog: pytest.LogCaptureFixture
    ) -> None:
        for make in MAKERS.values():
            assert not hasher.verify(make("password"), "wrong")
        assert caplog.text == ""
