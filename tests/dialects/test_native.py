"""The service's own captcha, under /v1: seen, heard, or worked for."""

import io
import json
import subprocess
import time
import wave
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from altcha.v1 import solve_challenge

from authsvc.infra.captcha_audio import RATE
from tests.dialects.conftest import Serve
from tests.dialects.pages import PASSWORD, SESSION_SIGNUP, client_of, fresh_name, send
from tests.dialects.stores import Stores
from tests.support.binaries import path_of
from tests.support.client import Answer, Client
from tests.support.service import Service

REJECTED = (400, {"error": "Invalid captcha"})
MOST_LIVE = 4
EXPIRY_BYTES = 40  # of an entry in the table of expiries, which MEMORY USAGE leaves out
GREEDY, PATIENT = "127.0.0.77", "127.0.0.78"
UNKNOWN = "x" * 22


def get(service: Service, path: str) -> Answer:
    return client_of(service, 8080).get(f"/v1{path}")


def sign_up(service: Service, captcha_id: str, value: str) -> Answer:
    name = fresh_name("native")
    body = {"username": name, "password": PASSWORD, "email": f"{name}@example.com"}
    return send(service, SESSION_SIGNUP, body | {"captchaId": captcha_id, "value": value})


def assert_problem(answer: Answer, status: int, code: str) -> None:
    """The answer is a problem of RFC 9457, whole."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert list(problem) == ["type", "title", "status", "detail", "code"]
    assert (answer.status, problem["status"], problem["code"]) == (status, status, code)


class TestPicture:
    def test_a_captcha_issued_here_is_shown_here_and_redeemed_by_a_sign_up(
        self, service: Service, stores: Stores
    ) -> None:
        issued = get(service, "/captcha")
        assert list(issued.json()) == ["captchaId"]
        captcha_id = issued.json()["captchaId"]
        image = get(service, f"/captcha/{captcha_id}")
        assert (image.status, image.headers["Content-Type"]) == (200, "image/png")
        assert image.headers["Cache-Control"] == "no-store"
        assert image.body == client_of(service, 8080).get(f"/captcha/{captcha_id}").body
        assert sign_up(service, captcha_id, stores.answer_of(captcha_id)).status == 200

    @pytest.mark.parametrize("captcha_id", [UNKNOWN, "abc123", "%00"])
    def test_an_unknown_captcha_is_a_problem(self, service: Service, captcha_id: str) -> None:
        assert_problem(get(service, f"/captcha/{captcha_id}"), 404, "unknown_captcha")
        assert_problem(get(service, f"/captcha/{captcha_id}/audio"), 404, "unknown_captcha")

    def test_paths_and_methods_that_are_not_there_are_problems(self, service: Service) -> None:
        assert_problem(get(service, "/nothing"), 404, "not_found")
        refused = client_of(service, 8080).post("/v1/captcha", {})
        assert_problem(refused, 405, "method_not_allowed")
        assert "GET" in refused.headers["Allow"]


class TestSound:
    @pytest.mark.parametrize("language", ["en", "zh"])
    def test_any_live_captcha_is_heard(self, service: Service, language: str) -> None:
        captcha_id = client_of(service, 8080).get("/captcha").json()["captchaId"]
        recordings = [get(service, f"/captcha/{captcha_id}/audio?lang={language}") for _ in "12"]
        assert {answer.status for answer in recordings} == {200}
        assert recordings[0].headers["Content-Type"] in ("audio/wav", "audio/x-wav")
        assert recordings[0].body == recordings[1].body
        with wave.open(io.BytesIO(recordings[0].body)) as sound:
            seconds = sound.getnframes() / sound.getframerate()
            assert (sound.getnchannels(), sound.getframerate()) == (1, RATE)
        assert 2 < seconds < 15

    def test_english_is_spoken_where_no_language_is_named(self, service: Service) -> None:
        captcha_id = get(service, "/captcha").json()["captchaId"]
        named = get(service, f"/captcha/{captcha_id}/audio?lang=en")
        assert get(service, f"/captcha/{captcha_id}/audio").body == named.body

    def test_an_unknown_language_is_a_problem(self, service: Service) -> None:
        captcha_id = get(service, "/captcha").json()["captchaId"]
        refused = get(service, f"/captcha/{captcha_id}/audio?lang=tlh")
        assert_problem(refused, 400, "unknown_language")

    def test_a_redeemed_captcha_is_not_heard_any_more(self, service: Service) -> None:
        captcha_id = get(service, "/captcha").json()["captchaId"]
        sign_up(service, captcha_id, "wrong")
        assert_problem(get(service, f"/captcha/{captcha_id}/audio"), 404, "unknown_captcha")

    def test_listening_is_limited_more_tightly_than_looking(self, serve: Serve) -> None:
        service = serve("listening", {"AUTHSVC_RATELIMIT_ENABLED": "on"})
        client = client_of(service, 8080)
        captcha_id = client.get("/v1/captcha").json()["captchaId"]
        heard = [client.get(f"/v1/captcha/{captcha_id}/audio").status for _ in range(21)]
        assert heard == [200] * 20 + [429]
        assert client.get(f"/v1/captcha/{captcha_id}").status == 200


@pytest.fixture(scope="module")
def worked(serve: Serve) -> Service:
    """A service that takes proofs of work."""
    return serve("work", {"AUTHSVC_CAPTCHA_POW": "on", "AUTHSVC_CAPTCHA_POW_MAX_NUMBER": "2000"})


def new_puzzle(service: Service) -> dict[str, Any]:
    puzzle: dict[str, Any] = get(service, "/captcha/pow").json()
    return puzzle


def solved(puzzle: dict[str, Any], **changes: Any) -> str:
    """Solve the puzzle with ALTCHA's own library, in Python, and change the payload."""
    solution = solve_challenge(
        puzzle["challenge"], puzzle["salt"], puzzle["algorithm"], puzzle["maxnumber"], 0
    )
    assert solution is not None
    fields = ("algorithm", "challenge", "salt", "signature")
    payload = {name: puzzle[name] for name in fields} | {"number": solution.number} | changes
    return b64encode(json.dumps(payload).encode()).decode()


