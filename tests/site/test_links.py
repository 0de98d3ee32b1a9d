"""Links of documents lead somewhere on disk, in a repository and in the site."""

from __future__ import annotations

import pytest


@pytest.fixture
def project(tmp_path):
    """A project with documents in docs/ and beside it."""
    for path in ("docs/a.md", "docs/howto/b.md", "docs/images/c.png", "CHANGELOG.md", "README.md", "examples/d.sh",
                 "benchmarks/peers.md"):  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    return tmp_path


@pytest.fixture
def resolved(site_module, project):
    """Resolve the links of a text that stands on a page, none of which may be lost."""

    def resolve(text: str, page: str = "a.md", repository: str | None = None) -> str:
        made, lost = site_module("links").resolved(text, page, project, repository)
        assert lost == []
        return made

    return resolve


@pytest.mark.parametrize(
    ("page", "written", "in_site"),
    [
        ("a.md", "[b](howto/b.md#part)", "[b](howto/b.md#part)"),
        ("howto/b.md", "![c](../images/c.png)", "![c](../images/c.png)"),
        ("a.md", "[`log`](../CHANGELOG.md)", "[`log`](changelog.md)"),
        ("howto/b.md", "[peers](../../benchmarks/peers.md#x)", "[peers](../peers.md#x)"),
        ("howto/b.md", "[read](../../README.md)", "[read](../index.md)"),
        ("changelog.md", "[a](docs/a.md) and [c](docs/images/c.png)", "[a](a.md) and [c](images/c.png)"),
        ("peers.md", "[a](../docs/a.md)", "[a](a.md)"),
        (
            "a.md",
            "[elsewhere](https://example.org/x) [here](#part)",
            "[elsewhere](https://example.org/x) [here](#part)",
        ),
        ("a.md", "`[no](../examples/d.sh)`", "`[no](../examples/d.sh)`"),
        ("a.md", "```text\n[no](../nowhere)\n```\n", "```text\n[no](../nowhere)\n```\n"),
    ],
)
def test_each_is_where_the_site_has_it(resolved, page, written, in_site) -> None:
    assert resolved(written, page) == in_site


def test_a_file_that_is_no_page_is_named_or_led_to_in_the_repository(resolved) -> None:
    text = "[the script](../examples/d.sh), `a`, [more](../examples)"
    assert resolved(text) == "the script, `a`, more"
    linked = "[the script](https://host/r/blob/main/examples/d.sh), `a`, [more](https://host/r/blob/main/examples)"
    assert resolved(text, repository="https://host/r/") == linked


@pytest.mark.parametrize("target", ["../examples/none.sh", "../../outside.md"])
def test_a_file_that_is_not_there_is_told(site_module, project, target) -> None:
    assert site_module("links").resolved(f"[x]({target})", "a.md", project)[1] == [target]


def test_a_page_that_is_not_there_is_left_for_mkdocs_to_tell(resolved) -> None:
    assert resolved("[x](none.md)") == "[x](none.md)"


def test_names_of_programs_lead_to_their_pages(site_module) -> None:
    page = (
        "# `e2hype_a.py`\n`e2hype_a.py`, `e2hype_a.py` and `e2hype_no.py`\n\n"
        "## Next\n[see `e2hype_a.py`](x.md), `e2hype_a.py --x`, `e2hype_a.py`\n```bash\n`e2hype_a.py`\n```\n"
    )
    linked = "[`e2hype_a.py`](../programs/e2hype_a.md)"
    assert site_module("links").with_programs(page, "howto/b.md", ["e2hype_a.py"]) == (
        f"# `e2hype_a.py`\n{linked}, `e2hype_a.py` and `e2hype_no.py`\n\n"
        f"## Next\n[see `e2hype_a.py`](x.md), `e2hype_a.py --x`, {linked}\n```bash\n`e2hype_a.py`\n```\n"
    )
    assert "(programs/e2hype_a.md)" in site_module("links").with_programs("`e2hype_a.py`", "b.md", ["e2hype_a.py"])
