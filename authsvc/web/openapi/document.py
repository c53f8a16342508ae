"""A dialect's OpenAPI document, made of the very things that serve its requests."""

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask
from werkzeug.routing import Rule

from authsvc.core.captchas import SIGN_UP
from authsvc.core.errors import InvalidToken
from authsvc.web import cookies
from authsvc.web.answers import Declared, answers_of
from authsvc.web.body import JSON, QUERY, Taken, taken_by
from authsvc.web.client_credentials import client_is_known
from authsvc.web.dialect import Dialect, captchas
from authsvc.web.openapi.failures import NO_OPERATION, Failure, failures_of, met_by
from authsvc.web.openapi.promises import Promises, promises_of
from authsvc.web.openapi.words import WORDS
from authsvc.web.service import VERSION

Json = dict[str, Any]
Examples = Mapping[str, list[Json]]
"""Operation, as `POST /login` → its examples; under the empty name those of no operation."""

OPENAPI = "3.1.0"
WITHOUT_CAPTCHA = "-without-captcha"

_IMPLIED_METHODS = frozenset({"HEAD", "OPTIONS"})
_VARIABLE = re.compile(r"<(?:[^<>:]*:)?([^<>]*)>")
_OF_RATES = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
_NUMBERS = frozenset({*_OF_RATES, "Retry-After"})
_SCHEMES: Mapping[str, Json] = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "client": {"type": "http", "scheme": "basic"},
    "accessCookie": {"type": "apiKey", "in": "cookie", "name": cookies.ACCESS},
    "refreshCookie": {"type": "apiKey", "in": "cookie", "name": cookies.REFRESH},
    "page": {"type": "apiKey", "in": "header", "name": cookies.CSRF_HEADER},
}


def document_of(dialect: Dialect, folder: Path) -> Json:
    """Return the document of a dialect, without `servers`; within an application.

    Args:
        dialect: the dialect.
        folder: where the examples are, a file for each document that has any.
    """
    return _Builder(dialect, examples_of(dialect, folder)).build()


def examples_of(dialect: Dialect, folder: Path) -> Examples:
    """Return a dialect's examples; of its edition without a captcha where there is one in force."""
    editions = [dialect.name] if captchas.is_required(SIGN_UP) else [dialect.name + WITHOUT_CAPTCHA]
    for edition in [*editions, dialect.name]:
        file = folder / f"{edition}.json"
        if file.is_file():
            examples: Examples = json.loads(file.read_text(encoding="utf-8"))
            return examples
    return {}


def operations_of(dialect: Dialect) -> Iterator[tuple[str, str, str, Callable[..., Any]]]:
    """Yield method, path below the prefix, name and view of every operation."""
    pages = Flask(dialect.name, static_folder=None)
    for blueprint in dialect.blueprints:
        pages.register_blueprint(blueprint)
    for rule in pages.url_map.iter_rules():
        for method in sorted(_methods(rule)):
            name = rule.endpoint.rpartition(".")[2]
            yield method, template_of(rule.rule), name, pages.view_functions[rule.endpoint]


def template_of(rule: str) -> str:
    """Return a rule's path as OpenAPI writes it."""
    return _VARIABLE.sub(r"{\1}", rule)


