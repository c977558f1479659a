from __future__ import annotations

import pytest

from mnemodex.pipelines.cli import main
from mnemodex.schemas.errors import CorruptFileError, MissingExtraError, RecipeError
from mnemodex.schemas.yaml_file import read_yaml


def bomb(levels, *, kind="list"):
    """A few lines that expand to 9^levels values."""
    lines = ["a0: &a0 x"]
    for level in range(1, levels + 1):
        inner = f"[{', '.join([f'*a{level - 1}'] * 9)}]"
        value = inner if kind == "list" else f"{{<<: {inner}, k: {inner}}}"
        lines.append(f"a{level}: &a{level} {value}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        bomb(7),
        bomb(30),
        "a0: &a0 {x: 1}\n" + bomb(9, kind="map").partition("\n")[2],
        "a: &a [*a]",
        "a: &a {b: *a}",
        "&a [[*a, *a]]",
    ],
    ids=["7 levels", "30 levels", "merged", "in itself", "mapping in itself", "deep in itself"],
)
def test_aliases_that_stand_for_too_much_are_refused(tmp_path, text):
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(RecipeError, match=r"recipe\.yaml: .*: its aliases expand to more than") as caught:
        read_yaml(tmp_path / "recipe.yaml")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "text", ["a: 2020-13-45", "a: !!int x", "a: !!float", "a: !!bool x", "a: !!timestamp x", r'"\ud800": x']
)
def test_a_value_that_is_not_of_its_type_is_no_yaml(tmp_path, text):
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(RecipeError, match=r"recipe\.yaml: is not valid YAML: "):
        read_yaml(tmp_path / "recipe.yaml")


def test_values_that_are_too_deep_are_refused(tmp_path):
    (tmp_path / "recipe.yaml").write_text("a: " + "[" * 5000)
    with pytest.raises(RecipeError, match="more than 100 levels deep; write fewer brackets"):
        read_yaml(tmp_path / "recipe.yaml")


def test_aliases_that_save_writing_are_taken(tmp_path):
    (tmp_path / "recipe.yaml").write_text("a: &a {x: [1, 2]}\nb: *a\nc: {<<: *a, y: 3}\n")
    assert read_yaml(tmp_path / "recipe.yaml") == {"a": {"x": [1, 2]}, "b": {"x": [1, 2]}, "c": {"x": [1, 2], "y": 3}}


@pytest.mark.parametrize("kind", [CorruptFileError, RecipeError, MissingExtraError])
def test_a_message_that_quotes_too_much_keeps_its_beginning_and_its_remedy(kind):
    message = str(kind(f"recipe.yaml: {'x' * 10**6}; write it shorter"))
    assert len(message) < 2000
    assert message.startswith("recipe.yaml: xxx") and message.endswith("xxx; write it shorter")
    assert "characters left out" in message
    assert str(kind("short")) == "short"


def test_a_recipe_with_a_large_value_in_the_wrong_place_gives_a_short_message(tmp_path, monkeypatch, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"source: {{path: a}}\nindexes: [{', '.join(['x' * 50] * 5000)}]\n")
    monkeypatch.setattr("sys.argv", ["mnemodex", "build", str(recipe)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert 0 < len(capsys.readouterr().err) < 2500
