"""Markup: whatever text goes in comes out as that text, and as nothing else."""

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from fleetscore.dashboard.links import Links
from fleetscore.dashboard.markup import Markup, join, tag

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60) | st.sampled_from(
    ["<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "&lt;b&gt;", "</style>", "{{7*7}}"]
)


class Reader(HTMLParser):
    """Collects tags, attributes and text as a browser would."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag."""
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        """Note the text."""
        self.text += data


def read(html: str) -> Reader:
    """The parsed text."""
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


@given(TEXT, TEXT)
def test_text_and_attributes_come_out_as_they_went_in(text: str, value: str) -> None:
    """One element, one attribute, one text: nothing that was data becomes markup."""
    found = read(tag("p", text, title=value))
    assert (found.tags, found.attributes, found.text) == (["p"], [("title", value)], text)


@given(st.lists(TEXT, max_size=5))
def test_children_are_escaped_however_deep(texts: list[str]) -> None:
    """Strings within lists and generators are data too; Markup is not escaped twice."""
    inner = join((text for text in texts), [[text] for text in texts])
    assert read(join(tag("div", inner), None)).text == "".join(texts) * 2
    assert join(Markup("<br>")) == "<br>"


def test_attributes_that_are_not_set_are_left_out() -> None:
    """None and False vanish, True stands alone, numbers are short."""
    assert tag("input", value=None, hidden=False, required=True, x=1 / 3, class_="a", data_every=2) == (
        '<input required x="0.333333" class="a" data-every="2">'
    )


@given(TEXT, TEXT)
def test_links_carry_their_values_and_the_key(run: str, partition: str) -> None:
    """A link read again gives what went in, and the key only when there is one."""
    from urllib.parse import parse_qs

    address = Links("the key&=").story(run, partition)
    told = {name: values[0] for name, values in parse_qs(address.removeprefix("?")).items()}
    assert told == {k: v for k, v in {"run": run, "partition": partition, "code": "the key&="}.items() if v}
    assert "code" not in Links().story("r", "p")
