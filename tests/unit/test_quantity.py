import contextlib
import string
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox.quantity import MOST, Quantity


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("100m", Fraction(1, 10)),
        ("1.5", Fraction(3, 2)),
        ("64Mi", 64 << 20),
        ("1e3", 1000),
        ("1E3", 1000),
        ("12E", 12 * 10**18 if MOST >= 12 * 10**18 else None),
        ("5E", 5 * 10**18),
        ("7Ei", 7 << 60),
        (".5Gi", 1 << 29),
        ("5.", 5),
        ("+1k", 1000),
        ("-1", -1),
        ("1e-3", Fraction(1, 1000)),
        ("100n", Fraction(1, 10**7)),
        ("0", 0),
    ],
)
def test_a_quantity(text, amount):
    if amount is None:
        with pytest.raises(ValueError, match="larger"):
            Quantity.parse(text)
    else:
        assert Quantity.parse(text).value == amount


@pytest.mark.parametrize(
    "text",
    ["", "m", "1 Mi", "1mi", "1K", "1MI", "0x10", "1e", "1e3Mi", "--1", "1_0", "１", "1e999", "1e1000000000", "nan",
     "1.2.3", "9" * 65],
)  # fmt: skip
def test_a_text_that_is_not_a_quantity_is_refused(text):
    with pytest.raises(ValueError):
        Quantity.parse(text)


@given(st.text(alphabet=string.digits + ".eE+-kKMGTPimnu ", max_size=20))
def test_any_text_is_a_quantity_or_a_value_error(text):
    with contextlib.suppress(ValueError):
        assert abs(Quantity.parse(text).value) <= MOST


@given(st.integers(0, 10**6), st.sampled_from(["Ki", "Mi", "Gi"]))
def test_binary_suffixes_are_powers_of_1024(number, suffix):
    power = ["Ki", "Mi", "Gi"].index(suffix) + 1
    assert Quantity.parse(f"{number}{suffix}").whole == number * 1024**power


@given(st.integers(0, 10**9))
def test_milli_and_whole_round_up(number):
    quantity = Quantity.parse(f"{number}u")
    assert quantity.milli == -(-number // 1000)
    assert quantity.whole == -(-number // 10**6)
