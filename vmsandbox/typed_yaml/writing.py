"""Plain values as a YAML text that `reader.read` and Kubernetes read as the same values."""

from typing import Any

import yaml

from vmsandbox.typed_yaml.scalars import PREFIX, Loader
from vmsandbox.typed_yaml.tree import YamlNode

_TEXT = f"{PREFIX}str"
_WIDTH = 120


class _Dumper(yaml.SafeDumper):
    """pyyaml's, with quotes around every text that a reader of YAML 1.1 may take for something else."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Begin a block; lists are indented, as people write them."""
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        """Write everything out."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    readers: tuple[Any, ...] = (Loader(""), yaml.SafeLoader(""))  # whose `resolve` has no types
    plain = all(reader.resolve(yaml.ScalarNode, text, (True, False)) == _TEXT for reader in readers)
    style = "|" if "\n" in text.strip() else None if plain else '"'
    return dumper.represent_scalar(_TEXT, text, style=style)


_Dumper.add_representer(str, _text)


def dump(*documents: Any) -> str:
    """The text of documents of plain values: mappings, lists, texts, numbers, booleans and None."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)


def plain(node: YamlNode) -> Any:
    """The plain values of a tree, which `dump` writes."""
    if isinstance(node.value, dict):
        return {key: plain(value) for key, value in node.value.items()}
    if isinstance(node.value, tuple):
        return [plain(value) for value in node.value]
    return node.value
