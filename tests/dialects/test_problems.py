"""The registry of problems under /v1 is complete, in both languages."""

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, cast

import pytest
from flask import Flask
from marshmallow import Schema, ValidationError

from authsvc.core import errors as facts
from authsvc.dialects.native.problems import ERRORS, FAULTS, PROBLEMS, failure
from authsvc.web.body import MalformedBody
from authsvc.web.client import language
from tests.dialects.pages import client_of
from tests.support.service import Service

PAGES = [
    import_module(f"authsvc.dialects.native.{page}")
    for page in ("account", "captcha", "recovery", "sessions", "users")
]
CJK = re.compile("[\u3400-\u9fff]")
CATCH_ALL = "internal_error"

NEVER_ANSWERED = {
    facts.AuthError: "the root, of which nothing is raised",
    facts.InvalidInput: "a family, of which nothing is raised",
    facts.Unavailable: "a family, of which nothing is raised",
    facts.Unsealable: "a secret of the service has changed: nothing that a client can help",
    facts.SignUpClosed: "raised for a document whose sign-up can be closed, which /v1 is not",
    facts.InvalidPasswordHash: "raised where an operator imports users, at the command line alone",
}


def codes() -> set[str]:
    """Every code that an error can be answered with."""
    answered = {code for (code,) in ERRORS.rows.values()}
    answered |= {code for rows in ERRORS.by_operation.values() for (code,) in rows.values()}
    return answered | {"invalid_fields"}


def every_fact() -> list[type[facts.AuthError]]:
    return [
        kind
        for _, kind in inspect.getmembers(facts, inspect.isclass)
        if issubclass(kind, facts.AuthError)
    ]


def example(kind: type[facts.AuthError]) -> facts.AuthError:
    """An error of this class, whatever it is made of."""
    wanted = inspect.signature(kind.__init__).parameters
    named = {"min_length": 8, "retry_after": 3, "free": 5, "reason": "common"}
    given = {name: named[name] for name in wanted if name in named}
    return kind(**given)


def texts() -> Iterator[tuple[str, str, str]]:
    """Every text of the registry: what it is of, English, Chinese."""
    for code, problem in PROBLEMS.items():
        yield f"{code} title", problem.en[0], problem.zh[0]
        yield f"{code} detail", problem.en[1], problem.zh[1]
    for code, (english, chinese) in FAULTS.items():
        yield f"fault {code}", english, chinese


def schemas() -> list[Schema]:
    """Every schema of the native pages, made as it is in use."""
    made = {type(part) for page in PAGES for part in vars(page).values() if _is_schema(part)}
    return [kind() for kind in sorted(made, key=lambda kind: kind.__name__)]


def _is_schema(part: Any) -> bool:
    return isinstance(part, Schema)


def classes_of(page: ModuleType) -> set[type[Schema]]:
    return {
        part
        for part in vars(page).values()
        if inspect.isclass(part) and issubclass(part, Schema) and part.__module__ == page.__name__
    }


def test_a_field_named_by_half_a_character_is_named_in_the_answer(service: Service) -> None:
    answer = client_of(service, 8080).post("/v1/login", {"\ud800": 1})
    assert answer.status == 400
    assert {"field": "\ud800", "code": "unknown_field", "detail": "This field is not known."} in (
        answer.json()["errors"]
    )


class TestRegistry:
    def test_every_code_that_is_answered_has_its_texts_and_no_text_is_left_over(self) -> None:
        assert codes() == set(PROBLEMS)

    @pytest.mark.parametrize("code", PROBLEMS)
    def test_a_code_is_a_word_in_lower_case_with_a_status_of_an_error(self, code: str) -> None:
        assert re.fullmatch("[a-z]+(_[a-z]+)*", code)
        assert 400 <= PROBLEMS[code].status <= 503

    @pytest.mark.parametrize(("what", "english", "chinese"), [*texts()], ids=lambda text: text[:40])
    def test_a_text_is_in_its_language(self, what: str, english: str, chinese: str) -> None:
        assert re.search("[a-z]", english), what
        assert english.isascii(), what
        assert CJK.search(chinese), what

    @pytest.mark.parametrize("code", PROBLEMS)
    def test_titles_and_details_tell_problems_of_one_status_apart(self, code: str) -> None:
        alike = [
            other
            for other, problem in PROBLEMS.items()
            if problem.status == PROBLEMS[code].status and problem.en == PROBLEMS[code].en
        ]
        assert alike == [code]

    @pytest.mark.parametrize("kind", every_fact(), ids=lambda kind: kind.__name__)
    def test_every_fact_of_the_core_is_answered_by_a_row_of_its_own_family(
        self, kind: type[facts.AuthError]
    ) -> None:
        row = ERRORS.row(example(kind), None)
        assert (row == (CATCH_ALL,)) == (kind in NEVER_ANSWERED)

    def test_the_tables_rows_are_reached(self) -> None:
        for kind, row in ERRORS.rows.items():
            if issubclass(kind, facts.AuthError):
                assert ERRORS.row(example(kind), None) == row


