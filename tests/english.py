"""Look for English that a reader has to decode: `python -m tests.english` (CONTRIBUTING.md, "English")."""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
PAGES = ("docs/*.md", "*.md", "guest-image/*.md")
PROGRAMS = ("vmsandbox/**/*.py", "agent/**/*.py", "guest-image/**/*.py")

PHRASES = {
    r"(?<![Tt]here )\b(?:is|are|was|were) no (?!longer|more|less|later|earlier|larger|other)[a-z]": "X is not a …",
    r"(?<![Tt]here )\b(?:is|are|was|were) none\b": "X is not a …",
    r"\b(?:as|at|by|for|from|of|on|than|to|with) who\b": "name the person or the program",
    r"[.;:] [Ww]ho\b(?=[^?]*[.;])": "name the person or the program",
    r"\bbut for\b": "except",
    r"\bas [^.;:,]{1,40} ha(?:s|ve) it\b": "as in …, like …",
    r"\b(?:is|are|was|were|be) had\b": "use the verb that says what happens",
    r"\b(?:has|have) not[.,;:)]": "does not have …",
    r"\b(?:is|are) (?:nobody|everybody)'s\b": "name the owner",
    r"\bcannot be(?:[.,;:)]|$)": "is not valid, is not possible",
    r"\b(?:is|are) not to be [a-z]+(?:ed|en|d)\b": "cannot be …, must not be …",
}
"""Patterns, and what to write instead."""

BEGINNING = re.compile(r"(?:What|Who|Those|That|Of|It|Its|As|By)\b")
"""The words that no docstring begins with: it begins with a verb or with the noun that is defined."""


def phrases(text: str) -> Iterator[str]:
    """Yield the phrases of a text that have to be decoded, each with what to write instead."""
    plain = " ".join(text.split())
    for pattern, advice in PHRASES.items():
        if found := re.search(pattern, plain):
            yield f"{plain[max(0, found.start() - 30) : found.end() + 30]!r}: {advice}"


def complaints() -> Iterator[str]:
    """Yield a line for each sentence to rewrite, in pages, programs and tests."""
    for page in _files(*PAGES):
        yield from _decoded(page, _prose(page.read_text()))
    for module in _files(*PROGRAMS, "tests/**/*.py"):
        source, ours = module.read_text(), not module.is_relative_to(CHECKOUT / "tests")
        if module.name not in ("english.py", "test_english.py"):
            yield from _begun(module, _docstrings(source))
            yield from _decoded(module, _texts(source) if ours else (*_docstrings(source), *_names(source)))


def _files(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in CHECKOUT.glob(pattern))


def _decoded(path: Path, texts: Iterable[tuple[int, str]]) -> Iterator[str]:
    return (f"{path.relative_to(CHECKOUT)}:{line}: {phrase}" for line, text in texts for phrase in phrases(text))


def _begun(path: Path, docstrings: Iterable[tuple[int, str]]) -> Iterator[str]:
    for line, text in docstrings:
        if BEGINNING.match(text.lstrip()):
            yield f"{path.relative_to(CHECKOUT)}:{line}: {text[:60]!r}: begin with a verb or the noun that is defined"


def _prose(page: str) -> Iterator[tuple[int, str]]:
    """Yield the paragraphs and table rows of a page, without code and quotations."""
    page = re.sub(r"^```.*?^```", lambda code: "\n" * code[0].count("\n"), page, flags=re.M | re.S)
    for block in re.finditer(r"^\|.+|(?:^(?!    |\|).+\n)+", page, flags=re.M):
        yield page[: block.start()].count("\n") + 1, re.sub(r"`[^`]*`|\"[^\"]*\"", "`code`", block[0])


def _docstrings(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


def _texts(source: str) -> Iterator[tuple[int, str]]:
    """Yield string literals and comments."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def _names(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.lineno, node.name.removeprefix("test_").replace("_", " ")


if __name__ == "__main__":
    found = list(complaints())
    sys.exit("\n".join((*found, f"{len(found)} sentences to rewrite")) if found else 0)
