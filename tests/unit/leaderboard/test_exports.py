"""LaTeX and Parquet: what people cite and what pandas reads."""

import io
import re
import warnings

import pandas as pd
import pytest

from ferbench.errors import UsageError
from ferbench.leaderboard.build import FORMATS, export
from ferbench.leaderboard.columns import COLUMNS, main_columns
from ferbench.leaderboard.tables import make_board
from ferbench.records.frame import frame_of
from ferbench.render.escape import latex
from tests.unit.leaderboard.test_build import nasty_board
from tests.unit.records.factory import make_cell, make_history, make_predictions, make_record

# What LaTeX's own commands stand for: the inverse of escaping, written down apart from it.
COMMANDS = {
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textasciigrave{}": "`",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    "{[}": "[",
    "{*}": "*",
    "-{}": "-",
    **{f"\\{char}": char for char in "&%$#_{}"},
}
TOKEN = re.compile("|".join(re.escape(command) for command in sorted(COMMANDS, key=len, reverse=True)))


def typeset(source: str) -> str:
    """What LaTeX would set; fails where something has a meaning to LaTeX that is not in the list."""
    rest = TOKEN.sub("", source)
    assert not set(rest) & set("\\&%$#_{}~^[*"), f"not escaped: {rest}"
    return TOKEN.sub(lambda match: COMMANDS[match[0]], source)


def environments(source: str) -> list[list[list[str]]]:
    """The rows of each tabular, headings first, as LaTeX would split them."""
    bodies = re.findall(r"\\begin\{tabular\}\{[lr]+\}\n(.*?)\\end\{tabular\}", source, re.DOTALL)
    lines = [re.sub(r"\\(top|mid|bottom)rule\n", "", body).rstrip().split("\\\\\n") for body in bodies]
    cells = [[re.split(r"(?<!\\)&", row.removesuffix("\\\\")) for row in rows] for rows in lines]
    return [[[typeset(cell.strip()) for cell in row] for row in rows] for rows in cells]


def board(**options):
    cells = [make_cell(method, seed) for method in ("fixmatch", "supervised") for seed in range(2)]
    records = [make_record(cell, make_predictions(2.0, cell.seed), make_history()) for cell in cells]
    return make_board(frame_of(records), **options)


@pytest.mark.parametrize("text", [r"\input{x}", "50 % & $5_2^3", "{#}~<|>`", "[2cm] x", "* y", "a---b", "ü ± –"])
def test_any_text_is_set_as_it_is(text):
    assert typeset(latex(text)) == text


def test_a_row_that_begins_with_a_bracket_is_no_argument_of_the_row_before():
    assert latex("[2cm]").startswith("{[}") and latex("*").startswith("{*}")


def test_latex_has_the_texts_of_the_columns():
    made = board()
    (table,) = made.tables
    source = FORMATS[".tex"](made).decode()
    (rows,) = environments(source)
    columns = main_columns(table)
    assert rows[0] == [column.title for column in columns]
    assert rows[1:] == [[column.text(row, table) for column in columns] for row in table.rows]
    for command in (r"\toprule", r"\midrule", r"\bottomrule", r"\caption{synthfaces, 7 classes", r"\label{tab:"):
        assert command in source
    assert source.count(r"\begin{table}") == source.count(r"\end{table}") == 1


def test_text_of_strangers_adds_nothing_to_latex():
    made = nasty_board()
    source = FORMATS[".tex"](made).decode()
    own = re.sub(r"(?m)^%.*$", "", source)
    commands = set(re.findall(r"\\[a-zA-Z]+", own))
    allowed = {"begin", "end", "caption", "label", "toprule", "midrule", "bottomrule"}
    assert commands <= {f"\\{name}" for name in allowed} | {command.split("{")[0] for command in COMMANDS}
    assert [len({len(row) for row in rows}) for rows in environments(source)] == [1] * len(made.tables)
    assert all(typeset(line[1:]) for line in source.splitlines()[1:] if line.startswith("%"))


def test_parquet_has_the_values_of_csv_with_their_types():
    made = board()
    typed = pd.read_parquet(io.BytesIO(FORMATS[".parquet"](made)))
    flat = pd.read_csv(io.BytesIO(FORMATS[".csv"](made)), dtype={"classes": "string"})
    assert list(typed) == list(flat)
    assert typed["standard"].tolist() == [True, True]
    assert {str(typed[name].dtype) for name in ("accuracy_mean", "gain_low")} == {"Float64"}
    assert {str(typed[name].dtype) for name in ("n_seeds", "labels", "gain_pairs")} == {"Int64"}
    for name in ("accuracy_mean", "ece_sd", "n_seeds", "minutes_median"):
        assert typed[name].tolist() == flat[name].tolist()


def test_a_narrow_terminal_has_an_order_for_every_column_that_it_may_drop():
    text = [column for column in COLUMNS if "text" in column.outputs]
    ranks = [column.dropped for column in text if column.dropped is not None]
    assert len(set(ranks)) == len(ranks)
    assert {column.title for column in text if column.dropped is None} == {
        "#", "Method", "Accuracy", "Gain", "Tied with", "Published",
    }  # fmt: skip


def test_the_name_of_the_file_says_the_format(tmp_path):
    cells = frame_of([make_record(make_cell(), make_predictions(), make_history())])
    for suffix in FORMATS:
        export(cells, tmp_path, False, tmp_path / f"table{suffix}")
        assert (tmp_path / f"table{suffix}").stat().st_size
    with pytest.raises(UsageError, match=r"table\.xlsx.*\.tex"):
        export(cells, tmp_path, False, tmp_path / "table.xlsx")


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_board_of_nothing_has_every_format(suffix):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert FORMATS[suffix](make_board(frame_of([])))
