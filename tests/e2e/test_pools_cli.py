"""`ferbench run --unlabeled` with archives: streamed, recorded, verified, reported; damage named or left out."""

import json
from pathlib import Path

import pytest

from ferbench.records.store import RunStore
from tests.support.archives import describe, face, png, write_tar
from tests.support.command import Outcome, call

SMALL = (
    "--method=fixmatch", "--ratio=0.1", "--protocol=external-v1", "--backbone=small-resnet/4", "--device=cpu",
    "--set=steps=20", "--set=image_size=16", "--set=labeled_batch=6", "--set=unlabeled_batch=8",
)  # fmt: skip


@pytest.mark.process
@pytest.mark.parametrize("beside", ["", "rest+"])
def test_a_streamed_pool_is_part_of_the_record(patterns: Path, tmp_path: Path, beside: str) -> None:
    folder = describe(tmp_path / "crowd", "webdataset")
    write_tar(folder / "0.tar", [png(face(i)) for i in range(30)])
    runs = tmp_path / "runs"

    def run() -> Outcome:
        return call("run", "--dataset", str(patterns), "--unlabeled", f"{beside}{folder}", "--runs", str(runs), *SMALL)

    first = run()
    assert first.code == 0, first.out + first.err
    ((path, record),) = RunStore(runs).iterate()
    assert path.relative_to(runs).parts[:2] == ("external-v1", f"patterns@3+{beside}crowd")
    assert record.result is not None  # type: ignore[union-attr]
    assert record.result.n_unlabeled == 30 + (108 if beside else 0)  # type: ignore[union-attr]
    assert record.result.n_near_duplicates == 0  # type: ignore[union-attr]
    assert record.measured.data_wait_seconds > 0  # type: ignore[union-attr]
    assert "1 cached, 0 to run" in run().out
    assert call("verify", str(runs)).code == 0
    assert call("report", str(path)).code == 0


@pytest.mark.process
def test_an_archive_cut_short_stops_or_goes_on_as_asked(patterns: Path, tmp_path: Path) -> None:
    folder = describe(tmp_path / "crowd", "webdataset", name="torn")
    write_tar(folder / "0.tar", [png(face(i)) for i in range(12)])
    (folder / "0.tar").write_bytes((folder / "0.tar").read_bytes()[:12_000])
    arguments = ("--dataset", str(patterns), "--unlabeled", str(folder), "--runs", str(tmp_path / "runs"), *SMALL)
    stopped = call("run", *arguments)
    assert stopped.code == 4
    assert "0.tar, record after 000004.jpg: the file is truncated" in stopped.err
    assert "Traceback" not in stopped.err
    describe(folder, "webdataset", name="torn", on_bad_record="skip")
    gone_on = call("run", *arguments)
    assert gone_on.code == 0, gone_on.out + gone_on.err
    assert "1 damaged record(s) are left out" in gone_on.out + gone_on.err


@pytest.mark.storm
def test_processes_share_the_batches_of_a_stream(patterns: Path, tmp_path: Path) -> None:
    folder = describe(tmp_path / "crowd", "webdataset")
    write_tar(folder / "0.tar", [png(face(i)) for i in range(30)])
    vit = [option.replace("small-resnet/4", "small-vit") for option in SMALL]
    losses = []
    for count in ("1", "2"):
        runs = tmp_path / count
        arguments = ("--dataset", str(patterns), "--unlabeled", str(folder), "--runs", str(runs), "--processes", count)
        done = call("run", *arguments, *vit)
        assert done.code == 0, done.out + done.err
        ((path, record),) = RunStore(runs).iterate()
        assert record.measured.processes == int(count)  # type: ignore[union-attr]
        losses.append([row["loss"] for row in json.loads((path.parent / "history.json").read_text())])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
