"""Faces that import their modules late: they have what they say, from where they say."""

import ast
import importlib
import inspect

import pytest

from vmsandbox import model, typed_yaml
from vmsandbox.cri import client, convert
from vmsandbox.protocol import messages
from vmsandbox.protocol.faces import face

FACES = [model, messages, convert, client, typed_yaml]


@pytest.mark.parametrize("package", FACES, ids=lambda package: package.__name__)
def test_mypy_and_python_see_the_same_names_in_a_face(package: object) -> None:
    tree = ast.parse(inspect.getsource(package))  # type: ignore[arg-type]
    (checking,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {name.name: node.module for node in checking.body for name in node.names}  # type: ignore[attr-defined]
    (call,) = (node.value for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call))
    homes = {keyword.arg: ast.literal_eval(keyword.value).split() for keyword in call.keywords}
    found = {name: f"{package.__name__}.{home}" for home, names in homes.items() for name in names}  # type: ignore[attr-defined]
    assert found == seen
    assert sorted(found) == sorted(package.__all__)  # type: ignore[attr-defined]


@pytest.mark.parametrize("package", FACES, ids=lambda package: package.__name__)
def test_every_name_of_a_face_is_there(package: object) -> None:
    for name in package.__all__:  # type: ignore[attr-defined]
        assert getattr(package, name) is not None


def test_a_name_that_a_face_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        _ = getattr(importlib.import_module("vmsandbox.model"), "Nonsense")  # noqa: B009
    with pytest.raises(AttributeError):
        face("vmsandbox.model", image="Image")("Pod")