class TestProofOfWork:
    def test_it_is_off_by_default(self, service: Service, worked: Service) -> None:
        assert_problem(get(service, "/captcha/pow"), 404, "proof_of_work_off")
        puzzle = new_puzzle(worked)
        refused = sign_up(service, puzzle["captchaId"], solved(puzzle))
        assert (refused.status, refused.json()) == REJECTED

    def test_the_puzzle_has_the_protocols_fields(self, worked: Service) -> None:
        puzzle = new_puzzle(worked)
        assert list(puzzle) == [
            "captchaId",
            "algorithm",
            "challenge",
            "maxnumber",
            "salt",
            "signature",
        ]
        assert (puzzle["algorithm"], puzzle["maxnumber"]) == ("SHA-256", 2000)

    def test_the_protocols_own_client_solves_it_and_signs_up(
        self, worked: Service, node_clients: Path
    ) -> None:
        puzzle = new_puzzle(worked)
        client = subprocess.run(
            [path_of("node"), "solve.mjs"],
            cwd=node_clients,
            input=json.dumps(puzzle),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert sign_up(worked, puzzle["captchaId"], client.stdout).status == 200

    def test_a_solution_is_accepted_once(self, worked: Service) -> None:
        puzzle = new_puzzle(worked)
        payload = solved(puzzle)
        assert sign_up(worked, puzzle["captchaId"], payload).status == 200
        replayed = sign_up(worked, puzzle["captchaId"], payload)
        assert (replayed.status, replayed.json()) == REJECTED

    def test_a_solution_reworded_is_not_accepted_again(self, worked: Service) -> None:
        puzzle = new_puzzle(worked)
        assert sign_up(worked, puzzle["captchaId"], solved(puzzle)).status == 200
        for change in ({"salt": puzzle["salt"].rstrip("&")}, {"took": 5}):
            again = sign_up(worked, puzzle["captchaId"], solved(puzzle, **change))
            assert (again.status, again.json()) == REJECTED

    def test_a_solution_serves_no_other_id(self, worked: Service) -> None:
        one, other = new_puzzle(worked), new_puzzle(worked)
        refused = sign_up(worked, one["captchaId"], solved(other))
        assert (refused.status, refused.json()) == REJECTED

    @pytest.mark.parametrize(
        "change",
        [
            {"number": -1},
            {"number": [1]},
            {"salt": 5},
            {"salt": "x?expires=99999999999&"},
            {"signature": "0" * 64},
            {"algorithm": "MD5"},
            {"algorithm": None},
        ],
    )
    def test_a_solution_with_a_forged_field_is_rejected(
        self, worked: Service, change: dict[str, Any]
    ) -> None:
        puzzle = new_puzzle(worked)
        refused = sign_up(worked, puzzle["captchaId"], solved(puzzle, **change))
        assert (refused.status, refused.json()) == REJECTED

    @pytest.mark.parametrize("payload", ["x", "bnVsbA==", "W10=", "MQ==", "e30=", "é"])
    def test_what_is_no_payload_is_rejected(self, worked: Service, payload: str) -> None:
        refused = sign_up(worked, new_puzzle(worked)["captchaId"], payload)
        assert (refused.status, refused.json()) == REJECTED

    def test_a_puzzle_expires(self, serve: Serve) -> None:
        brief = serve(
            "brief work",
            {
                "AUTHSVC_CAPTCHA_POW": "on",
                "AUTHSVC_CAPTCHA_POW_MAX_NUMBER": "1000",
                "AUTHSVC_CAPTCHA_LIFETIME": "1",
            },
        )
        puzzle = new_puzzle(brief)
        payload = solved(puzzle)
        time.sleep(1.1)
        late = sign_up(brief, puzzle["captchaId"], payload)
        assert (late.status, late.json()) == REJECTED


class TestHowMany:
    def test_an_address_holds_so_many_live_captchas_in_every_dialects_words(
        self, serve: Serve, stores: Stores
    ) -> None:
        service = serve("few", {"AUTHSVC_CAPTCHA_MAX_LIVE": str(MOST_LIVE)})
        client = Client(service.first, source=GREEDY)
        ids = [client.get("/captcha").json()["captchaId"] for _ in range(MOST_LIVE)]
        refused = client.get("/captcha")
        assert (refused.status, refused.json()) == (429, {"error": "Too many requests"})
        assert 290 <= int(refused.headers["Retry-After"]) <= 300
        assert_problem(client.get("/v1/captcha"), 429, "too_many_captchas")
        stores.captchas.take(ids[0], GREEDY)
        assert client.get("/v1/captcha").status == 200

    def test_all_addresses_hold_so_many_live_captchas_in_every_dialects_words(
        self, serve: Serve, stores: Stores
    ) -> None:
        for key in stores.client.scan_iter("authsvc:captcha*", count=1000):
            stores.client.delete(key)
        service = serve("few-in-all", {"AUTHSVC_CAPTCHA_MAX_LIVE_TOTAL": "16"})
        client = Client(service.first, source=GREEDY)
        answers = [client.get("/captcha") for _ in range(200)]
        assert 16 / 2 <= sum(answer.status == 200 for answer in answers) <= 16
        refused = next(answer for answer in answers if answer.status != 200)
        assert (refused.status, refused.json()) == (503, {"error": "Service unavailable"})
        assert 1 <= int(refused.headers["Retry-After"]) <= 310
        problems = [client.get("/v1/captcha") for _ in range(20)]
        problem = next(answer for answer in problems if answer.status != 200)
        assert_problem(problem, 503, "overloaded")
        for key in stores.client.scan_iter("authsvc:captcha*", count=1000):
            stores.client.delete(key)

    def test_an_issued_captcha_costs_little_until_it_is_seen(
        self, service: Service, stores: Stores
    ) -> None:
        client = Client(service.first, source=PATIENT)
        ids = [client.get("/captcha").json()["captchaId"] for _ in range(100)]
        records = [key for one in ids for key in stores.client.scan_iter(f"*{one}*", count=1000)]
        assert len(records) == len(ids)
        held = sum(size_of(stores, key) + EXPIRY_BYTES for key in records)
        assert (held + size_of(stores, f"authsvc:captchas:{PATIENT}")) / len(ids) <= 250


def size_of(stores: Stores, key: str | bytes) -> int:
    """Return the bytes that Redis holds for a key, its value and its place among the keys."""
    size: Any = stores.client.memory_usage(key, samples=0)
    return int(size)
