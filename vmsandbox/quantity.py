"""Quantities as Kubernetes writes them (apimachinery, resource.Quantity): 100m, 1.5, 64Mi, 1e3."""

import re
from dataclasses import dataclass
from fractions import Fraction

_FORM = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)(?:([eE][+-]?\d{1,3})|([KMGTPE]i|[numkMGTPE]))?", re.ASCII)

_SUFFIXES: dict[str, Fraction] = {
    **{suffix: Fraction(1000) ** power for power, suffix in enumerate("num", start=-3)},
    **{suffix: Fraction(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Fraction(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}


@dataclass(frozen=True, slots=True, order=True)
class Quantity:
    """An exact number."""

    value: Fraction

    @classmethod
    def parse(cls, text: str) -> "Quantity":
        """The quantity that a text says. Raises ValueError where it says none."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no quantity, such as 100m, 2 or 64Mi")
        sign, digits, exponent, suffix = match.groups()
        scale = Fraction(10) ** int(exponent[1:]) if exponent else _SUFFIXES.get(suffix, Fraction(1))
        return cls((-1 if sign == "-" else 1) * Fraction(digits.rstrip(".")) * scale)

    def whole(self) -> int:
        """Rounded up to a whole number, as Kubernetes rounds bytes. Raises ValueError where it is negative."""
        if self.value < 0:
            raise ValueError("a size is not negative")
        return -(-self.value.numerator // self.value.denominator)

    def milli(self) -> int:
        """Thousandths, rounded up: of CPUs."""
        return -(-1000 * self.value.numerator // self.value.denominator)
