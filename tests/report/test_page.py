"""A page is one file that holds what it was given, and nothing of it as markup."""

from html.parser import HTMLParser

from libhetero.report.page import Link, Page, Section


class Reader(HTMLParser):
    """Collects the text and the links of a page, and checks that its tags close."""

    def __init__(self, page):
        super().__init__()
        self.open, self.text, self.targets = [], "", []
        self.feed(page.html())
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        """Keep what has to be closed, and where links lead."""
        self.targets += [value for name, value in attributes if name in ("href", "src")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        """Close what was opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Keep the text."""
        self.text += data


def test_everything_is_shown():
    page = Page(
        "a <b> & c",
        ["two facts"],
        ["what", "files"],
        [["one", [Link("mask", "m/1.mrc"), Link("list", "1.lst")]]],
        [Link("a figure", "f.png")],
        [("do this", "program 'a b' > c")],
    )
    reader = Reader(page)
    for part in ("a <b> & c", "two facts", "files", "mask", "# do this", "program 'a b' > c"):
        assert part in reader.text
    assert reader.targets == ["m/1.mrc", "1.lst", "f.png", "f.png"]


def test_sections_are_named_at_the_top_and_links_lead_to_them():
    sections = [
        Section("Volumes & <paths>", [Link("a figure", "v.png")], ["what"], [["one"]]),
        Section("Training", [Link("another", "loss.png")], folded=True),
    ]
    page = Page("title", [], [], [], [], [("go on", "program")], sections=sections)
    reader, html = Reader(page), page.html()
    assert reader.targets == ["#volumes-paths", "#training", "#commands", "v.png", "v.png", "loss.png", "loss.png"]
    for target in reader.targets[:3]:
        assert html.count(f'id="{target[1:]}"') == 1
    assert html.index("<nav") < html.index("v.png") < html.index("<details>") < html.index("loss.png")
    assert html.index("<details>") < html.index('id="training"'), "a browser unfolds what a link leads into"
    assert "<nav" not in Page("title", [], [], [], [], [], sections=sections[:1]).html()


def test_nothing_to_show_is_a_page_still():
    assert "empty" in Reader(Page("empty", [], [], [], [], [])).text


def test_markup_is_shown_as_text_wherever_it_stands():
    odd = "<i>\"'&amp;</b>"
    page = Page(odd, [odd], [odd], [[odd, [Link(odd, odd)]]], [Link(odd, odd)], [(odd, odd)])
    reader = Reader(page)
    assert reader.text.count(odd) == 9, (
        "title twice, fact, heading, cell, link, caption, and a command with its comment"
    )
    assert reader.targets == [odd] * 3
    assert "<i>" not in page.html()
