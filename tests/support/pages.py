"""The code blocks of pages, as a Markdown parser finds them.

The language of a block says what it is:

| block | what it is | what the tests do |
|---|---|---|
| indented, or `sh` | commands, one on a line | each command is checked; the block runs, or says why not |
| `console` | commands (after `$ `) and what they print | the same; what they print is compared |
| `yaml` | a manifest, a configuration, an inventory | it is read as what it is |
| `python` | a piece of a program | it is compiled |
| `text` | a picture, an error, a layout | nothing |

A comment before a block of commands says where it runs: `<!-- run: unit -->` (tests/unit/test_pages.py),
`<!-- run: machines -->` (tests/e2e/conformance/test_pages.py), or `<!-- not run: REASON -->`. `<!-- file: NAME -->`
before any other block puts it into the directory where the page's commands run.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

CHECKOUT = Path(__file__).parents[2]
PAGES = sorted((*CHECKOUT.glob("docs/*.md"), *CHECKOUT.glob("*.md"), CHECKOUT / "guest-image/README.md"))
SHELL = ("sh", "console")

_COMMENT = re.compile(r"<!-- (?:(?P<key>run|not run|file): (?P<value>.+?)) -->")


@dataclass(frozen=True, slots=True)
class Step:
    """A command, and the lines that the page shows as its output: None where the page shows none."""

    command: str
    output: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code, and what the comment before it says."""

    page: Path
    line: int
    """The line of its first line, or of the fence before it."""
    language: str
    text: str
    marks: dict[str, str]
    """`run`, `not run` or `file`, and what follows the colon."""

    def __str__(self) -> str:
        return f"{self.page.relative_to(CHECKOUT)}:{self.line}"

    def steps(self) -> Iterator[Step]:
        """Yield the commands of a block of commands, lines that end with a backslash joined."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "sh":
            yield from (Step(line) for line in lines if line.strip())
            return
        starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
        for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
            yield Step(lines[start].removeprefix("$ "), tuple(lines[start + 1 : end]))


def blocks(page: Path) -> Iterator[Block]:
    """Yield the code blocks of a page, in their order."""
    marks: dict[str, str] = {}
    for token in MarkdownIt("commonmark").parse(page.read_text()):
        if token.type == "html_block":
            marks = {found["key"]: found["value"] for found in _COMMENT.finditer(token.content)}
        elif token.type in ("fence", "code_block"):
            language = token.info.strip() if token.type == "fence" else "sh"
            yield Block(page, (token.map or [0])[0] + 1, language, token.content, marks)
            marks = {}
        elif token.block and not token.type.endswith("_close"):
            marks = {}


def inline_commands(page: Path) -> Iterator[str]:
    """Yield what a page has in backticks and begins with `vmsandbox `."""
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text()):
        for child in token.children or ():
            if child.type == "code_inline" and re.match(r"(\.venv/bin/)?vmsandbox \S", child.content):
                yield child.content
