"""Hooks of MkDocs: what the site shows beside `docs/`.

Pages elsewhere in the repository have their address there, so that links between files hold on the site as they do in
a clone; files that are linked but no pages are shown as their text. The reference and the notebook become Markdown.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter
from nbconvert.filters import strip_ansi

from docs.tools import reference

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ELSEWHERE = ("CHANGELOG.md", "CONTRIBUTING.md", "leaderboard/leaderboard.md", "leaderboard/reported/README.md")
LINK = re.compile(r"(?P<text>!?\[[^\]]*\])\((?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
LANGUAGES = {".py": "python", ".cff": "yaml"}
IMAGES = (".png", ".svg")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference, the notebook, the pages that lie elsewhere, and the files that these link to."""
    for name, page in reference.pages().items():
        files.append(File.generated(config, f"reference/{name}.md", content=page.markdown()))
    files.append(File.generated(config, "reference/index.md", content=reference.index()))
    for path in DOCS.rglob("*.ipynb"):
        for name, content in notebook(path):
            files.append(File.generated(config, f"{path.parent.relative_to(DOCS).as_posix()}/{name}", content=content))
        files.remove(files.get_file_from_path(path.relative_to(DOCS).as_posix()))
    pages = [*ELSEWHERE, *(path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("plugins/*/README.md")))]
    for page in pages:
        files.append(File.generated(config, page, content=(ROOT / page).read_text("utf-8")))
    shown = [*pages, *(path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.md"))]
    for path in sorted({target for page in shown for target in linked(page)}):
        if files.get_file_from_path(address(path)) is None:
            files.append(shown_file(path, config))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links between files of the repository lead to their addresses."""
    here = page.file.src_uri
    lies_in_docs = (DOCS / here).exists()
    folder = posixpath.dirname(f"docs/{here}" if lies_in_docs else here)

    def relink(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, match["target"]))
        if ":" in match["target"] or not (ROOT / path).exists():
            return match[0]
        if (ROOT / path).is_dir():
            return match["text"].strip("[]")
        target = posixpath.relpath(address(path), posixpath.dirname(here) or ".")
        return f"{match['text']}({target}{match['anchor'] or ''})"

    return LINK.sub(relink, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A corner of a table without a text is no heading."""
    return re.sub(r"<th[^>]*></th>", "<td></td>", html)


def linked(page: str) -> Iterator[str]:
    """The files of the repository that a page links to, by their path there."""
    for match in LINK.finditer((ROOT / page).read_text("utf-8")):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), match["target"]))
        if ":" not in match["target"] and (ROOT / path).is_file():
            yield path


def address(path: str) -> str:
    """Where a file of the repository is on the site, as MkDocs names sources."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/").replace(".ipynb", ".md")
    if path == "README.md":
        return "index.md"
    return path if path.endswith((".md", *IMAGES)) else f"{path}.md"


def shown_file(path: str, config: MkDocsConfig) -> File:
    """An image as it is, any other file as a page with its text."""
    file = ROOT / path
    if file.suffix in IMAGES:
        return File.generated(config, address(path), abs_src_path=str(file))
    text = file.read_text("utf-8")
    if file.suffix != ".md":
        text = f"# {file.name}\n\n`{path}`\n\n```{LANGUAGES.get(file.suffix, 'text')}\n{text}```\n"
    return File.generated(config, address(path), content=text)


def notebook(path: Path) -> Iterator[tuple[str, str | bytes]]:
    """An executed notebook as Markdown, and the pictures in it, by their names."""
    prefix = f"{path.stem}_"
    resources = {"output_files_dir": ".", "unique_key": prefix}
    body, found = MarkdownExporter().from_notebook_node(nbformat.read(path, as_version=4), resources)
    yield f"{path.stem}.md", plain_tables(strip_ansi(body))
    for name, content in found["outputs"].items():
        yield Path(name).name, content


def plain_tables(text: str) -> str:
    """Tables of pandas without a style of their own, so that they look like the others."""
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    return re.sub(r"<table[^>]*>", "<table>", text)
