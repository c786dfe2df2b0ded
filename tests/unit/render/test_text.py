"""Tables as text: whole lines in a pipe; on a narrow terminal long texts are folded and numbers stay."""

import io
import sys

import pytest
from rich.text import Text

from ferbench.render.text import print_list, print_table

PATH = "runs/ratio-v1/synthfaces/ratio-0.05/supervised@strong/small-resnet_16/seed0/record.json"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [60, 80, 200])
def test_numbers_stay_whole_at_any_width(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("COLUMNS", str(width))
    print_table(("record", "accuracy", "macro-F1"), [(PATH, "68.6 %", "51.8 %")])
    lines = [Text.from_ansi(line).plain for line in out.getvalue().splitlines()]
    assert max(map(len, lines)) <= width
    assert any("68.6 %" in line and "51.8 %" in line for line in lines)
    assert any("accuracy" in line and "macro-F1" in line for line in lines)


def test_in_a_pipe_a_row_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("record", "accuracy"), [(PATH, "68.60 %"), ("short", "")])
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["RECORD", "ACCURACY"]
    assert first.split("  ") == [PATH, "68.60 %"]
    assert second.strip() == "short"


@pytest.mark.parametrize("width", [80, 200])
def test_a_list_has_some_lines_for_each_where_rows_do_not_fit(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("COLUMNS", str(width))
    cells = ["What it does, in a sentence of some fifty letters", "Somebody et al., NeurIPS 2021", "ferbench-one 1.0"]
    print_list(("name", "summary", "paper", "from"), [("one", *cells), ("two", "Another", "", "ferbench 1.0")], 1)
    lines = [" ".join(Text.from_ansi(line).plain.split()) for line in out.getvalue().splitlines()]
    header, _, *lines = filter(None, lines)
    if width == 80:
        assert header == "name summary, paper, from"
        assert lines == [f"one {cells[0]}", *cells[1:], "two Another", "ferbench 1.0"]
    else:
        assert header == "name summary paper from"
        assert len(lines) == 2 and all(cell in lines[0] for cell in cells)
