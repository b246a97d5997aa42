"""Every recipe of docs/contributing.md works when it is followed literally, and its code passes the linter."""

import pytest

from tests.conftest import REPOSITORY
from tests.docs.markdown_pages import code_blocks
from tests.docs.recipes import PAGE, Checkout, files_to_touch, recipe_blocks

RECIPES = ["Add a trainer", "Add a data set", "Add an encoder", "Add a metric"]


def test_every_recipe_is_tested():
    assert {block.section for block in code_blocks(PAGE) if block.section.startswith("Add ")} == set(RECIPES)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_recipe_names_every_file_to_touch(recipe):
    named = files_to_touch(recipe)
    written = {block.title for block in recipe_blocks(recipe) if block.title}
    assert written <= set(named)
    assert [name for name in named if name not in written and not (REPOSITORY / name).is_file()] == []


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_recipe_works(recipe, tmp_path):
    blocks = recipe_blocks(recipe)
    assert any(block.language == "bash" for block in blocks), "a recipe ends with a command that shows its success"
    checkout = Checkout(tmp_path)
    checkout.follow(blocks)
    checkout.lint(sorted({block.title for block in blocks if block.title.endswith(".py")}))
