"""The loader with entry points that exist in memory only."""

import logging
import os
import re
import signal
import sys
import time
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ferbench import hookspecs
from ferbench.discovery import registration
from ferbench.discovery.loader import builtin_registry, load_registry
from ferbench.discovery.registry import KINDS, Entry, PluginProblem, Registry, package_hash, source_hash
from ferbench.errors import PluginError, UsageError
from ferbench.hookspecs import hookimpl
from tests.support.refusals import refused


@dataclass
class Distribution:
    name: str
    version: str


@dataclass
class EntryPoint:
    """As much of `importlib.metadata.EntryPoint` as the loader uses."""

    name: str
    dist: Distribution
    load: Callable[[], Any]


def plugin(distribution: str, *, point: str = "", version: str = "1.0", **attributes: Any) -> EntryPoint:
    """A distribution with one plugin module that has these attributes."""
    module = types.ModuleType(distribution.replace("-", "_"))
    vars(module).update(attributes)
    return EntryPoint(
        point or distribution.removeprefix("ferbench-"), Distribution(distribution, version), lambda: module
    )


def registering(*names: str, target: str = "json:JSONDecoder", **options: Any) -> dict[str, Any]:
    """A hook that registers methods of these names."""

    @hookimpl
    def ferbench_register_methods(register: hookspecs.Register) -> None:
        for name in names:
            register(name, target, **{"summary": "A method", **options})

    return {"ferbench_register_methods": ferbench_register_methods}


def load(*points: EntryPoint, environ: Mapping[str, str] | None = None) -> Registry:
    return load_registry(environ or {}, points)  # type: ignore[arg-type]


def only_problem(registry: Registry) -> PluginProblem:
    (problem,) = registry.problems
    return problem


def raising(error: BaseException) -> Callable[[], Any]:
    def load() -> Any:
        raise error

    return load


# -- what goes well


def test_builtins_need_no_entry_point() -> None:
    registry = load()
    assert registry.problems == ()
    assert {"supervised", "fixmatch"} <= set(registry.names("methods"))
    assert [plugin.name for plugin in registry.plugins] == ["builtin"]
    assert set(registry.entries) == set(KINDS)


def test_plugin_registers_beside_the_builtins() -> None:
    registry = load(plugin("ferbench-good", **registering("good", paper="A paper,\n  2026")))
    assert registry.problems == ()
    expected = Entry("methods", "good", "json:JSONDecoder", "A method", "A paper, 2026", 1, "ferbench-good", "1.0")
    assert registry.get("methods", "good") == expected
    assert registry.get("methods", "good").load().__name__ == "JSONDecoder"


def test_a_method_has_a_title_for_each_variant() -> None:
    registry = load(plugin("ferbench-good", **registering("good", titles={"old": "Good,\n as it was", "new": "Good"})))
    assert registry.titles == {
        ("ferbench-good", "good", "old"): "Good, as it was",
        ("ferbench-good", "good", "new"): "Good",
    }


@pytest.mark.parametrize("named", [{"title": 81 * "x"}, {"titles": {"old": 81 * "x"}}])
def test_a_title_that_no_record_has_room_for_is_refused(named: dict[str, Any]) -> None:
    registry = load(plugin("ferbench-good", **registering("good", **named)))
    assert "81 characters" in only_problem(registry).message
    assert "good" not in registry.names("methods")


def test_order_of_entry_points_changes_nothing() -> None:
    points = [plugin(f"ferbench-{letter}", **registering(f"m-{letter}")) for letter in "cab"]
    forward, backward = load(*points), load(*reversed(points))
    assert [p.name for p in forward.plugins] == [p.name for p in backward.plugins] == ["builtin", "a", "b", "c"]


def test_hook_without_its_argument_and_hooks_by_specname_are_allowed() -> None:
    @hookimpl
    def ferbench_register_heads() -> None:
        pass

    @hookimpl(specname="ferbench_run_started")
    def begin(cell: Any) -> None:
        pass

    registry = load(plugin("ferbench-good", ferbench_register_heads=ferbench_register_heads, begin=begin))
    assert registry.problems == ()
    assert registry.plugins[1].hooks == ("ferbench_run_started", "ferbench_register_heads")


