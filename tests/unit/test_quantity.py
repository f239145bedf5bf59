"""Kubernetes quantities."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox.quantity import Quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100m", Fraction(1, 10)),
        ("1.5", Fraction(3, 2)),
        ("64Mi", 64 << 20),
        ("1e3", 1000),
        ("1E3", 1000),
        ("12E", 12 * 10**18),
        ("2E-1", Fraction(1, 5)),
        (".5k", 500),
        ("5.", 5),
        ("-3Ki", -3072),
        ("7n", Fraction(7, 10**9)),
    ],
)
def test_a_quantity_has_its_exact_value(text: str, value: Fraction) -> None:
    assert Quantity.parse(text).value == value


@pytest.mark.parametrize("text", ["", "Mi", "1 Mi", "1mi", "1KI", "0x10", "1e", "--1", "1.2.3", "NaN", "1e9999"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        Quantity.parse(text)


def test_parts_are_rounded_up() -> None:
    assert Quantity.parse("1500m").whole() == 2
    assert Quantity.parse("0.1m").milli() == 1
    with pytest.raises(ValueError, match="negative"):
        Quantity.parse("-1").whole()


@given(st.integers(0, 10**12), st.sampled_from(["", "k", "Ki", "M", "Mi"]))
def test_whole_numbers_stay_what_they_are(number: int, suffix: str) -> None:
    factor = {"": 1, "k": 1000, "Ki": 1024, "M": 10**6, "Mi": 1 << 20}[suffix]
    assert Quantity.parse(f"{number}{suffix}").whole() == number * factor


@given(st.text(max_size=12))
def test_any_text_is_a_quantity_or_a_value_error(text: str) -> None:
    try:
        Quantity.parse(text)
    except ValueError:
        return
