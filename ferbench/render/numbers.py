"""Numbers and titles as people read them."""

NONE = "–"


def percent(value: float | None) -> str:
    """`81.2 %`."""
    return NONE if value is None else f"{100 * value:.1f} %"


def probability(value: float) -> str:
    """`81.2 %`; `> 99.9 %` or `< 0.1 %` if rounding would give 100 % or 0 %."""
    if 0.9995 <= value < 1:
        return "> 99.9 %"
    return "< 0.1 %" if 0 < value < 0.0005 else percent(value)


def counted(number: int, noun: str) -> str:
    """`1 record`, `2 records`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def sentence_case(text: str) -> str:
    """`Balanced accuracy` for `balanced accuracy`; `ECE` stays `ECE`."""
    return text[:1].upper() + text[1:]


def grouped(value: float) -> str:
    """`1 234 567`."""
    return f"{value:,.0f}".replace(",", "\u202f")


def duration(seconds: float) -> str:
    """`42 s`, `17 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
