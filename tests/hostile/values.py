"""JSON of every type, in and around every field of a schema."""

import json
from typing import Any

from hypothesis import strategies as st
from marshmallow import Schema, fields
from marshmallow.validate import Length, OneOf, Range

from tests.dialects.pages import PASSWORD
from tests.dialects.stores import TEST_VALUE

INT64 = 2**63

NUMBERS = [0, -1, 1, 1.0, 0.5, -0.0, 1e308, 2**31 - 1, 2**31, INT64, -INT64 - 1, 2**64, 10**60]
TEXTS = [
    "",
    " ",
    "\0",
    "\ud800",
    "\udc00\ud800",
    "\r\nX-Injected: yes",
    "\x1b[2J",
    "\u202e\ufeff\u200b",
    "0",
    "-1",
    "1e400",
    "null",
    "{}",
    "' OR 1=1 --",
    "%s%n{0}${7*7}",
    "../../etc/passwd",
    "ﷺ" * 60,
    "Ａdmin",
    "x" * 5000,
]
# A body that is no JSON object, or is one in a way that some readers would take for another.
BODIES = [
    b"",
    b"null",
    b"[]",
    b'"x"',
    b"{",
    b"\xff\xfe{}",
    b"\xef\xbb\xbf{}",
    b'{"username":1e400}',
    b'{"username":NaN}',
    b'{"a":1,"a":2}',
    b"token=x&token_type_hint=%ff",
    b"token=%00&token=x",
    b'{"permission":' + b"9" * 5000 + b"}",
    b"[" * 60_000,
    b'{"a":' * 10_000,
    b"\0",
]

_text = st.one_of(st.sampled_from(TEXTS), st.text(max_size=70))
_scalar = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(NUMBERS),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    _text,
)
anything = st.recursive(
    _scalar,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_text, inner, max_size=3)),
    max_leaves=6,
)
LIVE_CAPTCHA = "a-live-captcha"
"""Stands for the id of a captcha that was just issued."""

# What makes an operation go on to its core instead of being refused at the door.
_PROMISING: dict[str, st.SearchStrategy[Any]] = {
    "password": st.just(PASSWORD),
    "email": st.sampled_from(["someone@example.com", "other@example.com"]),
    "captchaId": st.just(LIVE_CAPTCHA),
    "value": st.just(TEST_VALUE),
    "uuid": st.just(LIVE_CAPTCHA),
    "code": st.just(TEST_VALUE),
    "username": st.one_of(st.sampled_from(["boss", "Someone"]), st.text(min_size=1, max_size=20)),
    "permission": st.sampled_from([0, 1]),
    "scope": st.sampled_from(["local", "others", "global"]),
    "cookies": st.booleans(),
    "disabled": st.booleans(),
    "data": anything,
}


def value_of(name: str, field: fields.Field[Any]) -> st.SearchStrategy[Any]:
    """Returns values in and around what a field takes."""
    choices = [anything, _text]
    for rule in field.validators:
        if isinstance(rule, Length):
            ends = {end for end in (rule.min, rule.max) if end is not None}
            sizes = sorted(size + step for size in ends for step in (-1, 0, 1) if size + step >= 0)
            choices.append(st.sampled_from(sizes).map(lambda size: "é" * size))
        elif isinstance(rule, Range):
            choices.append(st.sampled_from([rule.min, rule.max]).map(_and_one_more))
        elif isinstance(rule, OneOf):
            choices.append(st.sampled_from(list(rule.choices)))
    return st.one_of(*choices)


def _and_one_more(number: Any) -> Any:
    return number + 1 if isinstance(number, int) else number


@st.composite
def objects_of(draw: st.DrawFn, schema: Schema) -> dict[str, Any]:
    """Draws an object with which the operation might succeed, and spoils it in up to two places."""
    known = {field.data_key or name: field for name, field in schema.fields.items()}
    body = {
        name: draw(_PROMISING.get(name, st.just("plausible")))
        for name, field in known.items()
        if field.required or draw(st.booleans())
    }
    for name in draw(st.lists(st.sampled_from(sorted(known) or [""]), max_size=2)):
        spoilt = draw(value_of(name, known[name])) if name in known else draw(anything)
        body[name] = spoilt
        if draw(st.integers(0, 3)) == 0:
            del body[name]
    if draw(st.integers(0, 9)) == 0:
        body[draw(_text)] = draw(anything)
    return body


def bodies_of(schemas: tuple[Schema, ...]) -> st.SearchStrategy[bytes]:
    """Returns bodies for any of the schemas: JSON with everything escaped, or none at all."""
    objects = [objects_of(schema) for schema in schemas]
    written = st.one_of(*objects, *objects, anything).map(lambda value: json.dumps(value).encode())
    odd = st.one_of(st.sampled_from(BODIES), st.binary(max_size=80))
    return st.integers(0, 7).flatmap(lambda number: odd if number == 0 else written)


def queries_of(schemas: tuple[Schema, ...]) -> st.SearchStrategy[list[tuple[str, str]]]:
    """Returns query strings for any of the schemas, parameters now and then given twice."""
    names = sorted({name for schema in schemas for name in schema.fields} | {"lang", "\0", "é"})
    pair = st.tuples(st.sampled_from(names), _text.map(_encodable))
    return st.lists(pair, max_size=4)


def paths_of(path: str, variables: tuple[str, ...]) -> st.SearchStrategy[str]:
    """Returns a rule's path with something in the place of each variable."""
    filled = st.fixed_dictionaries(dict.fromkeys(variables, segment))
    return filled.map(lambda given: _fill(path, given))


segment = st.one_of(
    st.sampled_from(["1", "2", "0", "00", "-1", "9" * 30, "pow", "%00", "a b", "..", "x" * 300]),
    _text.map(lambda text: _encodable(text).replace("/", "")),
).map(lambda text: text or "-")


def _fill(path: str, given: dict[str, str]) -> str:
    for name, value in given.items():
        path = path.replace(f"<{name}>", value)
    return path


def _encodable(text: str) -> str:
    """Returns text without lone surrogates, which no client can put into an address."""
    return text.encode("utf-8", "replace").decode()
