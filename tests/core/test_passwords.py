"""What a password that is being set must be."""

import timeit

import pytest

from authsvc.core.errors import InvalidPassword, WeakPassword
from authsvc.core.passwords import PasswordRule

COMMON = frozenset({"password", "password1", "12345678", "123456", "qwertyuiop", "love", "密码123"})
MIN_LENGTH = 8


@pytest.fixture
def rule() -> PasswordRule:
    """Eight characters, and a handful of common passwords."""
    return PasswordRule(MIN_LENGTH, COMMON)


def weakness(
    rule: PasswordRule, password: str, username: str | None = None, email: str | None = None
) -> str | None:
    """Return why a password is refused as weak, if it is."""
    try:
        rule.check_strict(password, username, email)
    except WeakPassword as refused:
        return refused.reason
    return None


class TestForm:
    MALFORMED = (
        "",
        "1234567",
        "密码密码密码密",
        "x" * 1025,
        "密" * 342,
        "abcdefgh\ud800",
        "\udfff" * 8,
    )

    @pytest.mark.parametrize("password", MALFORMED)
    def test_a_password_that_is_too_short_or_too_long_or_no_text_is_refused(
        self, rule: PasswordRule, password: str
    ) -> None:
        for check in (rule.check_form, lambda given: rule.check_strict(given, "alice", None)):
            with pytest.raises(InvalidPassword) as refused:
                check(password)
            assert type(refused.value) is InvalidPassword
            assert refused.value.min_length == MIN_LENGTH

    @pytest.mark.parametrize(
        "password",
        ["x" * 8, "x" * 1024, "密" * 341, "密码密码密码密码", "\0" * 8, "password", "😀" * 8],
    )
    def test_by_form_alone_any_other_password_is_taken(
        self, rule: PasswordRule, password: str
    ) -> None:
        rule.check_form(password)

    def test_the_minimum_is_the_rules_own(self) -> None:
        long = PasswordRule(12, COMMON)
        long.check_form("x" * 12)
        with pytest.raises(InvalidPassword):
            long.check_form("x" * 11)


class TestCommon:
    def test_a_refusal_tells_the_minimum_too(self, rule: PasswordRule) -> None:
        with pytest.raises(WeakPassword) as refused:
            rule.check_strict("password", None, None)
        assert (refused.value.min_length, refused.value.reason) == (MIN_LENGTH, "common")

    @pytest.mark.parametrize(
        "password",
        [
            "password",
            "PassWord",
            "  password  ",
            "ｐａｓｓｗｏｒｄ",
            "password!",
            "Password2024",
            "password1234!",
            "password ...",
            "qwertyuiop7",
            "1234567890",
            "love2024",
            "密码123!!!!",
        ],
    )
    def test_a_common_password_is_refused_in_any_spelling_and_with_a_short_tail(
        self, rule: PasswordRule, password: str
    ) -> None:
        assert weakness(rule, password) == "common"

    @pytest.mark.parametrize(
        "password",
        [
            "password12345!",
            "passwordless",
            "xpassword",
            "password!x",
            "love20245",
            "lovely day",
            "correct horse",
            "........",
        ],
    )
    def test_a_password_that_has_more_to_it_is_taken(
        self, rule: PasswordRule, password: str
    ) -> None:
        assert weakness(rule, password) is None


