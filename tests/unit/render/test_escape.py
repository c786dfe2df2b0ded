import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ferbench.render.escape import csv_field, markdown, plain

NASTY = [
    "<script>alert(1)</script>",
    "a | b",
    "[x](http://evil.example)",
    "![x](https://evil.example/a.png)",
    "`code` **bold** _it_ ~~no~~",
    "http://evil.example and www.evil.example",
    "me@evil.example",
    "a\nb\r\n# c",
    "&lt;b&gt; &#124;",
    "\\| \\",
    "\x1b[31mred\x1b[0m \u202eback",
    "$x_1$ and $$y$$",
]


def rendered(text):
    """What a reader sees, and the kinds of elements around it; the parser makes no links of bare addresses."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(f"| {text} | end |\n| --- | --- |\n")
    inline = [token for token in tokens if token.type == "inline"]
    kinds = {child.type for token in inline for child in token.children}
    return ["".join(child.content for child in token.children) for token in inline], kinds


@pytest.mark.parametrize("text", NASTY)
def test_markdown_shows_exactly_the_text(text):
    seen, kinds = rendered(markdown(text))
    assert seen == [plain(text), "end"]
    assert kinds <= {"text", "text_special"}


@settings(deadline=None, max_examples=150)
@given(st.text(alphabet="ab <>|`*_[]()!\\&;#~:/@.\n-", max_size=30))
def test_no_text_becomes_markup(text):
    seen, kinds = rendered("x" + markdown(text) + "x")
    assert seen == ["x" + plain(text) + "x", "end"]
    assert kinds <= {"text", "text_special"}


@pytest.mark.parametrize("text", ["# head", "###### head", "- item", "+ item"])
@pytest.mark.parametrize("before", ["", "- "])
def test_no_text_at_the_beginning_of_a_line_becomes_a_heading_or_a_list(text, before):
    kinds = [token.type for token in MarkdownIt("commonmark").parse(before + markdown(text))]
    assert "heading_open" not in kinds
    assert kinds.count("bullet_list_open") == len(before.strip())


def test_github_finds_no_formula():
    assert markdown("$x$ costs $5") == r"\$x\$ costs \$5"


@pytest.mark.parametrize("text", ["http://evil.example", "HTTPS://evil.example", "www.evil.example", "me@evil.example"])
def test_nothing_is_left_that_github_makes_a_link_of(text):
    assert not {"://", "www.", "WWW.", "@"} & {part for part in ("://", "www.", "@") if part in markdown(text).lower()}


@pytest.mark.parametrize("text", NASTY)
def test_plain_is_one_line_without_control_codes(text):
    assert plain(text).isprintable()


def test_plain_is_bounded():
    assert len(plain("a" * 10_000)) == 200
    assert plain("a" * 10_000, 300).endswith("…")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\n=1", " =1"])
def test_csv_has_no_formula(text):
    buffer = io.StringIO()
    csv.writer(buffer).writerow([csv_field(text)])
    assert next(csv.reader([buffer.getvalue()]))[0].startswith("'")


def test_csv_leaves_words_alone():
    assert csv_field("fixmatch [threshold=0.9]") == "fixmatch [threshold=0.9]"
