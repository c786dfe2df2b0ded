"""What a misspelt name is answered with."""

import pytest

from ferbench.errors import decimal_point, suggestion

METHODS = ("ada-cm", "fixmatch", "freematch", "mixmatch", "supervised@strong", "supervised@weak")
FIELDS = ("labeled_batch", "learning_rate", "steps", "weak.padding", "weight_decay")


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("fixmtach", METHODS, "fixmatch"),
        ("FixMatch", METHODS, "fixmatch"),
        ("adacm", METHODS, "ada-cm"),
        ("supervised", METHODS, "supervised@weak"),
        ("raf", ("raf-db", "sfew"), "raf-db"),
        ("lr", FIELDS, "learning_rate"),
        ("wd", FIELDS, "weight_decay"),
        ("stepps", FIELDS, "steps"),
        ("resnet18", ("small-resnet", "small-vit", "timm/resnet18"), "timm/resnet18"),
        ("ratio", ("count-v1", "ratio-v1", "ratio-v2"), "ratio-v1"),
    ],
)
def test_the_name_that_must_be_meant_is_suggested(name: str, known: tuple[str, ...], meant: str) -> None:
    assert suggestion(name, known) == f"; did you mean '{meant}'?"


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("epochs", ("detach", "processes", "precision")),
        ("resnet18", ("small-resnet", "small-vit", "timm")),
        ("my_faces", ("synthfaces", "raf-db")),
        ("angst", ("angry", "anger", "sad")),
        ("x", METHODS),
        ("", METHODS),
    ],
)
def test_a_name_that_only_looks_alike_is_not(name: str, known: tuple[str, ...]) -> None:
    assert suggestion(name, known) == ""


@pytest.mark.parametrize(("text", "number"), [("0,05", "0.05"), ("-1,5", "-1.5")])
def test_a_decimal_comma_is_told(text: str, number: str) -> None:
    assert decimal_point(text) == f"; write {number}, with a point"


@pytest.mark.parametrize("text", ["0.05", "1,2,3", "a,b", "", "0,"])
def test_other_texts_have_none(text: str) -> None:
    assert decimal_point(text) == ""
