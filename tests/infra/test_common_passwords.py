"""The table of the passwords that people use most."""

import random
import string
import timeit

import pytest

from authsvc.infra.common_passwords import RECORD_BYTES, TABLE, CommonPasswordTable, record
from tests.support.make_common_passwords import COMMON, table


@pytest.fixture(scope="module")
def common() -> CommonPasswordTable:
    """The table as it ships."""
    return CommonPasswordTable()


def test_the_file_is_what_its_maker_makes_of_the_list() -> None:
    assert TABLE.read_bytes() == table()


def test_the_file_holds_sorted_records_one_for_each_password_of_the_list() -> None:
    content = TABLE.read_bytes()
    records = [content[at : at + RECORD_BYTES] for at in range(0, len(content), RECORD_BYTES)]
    assert len(content) == 150_000
    assert len(records) == len(set(COMMON)) == 30_000
    assert records == sorted(set(records))


def test_every_password_of_the_list_is_common(common: CommonPasswordTable) -> None:
    assert [password for password in COMMON if password not in common] == []


@pytest.mark.parametrize(
    "spelling",
    ["password", "PASSWORD", "PassWord", "ｐａｓｓｗｏｒｄ", "ＰＡＳＳＷＯＲＤ", "paſſword"],
)
def test_case_and_width_make_no_difference(common: CommonPasswordTable, spelling: str) -> None:
    assert spelling in common


@pytest.mark.parametrize(
    "password",
    [
        "",
        "correct horse battery staple",
        "password ",
        "p",
        "密码密码密码",
        "\0",
        "\ud800",
        "😀" * 300,
    ],
)
def test_other_text_is_not_common(common: CommonPasswordTable, password: str) -> None:
    assert password not in common


def test_of_a_hundred_thousand_random_passwords_none_is_taken_for_a_common_one(
    common: CommonPasswordTable,
) -> None:
    chance = random.Random(4)
    letters = string.ascii_lowercase + string.digits
    tries = ("".join(chance.choices(letters, k=14)) for _ in range(100_000))
    assert [password for password in tries if password in common] == []


def test_the_least_and_the_greatest_record_are_found(common: CommonPasswordTable) -> None:
    for extreme in (min, max):
        assert extreme(COMMON, key=record) in common


def test_a_look_up_does_not_read_the_whole_table(common: CommonPasswordTable) -> None:
    content = TABLE.read_bytes()
    one = min(timeit.repeat(lambda: "correct horse" in common, number=100))
    whole = min(timeit.repeat(lambda: content.count(b"\0"), number=100))
    assert one < 2 * whole
