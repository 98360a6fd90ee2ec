"""Names shown letter for letter, against a Markdown renderer that is not the page's."""

import html

import pytest
from markdown_it import MarkdownIt

from tf_landslide.page.text import literal

HOSTILE = [
    "<img src=x onerror=alert(1)>.h5",
    "![x](http://elsewhere.example/x.png).h5",
    "[click](javascript:alert(1)) *b* __c__ `d` ~~e~~.h5",
    "http://elsewhere.example/ www.elsewhere.example a@elsewhere.example",
    "# heading",
    "1. list | table | &lt;b&gt; &amp;",
    "$$x^2$$ \\(y\\) \\",
    "first\n\n# second",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_literal_text_is_shown_letter_for_letter(text):
    rendered = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(literal(text))
    assert rendered == f"<p>{html.escape(' '.join(text.split()), quote=False).replace(chr(34), '&quot;')}</p>\n"