def test_modules_and_values_with_the_prefix_are_no_hooks() -> None:
    registry = load(plugin("ferbench-good", ferbench_good=types, ferbench_version="1", **registering("good")))
    assert registry.problems == ()


# -- what a plugin can do wrong: the rest goes on, and the culprit and the remedy are named


class Mute(Exception):
    def __str__(self) -> str:
        raise self


class Own(BaseException):
    pass


@pytest.mark.parametrize(
    "error",
    [
        *(ImportError("no module named 'nowhere'"), SyntaxError("bad"), SystemExit(9), GeneratorExit("bad")),
        *(Own("bad"), BaseExceptionGroup("bad", [Own()]), KeyboardInterrupt("nobody has pressed it")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_import_failure_is_reported_and_isolated(error: BaseException) -> None:
    broken = EntryPoint("broken", Distribution("ferbench-broken", "0.3"), raising(error))
    registry = load(broken, plugin("ferbench-good", **registering("good")))
    problem = only_problem(registry)
    assert (problem.distribution, problem.version, problem.plugin) == ("ferbench-broken", "0.3", "broken")
    assert str(error) in problem.message
    assert "ferbench-broken" in problem.remedy
    assert "good" in registry.names("methods")


def test_an_error_whose_text_cannot_be_made_or_shown() -> None:
    mute = EntryPoint("mute", Distribution("ferbench-mute", "1"), raising(Mute()))
    assert "Mute: its message cannot be read" in only_problem(load(mute)).message
    half = EntryPoint("half", Distribution("ferbench-half", "1"), raising(ValueError("half \ud83d of it")))
    assert r"ValueError: half \ud83d of it" in only_problem(load(half)).message


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_by_the_person_is_not_swallowed(number: signal.Signals) -> None:
    """Also in a hook, and where a plugin catches and raises it again."""

    def interrupted(*arguments: object) -> Any:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            raise
        return None

    @hookimpl
    def ferbench_register_heads(register: hookspecs.Register) -> None:
        interrupted()

    before = signal.signal(number, signal.default_int_handler)  # as `ferbench run` does
    try:
        with pytest.raises(KeyboardInterrupt):
            load(EntryPoint("slow", Distribution("ferbench-slow", "1"), interrupted))
        with pytest.raises(KeyboardInterrupt):
            load(plugin("ferbench-slow", ferbench_register_heads=ferbench_register_heads))
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)


def test_what_an_import_prints_is_not_output(capfd: pytest.CaptureFixture[str]) -> None:
    """Nor what a subprocess of it prints; afterwards standard output is what it was, whatever the plugin did to it."""

    def noisy() -> Any:
        print("by print", flush=True)
        os.system("echo by a subprocess")
        os.close(1)
        sys.stdout = None  # type: ignore[assignment]
        raise ImportError("and then failed")

    load(EntryPoint("noisy", Distribution("ferbench-noisy", "1"), noisy))
    print("the list", flush=True)
    os.write(1, b"the end\n")
    out, err = capfd.readouterr()
    assert out == "the list\nthe end\n"
    assert err == "by print\nby a subprocess\n"


def test_the_time_of_an_import_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_late() -> Any:
        time.sleep(0.1)
        raise ImportError("gone")

    def load_late() -> Any:
        time.sleep(0.1)
        return plugin("ferbench-slow", **registering("slow")).load()

    monkeypatch.setattr(registration, "SLOW_SECONDS", 0.1)
    registry = load(EntryPoint("slow", Distribution("ferbench-slow", "1"), fail_late))
    assert re.fullmatch(r"cannot be imported \(ImportError: gone\), after \d\.\d s", only_problem(registry).message)
    registry = load(EntryPoint("slow", Distribution("ferbench-slow", "1"), load_late))
    assert 0.1 <= registry.plugins[1].seconds < 5


def write_distribution(site: Path, version: str, folder: str = "") -> None:
    info = site / (folder or f"ferbench_shaded-{version}.dist-info")
    info.mkdir(parents=True)
    (info / ("PKG-INFO" if folder else "METADATA")).write_text(f"Name: ferbench-shaded\nVersion: {version}\n")
    (info / "entry_points.txt").write_text("[ferbench]\nshaded = shaded_plugin\n")
    hook = "from ferbench.hookspecs import hookimpl\n@hookimpl\ndef ferbench_register_heads(register):\n    pass\n"
    (site / "shaded_plugin.py").write_text(hook)


def problems_of_shaded(monkeypatch: pytest.MonkeyPatch, *sites: Path) -> list[PluginProblem]:
    for site in reversed(sites):
        monkeypatch.syspath_prepend(site)
    return list(load_registry({"FERBENCH_PLUGINS": "ferbench-shaded"}).problems)


@pytest.mark.parametrize("versions", [("99.0", "1.0"), ("1.0", "1.0")])
def test_a_distribution_that_hides_another_is_named_with_both_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, versions: tuple[str, str]
) -> None:
    front, behind = tmp_path / "front", tmp_path / "behind"
    for site, version in zip((front, behind), versions, strict=True):
        write_distribution(site, version)
    (problem,) = problems_of_shaded(monkeypatch, front, behind)
    assert (problem.distribution, problem.version) == ("ferbench-shaded", versions[0])
    assert f"version {versions[1]} in {behind}" in problem.message and str(front) in problem.message
    assert "pip uninstall ferbench-shaded" in problem.remedy


def test_one_distribution_that_is_found_twice_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is on the path twice, and what setuptools leaves beside a source that is installed for editing."""
    site, source = tmp_path / "site", tmp_path / "source"
    write_distribution(site, "1.0")
    write_distribution(source, "1.0", "ferbench_shaded.egg-info")
    (tmp_path / "lib64").symlink_to(site)
    assert problems_of_shaded(monkeypatch, source, site, tmp_path / "lib64") == []


def test_misspelt_hook_is_answered_with_the_nearest() -> None:
    @hookimpl
    def ferbench_register_method(register: hookspecs.Register) -> None:
        register("mine", "json:JSONDecoder", summary="Mine")

    registry = load(plugin("ferbench-typo", ferbench_register_method=ferbench_register_method, **registering("other")))
    assert "did you mean 'ferbench_register_methods'?" in only_problem(registry).message
    assert len(registry.plugins) == 1, "a plugin with a misspelt hook is not used, not even in part"
    assert "other" not in registry.names("methods")


def test_hook_without_the_marker_is_reported() -> None:
    def ferbench_register_methods(register: hookspecs.Register) -> None:
        pass

    problem = only_problem(load(plugin("ferbench-bare", ferbench_register_methods=ferbench_register_methods)))
    assert "not marked" in problem.message
    assert "@hookimpl" in problem.remedy


def test_plugin_without_hooks_is_reported() -> None:
    assert "implements no hook" in only_problem(load(plugin("ferbench-empty"))).message


def test_wrong_signature_is_reported_with_the_right_one() -> None:
    @hookimpl
    def ferbench_register_heads(register: hookspecs.Register, catalogue: Any) -> None:
        pass

    registry = load(plugin("ferbench-args", ferbench_register_heads=ferbench_register_heads, **registering("other")))
    problem = only_problem(registry)
    assert "catalogue" in problem.message
    assert "ferbench_register_heads(register)" in problem.remedy
    assert "other" not in registry.names("methods")


def test_failing_hook_takes_back_what_the_plugin_had_registered() -> None:
    @hookimpl
    def ferbench_register_methods(register: hookspecs.Register) -> None:
        register("half", "json:JSONDecoder", summary="Registered before the failure")
        register("other", "json:JSONDecoder", sumary="Misspelt")

    registry = load(plugin("ferbench-half", ferbench_register_methods=ferbench_register_methods))
    assert "sumary" in only_problem(registry).message
    assert "half" not in registry.names("methods")


def test_clash_of_two_plugins_gives_the_name_to_neither() -> None:
    one, two = plugin("ferbench-one", **registering("same", "own")), plugin("ferbench-two", **registering("same"))
    registry = load(one, two)
    assert "same" not in registry.names("methods")
    assert "own" in registry.names("methods")
    assert [p.distribution for p in registry.problems] == ["ferbench-one", "ferbench-two"]
    assert "ferbench-two 1.0" in registry.problems[0].message
    assert "FERBENCH_PLUGINS" in registry.problems[0].remedy
    with pytest.raises(PluginError, match=r"ferbench-one.*ferbench-two"):
        registry.get("methods", "same")
    assert (
        load(one, two, environ={"FERBENCH_PLUGINS": "ferbench-two"}).get("methods", "same").distribution
        == "ferbench-two"
    )


@pytest.mark.parametrize("kind", ["methods", "commands"])
def test_builtin_keeps_its_name(kind: str) -> None:
    name = {"methods": "fixmatch", "commands": "run"}[kind]
    hook = f"ferbench_register_{kind}"

    def implementation(register: hookspecs.Register) -> None:
        register(name, "json:JSONDecoder", summary="An impostor")

    registry = load(plugin("ferbench-impostor", **{hook: hookimpl(specname=hook)(implementation)}))
    assert registry.get(kind, name).distribution == "ferbench"
    assert "the built-in one is used" in only_problem(registry).message


def test_same_entry_point_name_in_two_distributions_is_reported() -> None:
    one = plugin("ferbench-one", point="same", **registering("one"))
    two = plugin("ferbench-two", point="same", **registering("two"))
    registry = load(one, two)
    assert all(word in only_problem(registry).message for word in ("ferbench-one 1.0", "'same'"))
    assert {"one", "two"} <= set(registry.names("methods"))


@pytest.mark.parametrize(
    ("api", "remedy"),
    [(0, "upgrade ferbench-old"), (2, "upgrade ferbench,"), ("1", "write api=1")],
)
def test_unknown_api_is_refused_with_what_to_upgrade(api: object, remedy: str) -> None:
    registry = load(plugin("ferbench-old", **registering("old", api=api)))
    assert remedy in only_problem(registry).remedy
    with pytest.raises(PluginError, match="version 1"):
        registry.get("methods", "old")


@pytest.mark.parametrize("name", ["Mine", "my_method", "-x", "", "a b", "a--b", 3])
def test_malformed_name_is_refused(name: Any) -> None:
    registry = load(plugin("ferbench-odd", **registering(name, "fine")))
    assert "malformed" in only_problem(registry).message
    assert "fine" in registry.names("methods")


@pytest.mark.parametrize("target", ["json.JSONDecoder", "json:", ":JSONDecoder", "json:a b", dict])
def test_malformed_target_is_refused(target: Any) -> None:
    registry = load(plugin("ferbench-odd", **registering("odd", target=target)))
    assert "malformed" in only_problem(registry).message
    assert "package.module:Class" in only_problem(registry).remedy


def test_plugin_that_resists_inspection_is_reported() -> None:
    class Odd:
        def __dir__(self) -> list[str]:
            raise RuntimeError("not for you")

    problem = only_problem(load(EntryPoint("odd", Distribution("ferbench-odd", "1"), Odd)))
    assert "RuntimeError: not for you" in problem.message


def test_damaged_metadata_is_reported_under_the_name_of_the_entry_point() -> None:
    broken = EntryPoint("broken", Distribution(None, None), raising(ImportError("gone")))  # type: ignore[arg-type]
    assert only_problem(load(broken)).distribution == "broken"


# -- choosing plugins, strict mode


def test_empty_selection_looks_at_no_plugin() -> None:
    registry = load(
        EntryPoint("b", Distribution("b", "1"), raising(ImportError("x"))), environ={"FERBENCH_PLUGINS": " "}
    )
    assert registry.problems == ()
    assert registry.names("methods") == builtin_registry().names("methods")


@pytest.mark.parametrize("chosen", ["ferbench-my-two", "Ferbench_My.Two", "my-two", " my-two , ", "point-two"])
def test_selection_by_distribution_or_entry_point(chosen: str) -> None:
    points = [
        plugin("ferbench-one", **registering("one")),
        plugin("ferbench-my-two", point="point-two", **registering("two")),
    ]
    registry = load(*points, environ={"FERBENCH_PLUGINS": chosen})
    assert registry.problems == ()
    assert "two" in registry.names("methods")
    assert "one" not in registry.names("methods")


def test_selection_of_an_unknown_plugin_is_reported() -> None:
    registry = load(plugin("ferbench-one", **registering("one")), environ={"FERBENCH_PLUGINS": "ferbench-onne"})
    assert "did you mean 'ferbench-one'?" in only_problem(registry).message


def test_strict_mode_raises_every_problem() -> None:
    points = [plugin("ferbench-a"), plugin("ferbench-b")]
    with pytest.raises(PluginError, match=r"ferbench-a.*ferbench-b"):
        load(*points, environ={"FERBENCH_STRICT_PLUGINS": "1"})
    assert len(load(*points, environ={"FERBENCH_STRICT_PLUGINS": "0"}).problems) == 2


# -- using the registry


def test_unknown_name_is_answered_with_the_nearest_and_the_command_that_lists() -> None:
    with refused(UsageError, "'fixmach'", "'fixmatch'", "`ferbench list methods`"):
        builtin_registry().get("methods", "fixmach")


def test_unknown_name_points_to_the_plugin_that_should_have_it() -> None:
    registry = load(EntryPoint("x", Distribution("ferbench-leaf", "2"), raising(ImportError("no numba"))))
    with pytest.raises(PluginError, match="no numba"):
        registry.get("methods", "leaf")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("nowhere_at_all.module:Class", "No module named 'nowhere_at_all'"),
        ("json:Absent", "has no attribute 'Absent'"),
    ],
)
def test_target_that_cannot_be_imported(target: str, words: str) -> None:
    entry = load(plugin("ferbench-late", **registering("late", target=target))).get("methods", "late")
    with pytest.raises(PluginError, match=words) as caught:
        entry.load()
    assert "ferbench-late 1.0" in str(caught.value)
    assert target in str(caught.value)


def test_missing_requirement_of_a_target_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needy_plugin.py").write_text("import nowhere_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    entry = Entry("methods", "needy", "needy_plugin:Needy", "", "", 1, "ferbench-needy", "1")
    with refused(PluginError, "'nowhere_at_all'", "ferbench-needy"):
        entry.load()


def test_event_reaches_every_plugin_though_one_fails(caplog: pytest.LogCaptureFixture) -> None:
    heard = []

    @hookimpl
    def ferbench_run_started(cell: Any) -> None:
        heard.append(cell)

    def failing(cell: Any) -> None:
        raise SystemExit("full disk")

    registry = load(
        plugin("ferbench-a", ferbench_run_started=hookimpl(specname="ferbench_run_started")(failing)),
        plugin("ferbench-b", ferbench_run_started=ferbench_run_started),
    )
    with caplog.at_level(logging.WARNING):
        registry.notify("ferbench_run_started", cell={"seed": 0}, folder=Path(), config={})
    assert heard == [{"seed": 0}]
    assert "ferbench-a 1.0 failed in ferbench_run_started (SystemExit: full disk)" in caplog.text


def test_source_hash_follows_python_files_and_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "hashed_plugin"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "method.py").write_text("A = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    entry = Entry("methods", "hashed", "hashed_plugin.method:Hashed", "", "", 1, "ferbench-hashed", "1")

    def fresh() -> str:
        package_hash.cache_clear()
        return source_hash(entry)

    first = fresh()
    (package / "notes.txt").write_text("no code")
    assert fresh() == first
    (package / "method.py").write_text("A = 2\n")
    second = fresh()
    assert second != first
    (package / "method.py").rename(package / "renamed.py")
    assert fresh() not in (first, second)


def test_source_hash_of_a_single_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "single_plugin.py").write_text("A = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert len(source_hash(Entry("methods", "single", "single_plugin:A", "", "", 1, "ferbench-single", "1"))) == 64


# -- what the core registers


@pytest.mark.parametrize("kind", KINDS)
def test_every_builtin_entry_has_a_one_line_summary(kind: str) -> None:
    for entry in builtin_registry().entries[kind].values():
        assert entry.summary
        assert len(entry.summary) <= 90
