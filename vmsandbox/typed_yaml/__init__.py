"""YAML files into frozen dataclasses, by their annotations; every error names the file, the line and the field.

`reader` reads text into a tree of values that know where they stand, `decoder` makes dataclasses of them, whose fields
have the types of `values`, and `writing` makes text of values. What a file may hold is what the dataclasses say:
unknown and repeated keys are errors, and so is a value of another type.
"""

from typing import TYPE_CHECKING

from vmsandbox.protocol.faces import face

if TYPE_CHECKING:
    from vmsandbox.typed_yaml.decoder import Check, Located, decode, decode_all
    from vmsandbox.typed_yaml.reader import read
    from vmsandbox.typed_yaml.tree import NOWHERE, YamlNode, from_values
    from vmsandbox.typed_yaml.values import Size
    from vmsandbox.typed_yaml.writing import dump, plain

__all__ = [
    "NOWHERE", "Check", "Located", "Size", "YamlNode", "decode", "decode_all", "dump", "from_values", "plain", "read",
]  # fmt: skip

__getattr__ = face(
    __name__,
    decoder="Check Located decode decode_all",
    reader="read",
    tree="NOWHERE YamlNode from_values",
    values="Size",
    writing="dump plain",
)
