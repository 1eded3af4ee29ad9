from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fuagent.contract import yamltree

TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E) | st.sampled_from("äß€😀"))
TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def read(text: str) -> object:
    return yamltree.read(text, [])


@given(TREES)
def test_json_is_yaml(tree):
    """What JSON writes in printable text is read as the same tree."""
    assert tree == read(json.dumps(tree, ensure_ascii=False))


@given(st.text())
def test_any_text_is_a_tree_or_an_error(text):
    """Whatever text comes gives a tree or a ValueError, nothing else."""
    try:
        tree = read(text)
    except ValueError as error:
        assert str(error)
    else:
        assert json.loads(json.dumps(tree)) == tree


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a: no\nb: on\nc: 2020-01-01\nd: 0x1f\ne: 1_000",
            {"a": "no", "b": "on", "c": "2020-01-01", "d": "0x1f", "e": "1_000"},
        ),
        ("no: 1\n200: ok\n1.5: x\nnull: y", {"no": 1, "200": "ok", "1.5": "x", "null": "y"}),
        ("[~, null, true, False]", [None, None, True, False]),
        ("[0123, -7, +3, .5, 1e3, 1.]", [123, -7, 3, 0.5, 1000.0, 1.0]),
        ("[.inf, .nan, 1e999]", [".inf", ".nan", "1e999"]),
        ("['1', \"true\", !!str 3, ! 4, !!int 5]", ["1", "true", "3", "4", 5]),
        ("a: |\n  1\n", {"a": "1\n"}),
        ("!!map {a: !!seq [1]}", {"a": [1]}),
        ("&x 1", 1),
        ("", None),
    ],
)
def test_values(text, expected):
    """Scalars follow the JSON schema of YAML 1.2, and keys are the text that stands there."""
    assert expected == read(text)


def test_aliases_and_merges():
    """An alias stands for what it names; merged keys never win over written ones, earlier merges over later."""
    text = """
one: &one {a: 1, b: 1}
two: &two {b: 2, c: 2}
merged: {<<: [*one, *two], a: 0}
single:
  <<: *one
  b: 9
text: &name key
*name : alias as key
list: [*name, *one]
<<: not a mapping
"""

    assert read(text) == {
        "one": {"a": 1, "b": 1},
        "two": {"b": 2, "c": 2},
        "merged": {"a": 0, "b": 1, "c": 2},
        "single": {"a": 1, "b": 9},
        "text": "key",
        "key": "alias as key",
        "list": ["key", {"a": 1, "b": 1}],
        "<<": "not a mapping",
    }


def test_key_with_anchor():
    """A key may be named for later use too."""
    assert read("&k a: 1\nb: *k") == {"a": 1, "b": "a"}


def test_repeated_keys_are_told():
    """The last value of a repeated key counts, and the key is told."""
    repeated: list[str] = []

    assert yamltree.read("a: 1\na: 2\na: 3", repeated) == {"a": 3}
    assert repeated == ["a", "a"]


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


def merge_bomb(levels: int) -> str:
    lines = ["a0: &a0 {" + ", ".join(f"k{n}: 1" for n in range(10)) + "}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (bomb(9), "aliases are written out"),
        (merge_bomb(9), "aliases are written out"),
        ("[" * 100_000, "nested deeper"),
        ("[" * 300 + "]" * 300, "nested deeper"),
        ("\n".join(" " * n + "a:" for n in range(300)), "nested deeper"),
        ("a: &a [*a]", "stands for nothing"),
        ("a: *b", "stands for nothing"),
        ("? [1]\n: 2", "keys have to be text"),
        ("a: &a [1]\n*a : 2", "alias of something that is no text"),
        ("a: 1\n---\nb: 2", "more than one document"),
        ("a: !!python/object/apply:os.system [x]", "not allowed"),
        ("a: !secret x", "not allowed"),
        ("a: 'x", "in line 1"),
        ("a: b: c", "in line 1, column 5"),
        ("\x07", "control characters|not allowed|unacceptable"),
    ],
)
@pytest.mark.fault("S13", "S14")
def test_refused(text, told):
    """Explosions, circles, foreign tags and broken text end in one sentence."""
    with pytest.raises(ValueError, match=told):
        read(text)


def test_slow_loader_gives_the_same(monkeypatch):
    """Without the compiled YAML library everything reads the same."""
    monkeypatch.setattr(yamltree, "_Loader", yaml.SafeLoader)

    assert read("a: [no, 1, '1', {b: }]") == {"a": ["no", 1, "1", {"b": None}]}
    with pytest.raises(ValueError, match="nested deeper"):
        read("[" * 300 + "]" * 300)
    with pytest.raises(ValueError, match="special characters"):
        read("a\x07")


@pytest.mark.fault("S13")
def test_explosion_is_refused_without_growing():
    """A document just below the limit still reads, and shares what its aliases name."""
    tree = read(bomb(5))

    assert tree["a1"][0] is tree["a1"][1]
