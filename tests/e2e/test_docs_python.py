"""The Python of docs/models.md, results.md and plugins.md, and of READMEs of plugins, run as it stands there.

The plugins are ferbench-leaf, ferbench-fr-pretrain-mixup and ferbench-synthfaces.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from pydantic import Field
from torch import Tensor, nn

from ferbench import hookspecs
from ferbench.conformance.toy_task import RECIPE, toy_training
from ferbench.contract import backbone, batch, head, method, optimizer, protocol, stage
from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo
from tests.support.command import succeed
from tests.support.docs_blocks import blocks
from tests.support.stepping import Stepper
from tests.support.tiny_run import runs_of, tiny_run

TABLE = (backbone, batch, head, hookspecs, method, optimizer, protocol, stage)
"""The modules of the page's table, which says where names come from."""
NAMES = {name: value for module in TABLE for name, value in vars(module).items() if not name.startswith("_")}
NAMES |= {"F": F, "Field": Field, "Sequence": Sequence, "Tensor": Tensor, "nn": nn, "torch": torch}


def python_of(page: str, beginning: str = "") -> str:
    (found,) = (block.text for block in blocks(page) if block.language == "python" and block.text.startswith(beginning))
    return found


def defined_by(page: str, beginning: str, **names: Any) -> dict[str, Any]:
    """The names after a block has run."""
    found = {**NAMES, **names}
    exec(compile(python_of(page, beginning), page, "exec"), found)
    return found


@pytest.fixture(scope="module")
def record(patterns: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(patterns, tmp_path_factory.mktemp("docs") / "runs")


@pytest.mark.slow
def test_a_model_is_used_and_exported(
    record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    place = Path("runs/ratio-v1/my-faces/ratio-0.1/fixmatch/small-resnet_16/seed0")
    shutil.copytree(record.parent, place)
    pixels = np.random.default_rng(1).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    for name in ("photo.jpg", "face.png"):
        Image.fromarray(pixels).save(name)
    said = defined_by("docs/models.md", "import ferbench")
    assert float(said["probabilities"].sum()) == pytest.approx(1)
    succeed("export", str(record), "--to", "onnx", "--out", "faces.onnx")
    exported = defined_by("docs/models.md", "import json")["probabilities"][0]
    own = said["model"](said["model"].transform("face.png")[None]).softmax(-1)[0].detach().numpy()
    np.testing.assert_allclose(exported, own, atol=1e-4)
    assert capsys.readouterr().out.count("{") == 2


@pytest.mark.slow
def test_records_are_a_frame(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs_of(record).parent)
    cells = defined_by("docs/results.md", "import ferbench")["cells"]
    assert len(cells) == 1 and not cells["standard"].any()


def test_hooks_register_what_they_say() -> None:
    called: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def register(*arguments: Any, **options: Any) -> None:
        called.append((arguments, options))

    defined_by("docs/plugins.md", "from ferbench.hookspecs")["ferbench_register_methods"](register)
    defined_by("docs/plugins.md", "@hookimpl")["ferbench_register_tunings"](register)
    assert [arguments[0] for arguments, _ in called] == ["soft-labels", "ratio-v1"]
    assert called[1][1]["method"] == "soft-labels"
    options = defined_by("docs/plugins.md", "class SoftLabels")["SoftLabels"].Config.option_fields()
    assert set(called[1][0][2]) <= set(options)


def test_the_method_with_optimizers_steps_and_networks_of_its_own_trains(tmp_path: Path) -> None:
    soft_labels = defined_by("docs/plugins.md", "class SoftLabels")["SoftLabels"]
    own = defined_by("docs/plugins.md", "def stages")

    class Tutored(soft_labels):  # type: ignore[misc]
        stages, step = own["stages"], own["step"]

        def setup(self, net: Network, info: MethodInfo) -> None:
            defined_by("docs/plugins.md", "self.add_network", self=self, info=info)
            self.add_network("tutor", self.build_network("tutor"))

        def tutor_loss(self, batch: Batch, student: Losses) -> Losses:
            logits = self.networks["tutor"](batch.labeled.images["weak"]).logits
            return Losses(F.cross_entropy(logits, batch.labels))

    tutored = Tutored(Tutored.Config())
    training = toy_training(tutored, tmp_path, recipe=RECIPE)
    before = {name: [p.clone() for p in net.parameters()] for name, net in tutored.networks.items()}
    main = [p.clone() for p in tutored.net.parameters()]
    stepper = Stepper(training)
    for number in range(2):
        stepper.step(number)
    moved = {name for name, net in tutored.networks.items() if _differ(before[name], list(net.parameters()))}
    assert _differ(main, list(tutored.net.parameters()))
    assert "tutor" in moved and "first" not in moved
    assert set(tutored.averages) == {"peer", "projection"}


def _differ(before: list[Tensor], after: list[Tensor]) -> bool:
    return any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_optimizer_settings_are_those_of_a_stage() -> None:
    soft_labels = defined_by("docs/plugins.md", "class SoftLabels")["SoftLabels"]
    settings = defined_by("docs/plugins.md", "from ferbench.contract.optimizer", self=soft_labels(soft_labels.Config()))
    assert settings["settings"].weight_decay == 5e-4
    assert settings["head"].learning_rate_factor == 10


def test_a_view_of_ones_own_gives_images() -> None:
    jitter = defined_by("docs/plugins.md", "def colour")["colour"](RECIPE, strength=0.8)
    images, boxes = torch.full((4, 8, 8, 3), 100, dtype=torch.uint8), torch.zeros(4, 4)
    seen, kept = jitter(images, boxes, torch.Generator().manual_seed(1))
    assert seen.dtype == torch.uint8 and seen.shape == images.shape and torch.equal(kept, boxes)
    assert len(seen[:, 0, 0, 0].unique()) > 1


@pytest.mark.parametrize("plugin", ["leaf", "fr-pretrain-mixup"])
def test_blocks_of_plugins_can_be_imported(plugin: str) -> None:
    found = defined_by(f"plugins/ferbench-{plugin}/README.md", "from ")
    assert all(callable(found[name]) for name in set(found) - set(NAMES) - {"__builtins__"})


@pytest.mark.slow
def test_the_shipped_faces_are_read_by_hugging_face() -> None:
    pytest.importorskip("datasets")
    found = defined_by("plugins/ferbench-synthfaces/README.md", "from datasets")
    assert found["faces"]["train"][0]["image"].size == (64, 64)
