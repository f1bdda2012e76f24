"""A model card, which is Markdown, as HTML for the dialog of a page: headings, lists, paragraphs, bold and code.

Cards are written by ``runs.record`` and may be completed by hand; what is not known here stays as it is written.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

NONE = (
    "This detector has no model card: it was made without a run folder, or by an early version of trigpoint. Ask whom "
    "you have it from what it was trained and measured on."
)
_HEADING = re.compile(r"(#{1,4}) +(.*)")
_ITEM = re.compile(r"[-*] +(.*)")
_BOLD, _CODE = re.compile(r"\*\*(.+?)\*\*"), re.compile(r"`(.+?)`")


def card_html(text: str | None) -> str:
    """The card as elements, all text escaped; headings begin at h3, below that of the dialog.

    >>> card_html("# heads\\n\\n- **Finds**: a, b\\n\\nfor `x < 1`\\nonly")
    '<h3>heads</h3><ul><li><b>Finds</b>: a, b</li></ul><p>for <code>x &lt; 1</code> only</p>'
    """
    if not text or not text.strip():
        return f"<p>{html.escape(NONE)}</p>"
    out, listed = "", False
    for tag, words in _blocks(text):
        if listed != (tag == "li"):
            listed = not listed
            out += "<ul>" if listed else "</ul>"
        out += f"<{tag}>{_inline(words)}</{tag}>"
    return out + "</ul>" * listed


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Tag and text of each heading, item and paragraph."""
    tag, words = "p", list[str]()
    for line in [*text.splitlines(), ""]:
        heading, item = _HEADING.fullmatch(line.strip()), _ITEM.fullmatch(line.strip())
        if words and (heading or item or not line.strip()):
            yield tag, " ".join(words)
            tag, words = "p", []
        if heading:
            yield f"h{len(heading[1]) + 2}", heading[2]
        elif item:
            tag, words = "li", [item[1]]
        elif line.strip():
            words.append(line.strip())


def _inline(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", _BOLD.sub(r"<b>\1</b>", html.escape(text)))