class TestUsername:
    @pytest.mark.parametrize(
        "password",
        [
            "alicecooper",
            "ALICECooper",
            "ａｌｉｃｅｃｏｏｐｅｒ",
            "  alicecooper  ",
            "alicecooper1234567",
            "!!alicecooper!!",
            "alicecooperalicecooper",
            "repoocecila",
            "repoocecilaalicecooper",
            "alice.cooper.99",
            "a-l-i-c-e c_o_o_p_e_r",
            "alicecooper12345678",
            "passalicecooperword",
            "my alicecooper",
            "alicecooper        x",
        ],
    )
    def test_a_password_made_of_the_user_name_is_refused(
        self, rule: PasswordRule, password: str
    ) -> None:
        assert weakness(rule, password, "AliceCooper") == "username"
        assert weakness(rule, password, "alice.cooper") == "username"

    @pytest.mark.parametrize(
        "password",
        ["alicecooper likes tea", "malicefree7", "alice coop", "cooperalice", "aliceXcooper"],
    )
    def test_a_password_that_would_do_without_the_name_is_taken(
        self, rule: PasswordRule, password: str
    ) -> None:
        assert weakness(rule, password, "alicecooper") is None

    def test_a_name_inside_a_passphrase_is_no_harm(self, rule: PasswordRule) -> None:
        assert weakness(rule, "chalice of gold", "alice") is None
        assert weakness(rule, "alice likes tea", "alice") is None

    @pytest.mark.parametrize(
        ("username", "password"),
        [
            ("li", "lililili"),
            ("Li", "li198412"),
            ("li", "il!!!!!!"),
            ("li", "password li"),
            ("a", "aaaaaaaa"),
            ("a", "a9876543"),
            ("anna", "annaxy99"),
            ("王伟", "王伟王伟2024"),
            ("!!", "!!!!!!!!"),
            ("!?", "!?!?!?20"),
            ("straße", "STRASSE99"),
            ("١٢٣٤٥٦٧٨", "١٢٣٤٥٦٧٨"),
        ],
    )
    def test_a_short_or_unusual_name_is_refused_where_too_little_stands_beside_it(
        self, rule: PasswordRule, username: str, password: str
    ) -> None:
        assert weakness(rule, password, username) == "username"

    @pytest.mark.parametrize(
        ("username", "password"),
        [
            ("li", "li84Kq2x"),
            ("a", "brandy77"),
            ("tom", "custom7u"),
            ("王伟", "王伟的生日快乐啊"),
            ("!", "why not!!"),
            ("(.*)+", "anything else"),
            (" ", "any thing"),
            ("", "anything"),
        ],
    )
    def test_a_short_or_unusual_name_refuses_no_good_password(
        self, rule: PasswordRule, username: str, password: str
    ) -> None:
        assert weakness(rule, password, username) is None

    def test_a_password_of_another_users_name_is_taken(self, rule: PasswordRule) -> None:
        assert weakness(rule, "alicecooper", "bob", "bob@example.com") is None
        assert weakness(rule, "alicecooper") is None


class TestEmail:
    @pytest.mark.parametrize(
        "password",
        [
            "alice.b@example.com",
            "ALICE.B@EXAMPLE.COM",
            "alice.b@example.com123",
            "alicebexamplecom",
            "moc.elpmaxe@b.ecila",
            "alice.b!",
            "aliceb2024",
            "b.ecila99",
        ],
    )
    def test_a_password_made_of_the_address_or_its_local_part_is_refused(
        self, rule: PasswordRule, password: str
    ) -> None:
        assert weakness(rule, password, "someone else", "Alice.B@example.com") == "email"
        assert weakness(rule, password, None, "Alice.B@example.com") == "email"

    @pytest.mark.parametrize("password", ["example.com", "alice likes bob", "aliceb in wonder"])
    def test_a_password_that_would_do_without_the_address_is_taken(
        self, rule: PasswordRule, password: str
    ) -> None:
        assert weakness(rule, password, "someone else", "alice.b@example.com") is None

    def test_what_is_no_address_is_compared_whole(self, rule: PasswordRule) -> None:
        assert weakness(rule, "not-an-address1", None, "not-an-address") == "email"


class TestAll:
    def test_of_several_reasons_the_name_is_told_then_the_address_then_how_common_it_is(
        self, rule: PasswordRule
    ) -> None:
        address = "password@example.com"
        assert weakness(rule, "password", "password", address) == "username"
        assert weakness(rule, "password", "alice", address) == "email"
        assert weakness(rule, "password", "alice", "alice@example.com") == "common"

    @pytest.mark.parametrize(
        "password",
        ["a" * 1024, "a!" * 512, "a" + "!" * 1023, "!a" * 512, "ﷺ" * 341, "\0" * 1024, "ab" * 512],
    )
    @pytest.mark.parametrize("username", ["a" * 63 + "b", "ab" * 32, "!?" * 32, "a!" * 32])
    def test_the_longest_names_and_passwords_take_next_to_no_time(
        self, rule: PasswordRule, username: str, password: str
    ) -> None:
        def least_seconds(password: str, username: str) -> float:
            address = f"{username}@example.com"
            return min(timeit.repeat(lambda: weakness(rule, password, username, address), number=1))

        assert least_seconds(password, username) < 300 * least_seconds("x" * 1024, "y" * 64)