class TestFailure:
    @pytest.fixture
    def app(self) -> Flask:
        app = Flask("test")
        app.json.ensure_ascii = False  # type: ignore[attr-defined]
        app.json.sort_keys = False  # type: ignore[attr-defined]
        return app

    @pytest.mark.parametrize("kind", every_fact(), ids=lambda kind: kind.__name__)
    @pytest.mark.parametrize("spoken", ["en", "zh"])
    def test_every_fact_is_a_problem_of_rfc_9457(
        self, app: Flask, kind: type[facts.AuthError], spoken: str
    ) -> None:
        error = example(kind)
        [code] = ERRORS.row(error, None)
        with app.test_request_context(headers={"Accept-Language": spoken}):
            answer = failure(error, code)
        title, detail = getattr(PROBLEMS[code], spoken)
        body = answer.get_json()
        assert list(body)[:5] == ["type", "title", "status", "detail", "code"]
        assert {name: body[name] for name in list(body)[:5]} == {
            "type": f"urn:authsvc:problem:{code}",
            "title": title,
            "status": PROBLEMS[code].status,
            "detail": detail,
            "code": code,
        }
        assert answer.status_code == PROBLEMS[code].status
        assert answer.content_type == "application/problem+json"
        assert answer.headers["Content-Language"] == spoken
        assert "Accept-Language" in answer.headers["Vary"]

    def test_a_password_that_breaks_the_rule_says_which(self, app: Flask) -> None:
        with app.test_request_context():
            short = failure(facts.InvalidPassword(9), "invalid_password").get_json()
            weak = failure(facts.WeakPassword(9, "common"), "weak_password").get_json()
        assert short["minLength"] == 9
        assert weak["reason"] == "common"
        assert "minLength" not in weak

    @pytest.mark.parametrize("spoken", [0, 1])
    def test_every_fault_of_a_field_is_named_in_order(self, app: Flask, spoken: int) -> None:
        faults = {f"field{number}": [code] for number, code in enumerate(FAULTS)}
        headers = {"Accept-Language": ("en", "zh")[spoken]}
        with app.test_request_context(headers=headers):
            answer = failure(MalformedBody(faults), "malformed_request")
        assert answer.get_json()["code"] == "invalid_fields"
        assert answer.get_json()["errors"] == [
            {"field": field, "code": code, "detail": FAULTS[code][spoken]}
            for field, [code] in faults.items()
        ]


NONSENSE: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 10**30, 0.5, 1e300, "", "x", "x" * 300),
    *("x" * 20_000, "\ud800", "\0", "yes", "-1", "999999999999999999", [], ["x"], {}, {"a": 1}),
)
AS_QUERY = tuple(value for value in NONSENSE if isinstance(value, str))


class TestFaults:
    def test_every_schema_of_the_pages_is_walked(self) -> None:
        walked = {type(schema) for schema in schemas()}
        assert walked == {kind for page in PAGES for kind in classes_of(page)}
        assert len(walked) >= 18

    @pytest.mark.parametrize("schema", schemas(), ids=lambda schema: type(schema).__name__)
    def test_whatever_is_wrong_with_a_field_has_its_texts(self, schema: Schema) -> None:
        values = AS_QUERY if type(schema).__name__.endswith("Query") else NONSENSE
        bodies: list[dict[str, Any]] = [
            {},
            {"unknown": 1},
            *({name: value} for name in names(schema) for value in values),
        ]
        for body in bodies:
            try:
                schema.load(body)
            except facts.InvalidData:
                continue
            except ValidationError as error:
                told = cast(dict[str, list[str]], error.messages)
                assert all(isinstance(found, list) for found in told.values()), (body, told)
                assert {code for found in told.values() for code in found} <= set(FAULTS), body


def names(schema: Schema) -> list[str]:
    return [field.data_key or name for name, field in schema.fields.items()]


class TestLanguage:
    @pytest.mark.parametrize(
        ("wanted", "spoken"),
        [
            (None, "en"),
            ("", "en"),
            ("en", "en"),
            ("en-GB", "en"),
            ("zh", "zh"),
            ("zh-CN", "zh"),
            ("ZH-Hans-CN", "zh"),
            ("zh_CN", "zh"),
            ("zh-TW;q=0.5", "zh"),
            ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
            ("zh-CN, en;q=0.5", "zh"),
            ("zh-TW,en-US;q=0.8,en;q=0.7", "zh"),
            ("en-US,zh-CN;q=0.9", "en"),
            ("zh;q=0.3, en;q=0.7", "en"),
            ("fr", "en"),
            ("fr, zh;q=0.1", "zh"),
            ("fr-CH, fr;q=0.9, zh-CN;q=0.8, *;q=0.5", "zh"),
            ("*", "en"),
            ("zh;q=0", "en"),
            ("garbage", "en"),
            (";;;,,,q=zh;", "en"),
            ("zhzh", "en"),
            ("zh;q=garbage", "en"),
            ("\xff\xfe", "en"),
            ("x" * 5000, "en"),
            (",".join(["fr"] * 500 + ["zh"]), "zh"),
        ],
    )
    def test_the_language_is_the_one_that_the_client_reads_best(
        self, wanted: str | None, spoken: str
    ) -> None:
        headers = {} if wanted is None else {"Accept-Language": wanted}
        with Flask("test").test_request_context(headers=headers):
            assert language() == spoken
