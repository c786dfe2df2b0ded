"""Counts beside the official ones."""

from ferbench.reporting.data_card import Count, count_table

OFFICIAL = {"train": {"neutral": 5, "fear": 2000}, "test": {"neutral": 1, "fear": 1}}


def test_equal_counts_are_compared_and_do_not_differ() -> None:
    counts = {"train/neutral": 5, "train/fear": 2000, "test/neutral": 1, "test/fear": 1}
    table = count_table(counts, OFFICIAL)
    assert table.splits == ("train", "test")
    assert [name for name, _ in table.rows] == ["neutral", "fear", "all"]
    assert table.rows[-1][1] == (Count(2005, 2005), Count(2, 2))
    assert (table.compared, table.differences) == (True, 0)
    assert table.rows[1][1][0].words == "2,000"


def test_differences_are_counted_by_class_and_not_again_in_the_sums() -> None:
    table = count_table({"train/neutral": 6, "train/fear": 1999, "test/neutral": 1}, OFFICIAL)
    rows = dict(table.rows)
    assert rows["fear"][0].words == "1,999 (official 2,000)"
    assert rows["fear"][1] == Count(0, 1)
    assert rows["all"] == (Count(2005, 2005), Count(1, 2))
    assert table.differences == 3


def test_a_split_that_is_missing_is_shown_with_what_it_should_have() -> None:
    table = count_table({"test/neutral": 1, "test/fear": 1}, OFFICIAL)
    assert table.splits == ("train", "test")
    assert dict(table.rows)["all"][0] == Count(0, 2005)
    assert table.differences == 2


def test_a_class_or_split_that_nobody_names() -> None:
    counts = {"train/neutral": 5, "train/fear": 2000, "train/anger": 3, "unlabeled/unknown": 7, "train/unknown": 1}
    table = count_table(counts, OFFICIAL)
    rows = dict(table.rows)
    assert table.splits == ("train", "test", "unlabeled")
    assert rows["anger"][0] == Count(3, 0) and rows["anger"][0].differs, (
        "in a split with official counts there are none"
    )
    assert rows["unknown"] == (Count(1, None), Count(0, None), Count(7, None))
    assert rows["all"] == (Count(2009, 2005), Count(0, 2), Count(7, None))


def test_without_official_counts_nothing_differs() -> None:
    table = count_table({"validation/fear": 2}, {})
    assert table.rows == (("fear", (Count(2, None),)), ("all", (Count(2, None),)))
    assert (table.compared, table.differences) == (False, 0)


def test_counts_of_all_splits_together_stand_in_a_column_of_their_own() -> None:
    table = count_table({"train/neutral": 5, "test/neutral": 2, "test/fear": 1}, {"all": {"neutral": 7, "fear": 2}})
    rows = dict(table.rows)
    assert table.splits == ("train", "test", "all")
    assert rows["neutral"] == (Count(5, None), Count(2, None), Count(7, 7))
    assert rows["fear"][2] == Count(1, 2)
    assert rows["all"] == (Count(5, None), Count(3, None), Count(8, 9))
    assert table.differences == 1


def test_of_some_splits_only_a_sum_is_known() -> None:
    table = count_table({"test/neutral": 2, "test/fear": 1}, {"test": {"all": 4}})
    assert dict(table.rows) == {"neutral": (Count(2, None),), "fear": (Count(1, None),), "all": (Count(3, 4),)}
    assert (table.compared, table.differences) == (True, 1)
