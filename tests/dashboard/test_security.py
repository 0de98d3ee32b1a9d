"""Nobody comes in without the token, from another site, or to what is none of theirs."""

from __future__ import annotations

import json
import os

import pytest

from libhetero.dashboard.security import LARGEST_BODY, POLICY, Tokens
from tests.making.visitor import Visitor, visited


@pytest.fixture
def stranger(run):
    with visited([run]) as found:
        yield found


def test_a_token_lets_one_browser_in_once(stranger) -> None:
    assert stranger.get("/api/session").status == 403
    said = stranger.enter()
    assert said.status == 303 and said.headers["location"] == "/"
    assert "HttpOnly" in said.headers["set-cookie"] and "SameSite=Strict" in said.headers["set-cookie"]
    assert stranger.get("/api/session").status == 200
    assert stranger.get(stranger.token_path).status == 303  # the same browser, by its cookie
    other = Visitor(f"http://{stranger.host}{stranger.token_path}")
    assert other.enter().status == 403 and other.cookie == "" and other.get("/api/session").status == 403


def test_the_next_browser_gets_a_token_of_its_own(stranger) -> None:
    stranger.enter()
    line = next(line for line in stranger.told if "another one" in line)
    other = Visitor(line.split()[-1])
    assert other.enter().status == 303 and other.cookie not in ("", stranger.cookie)
    assert other.get("/api/session").status == stranger.get("/api/session").status == 200


@pytest.mark.parametrize("path", ["/", "/js/main.js", "/api/session", "/runs/0/files/config.json", "/?token=wrong"])
def test_nothing_is_shown_without_a_cookie(stranger, path) -> None:
    said = stranger.get(path)
    assert said.status == 403 and b"gmm_00" not in said.body
    assert stranger.get(path, Cookie=f"libhetero_{stranger.host.split(':')[1]}=guessed").status == 403
    assert stranger.get(path, Cookie="]=;;\x7f=").status == 403


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", ""])
def test_another_name_that_leads_here_is_refused(visitor, host) -> None:
    said = visitor.ask("GET", "/api/session", Host=host)
    assert said.status in (400, 403) and b"gmm_00" not in said.body
    assert visitor.get("/api/session", Host=f"localhost:{visitor.host.split(':')[1]}").status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "https://127.0.0.1"])
def test_another_site_changes_nothing(visitor, run, origin) -> None:
    body = {"name": "a", "how": {"column": "z1", "from": 0}}
    said = visitor.post("/api/runs/0/selections", body, Origin=origin)
    assert said.status == 403 and "origin" in said.json["error"]
    assert visitor.ask("DELETE", "/api/jobs/1", Origin=origin).status == 403
    assert not (run / "selections").exists()


def test_a_form_of_another_kind_is_refused(visitor) -> None:
    said = visitor.post("/api/runs/0/selections", {"name": "a"}, Content_Type="text/plain")
    assert said.status == 400 and "application/json" in said.json["error"]


def test_every_answer_says_what_may_be_loaded(visitor) -> None:
    for path in ("/", "/js/main.js", "/api/session", "/api/nowhere", "/api/runs/0/column?name=z1"):
        headers = visitor.get(path).headers
        assert headers["content-security-policy"] == POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin" and headers["referrer-policy"] == "no-referrer"
    assert "unsafe-eval" not in POLICY and "script-src" not in POLICY  # scripts as all else, from here alone


def test_a_page_of_a_run_is_shown_and_not_executed(visitor, run) -> None:
    (run / "results.html").write_text("<script>alert(1)</script>")
    said = visitor.get("/runs/0/files/results.html")
    assert said.status == 200 and said.headers["content-type"].startswith("text/html")
    policy = said.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "sandbox" in policy and "allow-scripts" not in policy


def test_names_are_data_and_no_markup(visitor, run) -> None:
    """Also where a page is written by the server itself."""
    said = visitor.get("/api/runs/0/column?name=%3Cscript%3Ealert(1)%3C/script%3E")
    assert said.status == 404 and said.headers["content-type"] == "application/json"
    refused = visitor.get("/", Host="<script>alert(1)</script>")
    assert b"<script>" not in refused.body


@pytest.mark.parametrize(
    "name",
    [
        "../particles.star",
        "%2e%2e/particles.star",
        "volumes/../../particles.star",
        "/etc/passwd",
        "embeddings",
        "",
        "a%00b.txt",
        "outside/particles.star",
        "link.star",
    ],
)
def test_files_outside_of_the_run_are_nowhere(visitor, run, name) -> None:
    os.symlink(run.parent / "particles.star", run / "link.star")
    os.symlink(run.parent, run / "outside")
    for path in (f"/api/runs/0/file?path={name}", f"/runs/0/files/{name}"):
        said = visitor.get(path)
        assert said.status in (400, 404), path
        assert b"rlnImageName" not in said.body and b"root:" not in said.body


def test_files_of_other_kinds_are_not_shown(visitor, run) -> None:
    for name in ("model.npz", "log.jsonl", ".lock", "notes.py"):
        (run / name).touch()
        assert visitor.get(f"/api/runs/0/file?path={name}").status == 403
    assert visitor.get("/api/runs/0/file?path=config.json").json["family"] == "gmm"


def test_a_run_of_no_number_is_nowhere(visitor) -> None:
    for path in ("/api/runs/1/columns", "/api/runs/-1/columns", "/api/runs/x/columns", "/api/jobs/77"):
        assert visitor.get(path).status == 404


def test_a_body_that_is_too_large_is_not_read(visitor) -> None:
    said = visitor.ask("POST", "/api/runs/0/selections", Content_Length=str(LARGEST_BODY + 1))
    assert said.status == 413


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"name": NaN}', b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused_in_one_line(visitor, body) -> None:
    said = visitor.ask("POST", "/api/runs/0/selections", body)
    assert said.status == 400 and "\n" not in said.json["error"]


def test_read_only_is_looking_only(run) -> None:
    before = sorted(run.rglob("*"))
    with visited([run], readonly=True) as visitor:
        visitor.enter()
        assert visitor.get("/api/session").json["readonly"] is True
        how = {"column": "z1", "from": 0}
        for path, body in (
            ("/api/runs/0/selections", {"name": "a", "how": how}),
            ("/api/runs/0/volumes", {"rows": [0]}),
            ("/api/runs/0/regions", {"name": "a", "labels": [1]}),
            ("/api/jobs", {"kind": "embed", "run": 0}),
        ):
            said = visitor.post(path, body)
            assert said.status == 403 and "read-only" in said.json["error"]
        assert visitor.post("/api/runs/0/selections/count", {"how": how}).json["count"] > 0
        assert visitor.post("/api/commands", {"kind": "embed", "run": 0}).json["command"].startswith("e2hype_embed.py")
        assert visitor.get("/api/runs/0/column?name=z1").status == 200
    assert sorted(run.rglob("*")) == before


def test_tokens_are_long_and_differ() -> None:
    told: list[str] = []
    tokens = Tokens(told.append)
    first = tokens.token
    assert len(first) > 40 and tokens.exchange("") is None and tokens.exchange(first + "x") is None
    cookie = tokens.exchange(first)
    assert cookie and cookie != first and tokens.knows(cookie) and not tokens.knows(first)
    assert told == [tokens.token] and tokens.token != first and tokens.exchange(first) is None


def test_refusals_are_json_where_the_page_asks(stranger) -> None:
    assert json.loads(stranger.get("/api/session").body) == {
        "error": "no token: open the address that e2hype_dashboard.py has printed"
    }
    assert stranger.get("/").headers["content-type"].startswith("text/html")
