"""docs/pods.md names every field that the types of a manifest declare, and in the right table."""

import importlib
import inspect
import pkgutil
import re

import pytest

from tests.support.manifests import CHECKOUT
from vmsandbox.pod import api
from vmsandbox.typed_yaml import Located
from vmsandbox.typed_yaml.decoder import fields_of


def kinds() -> list[type[Located]]:
    modules = [
        importlib.import_module(f"{api.__name__}.{module.name}") for module in pkgutil.iter_modules(api.__path__)
    ]
    classes = {kind for module in modules for _, kind in inspect.getmembers(module, inspect.isclass)}
    return sorted((k for k in classes if issubclass(k, Located) and k is not Located), key=lambda kind: kind.__name__)


def section(title: str) -> set[str]:
    text = (CHECKOUT / "docs/pods.md").read_text()
    return set(re.findall(r"`(\w+)", text.partition(f"## {title}\n")[2].partition("\n## ")[0]))


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_every_field_is_documented(kind: type[Located]) -> None:
    everywhere = section("What is honoured") | {
        "name",
        "metadata",
        "spec",
        "hostNetwork",
        "seconds",
        "command",
        "fieldPath",
    }
    assert set(fields_of(kind)) - everywhere - {"type", "host", "value"} == set()
    assert set(kind.REFUSED) - section("What is refused") == set()
    assert set(kind.IGNORED) - section("What is accepted and means nothing here") == set()
