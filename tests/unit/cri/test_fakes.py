"""The fakes of the CRI's tests have the signatures of what they stand for."""

import inspect

import pytest

from tests.fakes.runtime import FakeImages, FakeRuntime
from vmsandbox.images import ImageStore
from vmsandbox.service import RuntimeService

TEST_CONTROLS = {"end", "change", "publish"}


@pytest.mark.parametrize(("fake", "real"), [(FakeRuntime, RuntimeService), (FakeImages, ImageStore)])
def test_a_fake_has_the_signatures_of_the_real_one(fake, real):
    names = {name for name, _ in inspect.getmembers(fake, inspect.isfunction) if not name.startswith("_")}
    for name in names - TEST_CONTROLS:
        mine, theirs = getattr(fake, name), getattr(real, name)
        assert list(inspect.signature(mine).parameters) == list(inspect.signature(theirs).parameters), name
        assert inspect.iscoroutinefunction(mine) == inspect.iscoroutinefunction(theirs), name
