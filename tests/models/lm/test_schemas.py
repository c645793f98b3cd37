"""Schemas that clients send."""

from typing import Any

import pytest

from models.lm.schemas import MAX_DEPTH, MAX_NODES, SchemaError, check, check_parameters


@pytest.mark.parametrize(
    ("schema", "param", "message"),
    [
        ({"type": "objekt"}, "p.type", "objekt"),
        ({"properties": {"a b": {"minLength": "x"}}}, "p.properties['a b'].minLength", "not of type"),
        ({"allOf": [{}, {"required": 1}]}, "p.allOf[1].required", "1 is not of type"),
        ({"type": "array"}, "p", "must be 'object'"),
        ({"enum": [*range(MAX_NODES)]}, "p", "more than"),
        ({"properties": {"a": {"multipleOf": 99_991}}}, "p", "multipleOf must be at most"),
        ({"$schema": "http://nowhere.invalid/x"}, "p", "nowhere"),
    ],
)
def test_bad_schemas_name_the_place(schema: dict[str, Any], param: str, message: str) -> None:
    with pytest.raises(SchemaError, match=message) as caught:
        check_parameters(schema, "p")
    assert caught.value.param == param
    assert str(caught.value).startswith(f"{param}: ")


def test_deep_nesting() -> None:
    schema: dict[str, Any] = {}
    for _ in range(MAX_DEPTH):
        schema = {"items": schema}
    check(schema, "p")
    with pytest.raises(SchemaError, match="nested"):
        check({"items": schema}, "p")


def test_good_schemas() -> None:
    check_parameters({}, "p")
    check_parameters(
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": "null"}}}, "p"
    )
    check({"type": "array"}, "p")
