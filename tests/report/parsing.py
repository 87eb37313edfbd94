"""A page's elements, as a browser's parser would see them."""

from __future__ import annotations

from html.parser import HTMLParser


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._inside: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = tag
            self.scripts += [""] if tag == "script" else []

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside is None:
            self.words.append(data)


def parse(page: str) -> _Elements:
    """The parsed page: `found` elements with attributes, `scripts` with their text, `words` outside of them."""
    parser = _Elements()
    parser.feed(page)
    parser.close()
    return parser


def elements(page: str) -> list[tuple[str, dict[str, str | None]]]:
    """(name, attributes) of every element in order."""
    return parse(page).found
