"""ASP.NET route templates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devhost.errors import LoadError
from devhost.routes import compile_route


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("a/b", "A/B", {}),
        ("a/b", "a", None),
        ("a/{p}", "a/x%20y", {"p": "x y"}),
        ("a/{p}", "a", None),
        ("a/{p?}", "a", {}),
        ("a/{p=5}", "a", {"p": "5"}),
        ("a/{p=5}", "a/6", {"p": "6"}),
        ("a/{*rest}", "a/b/c", {"rest": "b/c"}),
        ("a/{*rest}", "a", {}),
        ("{id:int}", "12", {"id": "12"}),
        ("{id:int}", "x", None),
        ("{id:int?}", "", {}),
        ("{x:guid}", "6f9619ff-8b86-d011-b42d-00c04fc964ff", {"x": "6f9619ff-8b86-d011-b42d-00c04fc964ff"}),
        ("{n:alpha:length(1,3)}", "abcd", None),
        ("{n:alpha:length(1,3)}", "abc", {"n": "abc"}),
        ("{n:range(1,9)}", "10", None),
        ("{n:min(5)}", "5", {"n": "5"}),
        ("{n:maxlength(2)}", "abc", None),
        (r"{d:regex(^\d{{4}}-\d{{2}}$)}", "2026-01", {"d": "2026-01"}),
        (r"{d:regex(^\d{{4}}-\d{{2}}$)}", "2026-1", None),
        ("file-{name}.{ext}", "file-a.txt", {"name": "a", "ext": "txt"}),
        ("{b:bool}", "TRUE", {"b": "TRUE"}),
    ],
)
def test_matching(template: str, path: str, expected: dict[str, str] | None) -> None:
    """A template matches the paths that ASP.NET's would, and yields the same values."""
    assert compile_route(template).match(path) == expected


@pytest.mark.parametrize("template", ["a/{p", "a/p}", "a/{}", "a/{p:unknown}", "a/{p:length(x)}"])
def test_bad_templates_are_refused(template: str) -> None:
    """A template that cannot be understood is refused by name."""
    with pytest.raises(LoadError, match="route"):
        compile_route(template)


def test_specific_routes_come_first() -> None:
    """Literals win over constrained parameters, those over plain ones, and those over the rest of the path."""
    templates = ["a/{*rest}", "a/{p}", "a/{p:int}", "a/b"]
    routes = sorted((compile_route(each) for each in templates), key=lambda route: route.order)
    assert [route.template for route in routes] == ["a/b", "a/{p:int}", "a/{p}", "a/{*rest}"]


@given(st.text(min_size=1, max_size=20).filter(lambda text: "/" not in text))
def test_any_escaped_value_comes_back(value: str) -> None:
    """Whatever a client escapes into a segment reaches the function unescaped."""
    from urllib.parse import quote

    assert compile_route("a/{p}").match("a/" + quote(value, safe="")) == {"p": value}
