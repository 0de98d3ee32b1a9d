"""A built site that would ask another machine for anything is refused."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "page",
    [
        '<script src="https://unpkg.com/x"></script>',
        '<script src="//cdn.example/x"></script>',
        '<link rel="stylesheet" href="https://fonts.googleapis.com/css">',
        '<link rel="preconnect" href="https://fonts.gstatic.com">',
        '<img src="http://example.org/a.png">',
        '<img srcset="https://example.org/a.png 2x" src="a.png">',
        "<style>@import 'https://example.org/a.css';</style>",
        '<div style="background: url(https://example.org/a.png)"></div>',
    ],
)
def test_what_a_browser_would_fetch_is_told(site_module, tmp_path, page) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "page.html").write_text(f"<html><body>{page}</body></html>")
    told = site_module("site_check").outside_requests(tmp_path)
    assert len(told) == 1 and told[0].startswith("sub/page.html: ")


def test_a_style_sheet_is_read_too(site_module, tmp_path) -> None:
    (tmp_path / "a.css").write_text("@font-face { src: url('https://example.org/a.woff2') }")
    assert site_module("site_check").outside_requests(tmp_path) == ["a.css: https://example.org/a.woff2"]


def test_links_that_a_reader_follows_are_no_requests(site_module, tmp_path) -> None:
    (tmp_path / "page.html").write_text(
        '<link rel="canonical" href="https://example.org/"><script src="a.js"></script>'
        '<img src="data:image/png;base64,">'
        '<a href="https://example.org/">elsewhere</a><svg xmlns="http://www.w3.org/2000/svg"></svg><code>https://x</code>'
    )
    (tmp_path / "a.css").write_text(
        "a { background: url(data:image/svg+xml;utf8,<svg xmlns='http://www.w3.org/2000/svg'/>) }"
    )
    assert site_module("site_check").outside_requests(tmp_path) == []
