import numpy as np
import pytest

pytest.importorskip("numba", reason="the renderer needs the extra `render`")

from ferbench_synthfaces.render.assets import Assets
from ferbench_synthfaces.render.difficulty import LEVELS, Difficulty
from ferbench_synthfaces.render.expression import ACTION_LIMIT, RECIPES, ExpressionSampler
from ferbench_synthfaces.render.plan import CLASSES


@pytest.fixture
def sampler(assets: Assets) -> ExpressionSampler:
    return ExpressionSampler(assets.action.names)


def test_every_recipe_names_actions_that_exist(sampler: ExpressionSampler) -> None:
    assert {"neutral", *RECIPES} == set(CLASSES)
    for recipes in RECIPES.values():
        assert sum(recipe.probability for recipe in recipes) == pytest.approx(1)
        for recipe in recipes:
            assert all(sampler.rows(action) for action in recipe.actions)


@pytest.mark.parametrize("level", LEVELS)
def test_values_keep_their_range(sampler: ExpressionSampler, level: str) -> None:
    for number, name in enumerate(CLASSES * 20):
        expression = sampler.sample(name, LEVELS[level], np.random.default_rng(number))
        assert expression.actions.min() >= 0
        assert expression.actions.max() <= ACTION_LIMIT
        low, high = LEVELS[level].intensity
        assert name == "neutral" or low <= expression.intensity <= high


def test_without_variation_an_expression_is_its_recipe(sampler: ExpressionSampler) -> None:
    still = Difficulty(intensity=(1, 1), action_noise=0, action_jitter=0, asymmetry=0, blend_probability=0)
    actions = sampler.sample("happiness", still, np.random.default_rng(0)).actions
    shown = {sampler.names[row] for row in np.flatnonzero(actions) if not sampler.names[row].startswith("eyeLook")}
    assert any(
        shown == {sampler.names[row] for action in recipe.actions for row in sampler.rows(action)}
        for recipe in RECIPES["happiness"]
    )


def test_contempt_is_one_sided_on_either_side(sampler: ExpressionSampler) -> None:
    still = Difficulty(action_noise=0, blend_probability=0)
    left, right = sampler.rows("mouthSmile")
    seen = [sampler.sample("contempt", still, np.random.default_rng(seed)).actions for seed in range(40)]
    sides = {(bool(actions[left]), bool(actions[right])) for actions in seen}
    assert sides == {(True, False), (False, True)}