class _Builder:
    def __init__(self, dialect: Dialect, examples: Examples) -> None:
        self._dialect = dialect
        self._examples = examples
        self._words = WORDS[dialect.language]
        self._headers: set[str] = set()
        self._schemes: set[str] = set()
        self._spec = APISpec(
            dialect.title or dialect.name,
            VERSION,
            OPENAPI,
            plugins=[MarshmallowPlugin(schema_name_resolver=_inline)],
        )

    def build(self) -> Json:
        for declared in answers_of(self._dialect.failure):
            if declared.schema is not None:
                self._spec.components.schema("Failure", declared.schema)
        for method, path, name, view in operations_of(self._dialect):
            self._spec.path(
                path,
                parameters=[_variable(name) for name in re.findall(r"\{(.*?)\}", path)],
                operations={method.lower(): self._operation(f"{method} {path}", name, view)},
            )
        self._say_what_no_operation_answers()
        self._declare_shared()
        document: Json = _without_absent_defaults(self._spec.to_dict())
        return document

    def _operation(self, place: str, name: str, view: Callable[..., Any]) -> Json:
        method = place.partition(" ")[0]
        promises, taken = promises_of(view), taken_by(view)
        summary, _, description = (inspect.getdoc(view) or name).partition("\n\n")
        operation: Json = {"operationId": name, "summary": summary.rstrip(".。")}
        if description:
            operation["description"] = description
        if taken is not None and taken.place == QUERY:
            operation["parameters"] = [{"in": "query", "schema": taken.schema_in_force}]
        elif taken is not None:
            operation["requestBody"] = self._body(place, taken)
        if security := self._security(method, promises):
            self._schemes.update(*security)
            operation["security"] = security
        operation["responses"] = self._responses(place, name, view, promises)
        return operation

    def _body(self, place: str, taken: Taken) -> Json:
        sent = {
            example["name"]: _shown(example, "request")
            for example in self._examples.get(place, [])
            if "request" in example and example["status"] < 400
        }
        content: Json = {"schema": taken.schema_in_force}
        if sent and taken.place == JSON:
            content["examples"] = sent
        return {"required": not taken.optional, "content": {taken.place: content}}

    def _security(self, method: str, promises: Promises) -> list[Json]:
        """Return the ways to prove who asks; `{}` is to prove it in the body, or nothing."""
        if client_is_known in promises.calls:
            return [{"client": []}, {}]
        ways: list[Json] = [{"bearer": []}] if InvalidToken in promises.facts else []
        if not cookies.are_allowed():
            return ways
        page: Json = {} if method in cookies.SAFE_METHODS else {"page": []}
        if cookies.access_token in promises.calls:
            ways.append({"accessCookie": [], **page})
        if cookies.refresh_token in promises.calls:
            ways += [{}, {"refreshCookie": [], **page}]
        return ways

    def _responses(
        self, place: str, name: str, view: Callable[..., Any], promises: Promises
    ) -> dict[str, Json]:
        taken = taken_by(view)
        facts = met_by(self._dialect, promises.facts, taken)
        rates = _OF_RATES if hasattr(view, "limited") else ()
        responses: dict[str, Json] = {}
        for declared in answers_of(view):
            self._add_answer(responses, declared, rates)
        for failure in failures_of(self._dialect, name, facts):
            self._add_failure(responses, failure, rates)
        for example in self._examples.get(place, []):
            _add_example(responses, example)
        return dict(sorted(responses.items()))

    def _add_answer(
        self, responses: dict[str, Json], declared: Declared, rates: tuple[str, ...]
    ) -> None:
        response = responses.setdefault(
            str(declared.status), self._response(self._words["done"], {*rates})
        )
        if declared.media_type is not None:
            content = response.setdefault("content", {}).setdefault(declared.media_type, {})
            if declared.schema is not None:
                _also(content, declared.schema)

    def _add_failure(
        self, responses: dict[str, Json], failure: Failure, rates: tuple[str, ...]
    ) -> None:
        said = "\n".join(f"- {sentence}" for sentence in failure.sentences)
        response = responses.get(str(failure.status))
        if response is None:
            response = responses[str(failure.status)] = self._response(said, {*rates})
        else:
            response["description"] += f"\n{said}"
        response["headers"] |= self._header_refs(failure.headers)
        content = response.setdefault("content", {}).setdefault(failure.media_type, {})
        _also(content, {"$ref": "#/components/schemas/Failure"})

    def _response(self, description: str, headers: set[str]) -> Json:
        refs = self._header_refs({"X-Request-ID", *headers})
        return {"description": description, "headers": refs}

    def _header_refs(self, names: set[str] | frozenset[str]) -> Json:
        self._headers |= names
        return {name: {"$ref": f"#/components/headers/{name}"} for name in sorted(names)}

    def _say_what_no_operation_answers(self) -> None:
        responses: dict[str, Json] = {}
        for failure in failures_of(self._dialect, None, NO_OPERATION):
            self._add_failure(responses, failure, ())
        for example in self._examples.get("", []):
            _add_example(responses, example)
        for status, response in responses.items():
            self._spec.components.response(f"Status{status}", response)

    def _declare_shared(self) -> None:
        for name in sorted(self._headers):
            kind = "integer" if name in _NUMBERS else "string"
            header = {"description": self._words[name], "schema": {"type": kind}}
            self._spec.components.header(name, header)
        for name in sorted(self._schemes):
            scheme = _SCHEMES[name] | {"description": self._words[name]}
            self._spec.components.security_scheme(name, scheme)


def _inline(_: Any) -> str:
    """Give a schema no name, by which it stands where it is used."""
    return ""


def _variable(name: str) -> Json:
    schema = {"type": "string", "minLength": 1}
    return {"in": "path", "name": name, "required": True, "schema": schema}


def _also(content: Json, schema: Json) -> None:
    known = content.setdefault("schema", schema)
    choices = known.get("anyOf", [known])
    if schema not in choices:
        content["schema"] = {"anyOf": [*choices, schema]}


def _add_example(responses: dict[str, Json], example: Json) -> None:
    response = responses.get(str(example["status"]), {})
    content = response.get("content", {}).get(example["type"])
    if content is not None:
        content.setdefault("examples", {})[example["name"]] = _shown(example, "answer")


def _shown(example: Json, part: str) -> Json:
    told = {"summary": example["summary"]} if "summary" in example else {}
    return {**told, "value": example[part]}


def _methods(rule: Rule) -> set[str]:
    return set(rule.methods or ()) - _IMPLIED_METHODS


def _without_absent_defaults(value: Any) -> Any:
    """Leave out `"default": null`, by which marshmallow means that there is none."""
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if key != "default" or item is not None}
        return {key: _without_absent_defaults(item) for key, item in kept.items()}
    if isinstance(value, list):
        return [_without_absent_defaults(item) for item in value]
    return value
