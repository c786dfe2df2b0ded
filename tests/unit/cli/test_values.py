"""Lists, ranges and settings."""

import pytest

from ferbench.cli.values import parse_settings, split_decimals, split_integers
from ferbench.errors import UsageError


def test_integers_and_ranges() -> None:
    assert split_integers(["0-2,7", "1"], "--seed") == [0, 1, 2, 7]


@pytest.mark.parametrize("text", ["²", "1-²", "٣", "-1", "1-", "one", "9" * 5000, "3-1", "0-99999"])
def test_anything_else_is_refused_by_the_name_of_its_option(text: str) -> None:
    with pytest.raises(UsageError, match="--seed"):
        split_integers([text], "--seed")


def test_several_ratios_are_parted_by_commas() -> None:
    assert split_decimals(["0.05,0.1", "1"], "--ratio") == ["0.05", "0.1", "1"]
    assert split_decimals(["1,0.05"], "--ratio") == ["1", "0.05"]


@pytest.mark.parametrize("text", ["0,05", "0,05,0,1", "0.1,0,05"])
def test_a_decimal_comma_is_not_taken_for_two_numbers(text: str) -> None:
    with pytest.raises(UsageError, match=f"--ratio {text}: .*; write 0.05, with a point"):
        split_decimals([text], "--ratio")


def test_settings_are_json_where_they_can_be() -> None:
    given = ["steps=60", "a.b=true", 'c="60"', "d=text", 'weak={"padding": 2}', " e =1"]
    assert parse_settings(given) == {"steps": 60, "a.b": True, "c": "60", "d": "text", "weak": {"padding": 2}, "e": 1}


@pytest.mark.parametrize("value", ["learning_rate=1e999", "a=NaN", 'weak={"padding": -Infinity}', "a=[1, Infinity]"])
def test_numbers_that_are_not_finite_are_refused(value: str) -> None:
    with pytest.raises(UsageError, match="must be finite"):
        parse_settings([value])


def test_a_setting_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="given twice"):
        parse_settings(["a=1", "a =2"])
