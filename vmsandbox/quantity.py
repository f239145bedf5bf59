"""Quantities of Kubernetes (apimachinery `resource.Quantity`): 100m, 1.5, 64Mi, 1e3, 12E."""

import math
import re
from dataclasses import dataclass
from fractions import Fraction

MOST = 2**63 - 1
"""The largest quantity there is, as in Kubernetes."""

_FORM = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:[eE](?P<exponent>[+-]?[0-9]{1,3})|(?P<suffix>[A-Za-z]{1,2}))?"
)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_LONGEST = 64


@dataclass(frozen=True, slots=True, order=True)
class Quantity:
    """An exact amount: of bytes, of CPUs, of whatever its resource counts."""

    value: Fraction

    @classmethod
    def parse(cls, text: str) -> "Quantity":
        """The quantity that `text` says.

        Raises:
            ValueError: it says none, or one beyond what Kubernetes can hold; the message ends a sentence.
        """
        match = _FORM.fullmatch(text) if len(text) <= _LONGEST else None
        suffix = (match["suffix"] or "") if match else ""
        if match is None or (suffix not in _DECIMAL and suffix not in _BINARY):
            raise ValueError(f"{text[:_LONGEST]!r} is not a quantity such as 500m, 1.5 or 64Mi")
        exponent = int(match["exponent"]) if match["exponent"] else _DECIMAL.get(suffix, 0)
        value = Fraction(match["number"]) * Fraction(10) ** exponent * 2 ** _BINARY.get(suffix, 0)
        if abs(value) > MOST:
            raise ValueError(f"{text!r} is larger than any quantity can be")
        return cls(value)

    @property
    def whole(self) -> int:
        """In units, rounded up: bytes of memory, whole CPUs."""
        return math.ceil(self.value)

    @property
    def milli(self) -> int:
        """In thousandths, rounded up: millicores."""
        return math.ceil(self.value * 1000)

    def __add__(self, other: "Quantity") -> "Quantity":
        """The sum."""
        return Quantity(self.value + other.value)

    def over(self, divisor: "Quantity") -> int:
        """How many of `divisor` it is, rounded up (resourceFieldRef)."""
        return math.ceil(self.value / divisor.value)


ZERO = Quantity(Fraction(0))
