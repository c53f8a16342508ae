"""The reference client: small, typed, and the very file that the demo uses."""

import subprocess
from pathlib import Path
from typing import Any

from tests.browser.visits import Visiting
from tests.support.client import Client
from tests.support.service import ROOT, Service

FILE = ROOT / "clients" / "js" / "authsvc.mjs"
MAX_BYTES = 5000
CHECK = "--allowJs --checkJs --noEmit --strict --target es2022 --module esnext --lib es2022,dom"


def test_the_client_is_smaller_than_five_kilobytes_and_needs_nothing() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert len(text.encode()) < MAX_BYTES
    assert "import" not in text


def test_the_types_of_the_client_hold(node_clients: Path) -> None:
    compiler = node_clients / "node_modules" / ".bin" / "tsc"
    check = subprocess.run(
        [compiler, *CHECK.split(), FILE], capture_output=True, text=True, timeout=300
    )
    assert check.returncode == 0, check.stdout


def test_the_demo_is_given_the_client_itself(service: Service) -> None:
    answer = Client(service.first).get("/demo/authsvc.mjs")
    assert answer.body == FILE.read_bytes()
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    known = {"If-None-Match": answer.headers["ETag"]}
    assert Client(service.first).get("/demo/authsvc.mjs", headers=known).status == 304


# --- In trouble, which the tests play: `said` is what the service answers, by path ---

PLAY = """(work) => async () => {
    const { authClient, AuthError } = await import("/demo/authsvc.mjs");
    const asked = [];
    const said = {};
    const ask = async (url, init) => {
        asked.push(`${init.method} ${url}`);
        return said[url](init);
    };
    const json = (body, status = 200, headers = {}) =>
        new Response(body === undefined ? null : JSON.stringify(body), { status, headers });
    const grant = (name) => ({ accessToken: name, refreshToken: `${name}+`, expiresIn: 100 });
    const failed = (promise) => promise.then(
        () => "done",
        (error) => (error instanceof AuthError ? [error.status, error.code] : `${error}`),
    );
    const client = (options) => authClient({ key: "trial", ask, ...options });
    const age = (key) =>
        (localStorage[key] = JSON.stringify({ ...JSON.parse(localStorage[key]), renewAt: 0 }));
    return await work({ client, asked, said, json, grant, failed, age });
}"""


def played(visiting: Visiting, work: str, *, locks: bool = True) -> Any:
    """Let a client of a page work; return what came of it."""
    visit = visiting()
    if not locks:
        hide = "Object.defineProperty(Navigator.prototype, 'locks', {value: undefined})"
        visit.context.add_init_script(hide)
    return visit.page().evaluate(f"({PLAY})({work})")


def test_a_renewal_that_the_service_cannot_do_now_logs_nobody_out(visiting: Visiting) -> None:
    work = """async ({ client, asked, said, json, grant, failed, age }) => {
        const auth = client();
        await auth.keep(grant("old"));
        said["/v1/token/refresh"] = () => json({ code: "sessions_unavailable" }, 503);
        said["/v1/me"] = () => json({ id: 1 });
        age("trial");
        const refused = await failed(auth.refresh());
        return [refused, await auth.request("GET", "/me"), auth.tokens().accessToken];
    }"""
    refused, user, token = played(visiting, work)
    assert (refused, user, token) == ([503, "sessions_unavailable"], {"id": 1}, "old")


def test_a_renewal_that_does_not_reach_the_service_logs_nobody_out(visiting: Visiting) -> None:
    work = """async ({ client, said, json, grant, failed, age }) => {
        const auth = client();
        await auth.keep(grant("old"));
        said["/v1/token/refresh"] = () => { throw new TypeError("no network") };
        said["/v1/me"] = () => json({ code: "invalid_token" }, 401);
        age("trial");
        return [await failed(auth.request("GET", "/me")), auth.tokens().accessToken];
    }"""
    assert played(visiting, work) == [[0, "unreachable"], "old"]


def test_a_renewal_that_ends_after_a_logout_brings_no_token_back(visiting: Visiting) -> None:
    work = """async ({ client, said, json, grant, failed }) => {
        const auth = client();
        await auth.keep(grant("old"));
        let answer;
        said["/v1/token/refresh"] = () => new Promise((done) => (answer = done));
        said["/v1/logout"] = () => new Response(null, { status: 204 });
        const renewal = failed(auth.refresh());
        await auth.logOut();
        answer(json(grant("new")));
        return [await renewal, auth.tokens()];
    }"""
    assert played(visiting, work, locks=False) == ["done", None]


def test_a_renewal_that_is_refused_late_keeps_what_another_tab_has_renewed(
    visiting: Visiting,
) -> None:
    work = """async ({ client, said, json, grant }) => {
        const auth = client();
        await auth.keep(grant("old"));
        let answer;
        said["/v1/token/refresh"] = () => new Promise((done) => (answer = done));
        const renewal = auth.refresh();
        await auth.keep(grant("of another tab"));
        answer(json({ code: "invalid_refresh_token" }, 401));
        await renewal;
        return auth.tokens().accessToken;
    }"""
    assert played(visiting, work, locks=False) == "of another tab"


def test_an_answer_that_breaks_off_is_no_login(visiting: Visiting) -> None:
    work = """async ({ client, said, failed }) => {
        const auth = client();
        said["/v1/login"] = () => new Response('{"accessToken": "ey');
        return [await failed(auth.logIn({})), auth.tokens()];
    }"""
    assert played(visiting, work) == [[0, "unreachable"], None]


def test_a_failure_in_the_words_of_a_proxy_is_told_by_its_status(visiting: Visiting) -> None:
    work = """async ({ client, said, json, failed }) => {
        const auth = client();
        said["/v1/login"] = () => new Response("<html>Bad gateway", { status: 502 });
        const page = await failed(auth.logIn({}));
        said["/v1/login"] = () => json(null, 500);
        return [page, await failed(auth.logIn({}))];
    }"""
    assert played(visiting, work) == [[502, None], [500, None]]


def test_a_refused_token_that_cannot_be_renewed_is_forgotten_without_asking(
    visiting: Visiting,
) -> None:
    work = """async ({ client, asked, said, json, failed }) => {
        const auth = client();
        await auth.keep({ accessToken: "of another document", expiresIn: 100 });
        said["/v1/me"] = () => json({ code: "invalid_token" }, 401);
        await auth.refresh();
        const kept = auth.tokens().accessToken;
        return [kept, await failed(auth.request("GET", "/me")), auth.tokens(), asked];
    }"""
    kept, refused, left, asked = played(visiting, work)
    assert (kept, refused, left) == ("of another document", [401, "invalid_token"], None)
    assert asked == ["GET /v1/me"]


def test_clients_with_keys_of_their_own_share_nothing(visiting: Visiting) -> None:
    work = """async ({ client, grant }) => {
        const told = [];
        const one = client({ key: "one", changed: () => told.push("one") });
        const two = client({ key: "two", changed: () => told.push("two") });
        await one.keep(grant("of one"));
        dispatchEvent(new StorageEvent("storage", { key: "two" }));
        dispatchEvent(new StorageEvent("storage", { key: null }));  // localStorage.clear()
        return [one.tokens().accessToken, two.tokens(), told];
    }"""
    assert played(visiting, work) == ["of one", None, ["one", "two", "one", "two"]]
