"""A synthetic task with three colours, for checks that must train but need no dataset."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ferbench.conformance.static_check import ToyBackbone, toy_backbone
from ferbench.contract.backbone import Network
from ferbench.contract.batch import MethodInfo, View
from ferbench.contract.method import Builders, Method, Processes
from ferbench.contract.protocol import Recipe, WeakView
from ferbench.data.load.image_set import ImageSet, LabeledImages
from ferbench.data.load.views import ViewMaker
from ferbench.data.seeds import derive
from ferbench.records.cell import Compile
from ferbench.records.in_progress import IN_PROGRESS
from ferbench.training.loop import Training
from ferbench.training.run import Run
from ferbench.training.stage_cache import StageCache
from ferbench.training.task import Task
from ferbench.training.teacher import Teacher

CPU = torch.device("cpu")
CLASS_NAMES = ("neutral", "happiness", "sadness")
RECIPE = Recipe(
    backbone="toy",
    image_size=16,
    steps=40,
    labeled_batch=8,
    unlabeled_batch=16,
    learning_rate=3e-2,
    ema_decay=0.9,
    weak=WeakView(padding=1),
)
INFO = MethodInfo(CLASS_NAMES, (8, 8, 8), 24, 48, RECIPE.steps, 2, ToyBackbone.feature_size)


def toy_images(per_class: int, seed: int, device: torch.device = CPU) -> LabeledImages:
    """Return dark, noisy images of 16 px with a bright square in the channel of their class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(len(CLASS_NAMES)).repeat_interleave(per_class)
    images = torch.randint(0, 60, (len(labels), 16, 16, 3), generator=generator, dtype=torch.uint8)
    for row, label in enumerate(labels.tolist()):
        images[row, 4:12, 4:12, label] = 230
    return LabeledImages(
        images=images.to(device),
        labels=labels.to(device),
        label_probs=torch.nn.functional.one_hot(labels, len(CLASS_NAMES)).float().to(device),
        boxes=torch.tensor([[1.0, 1.0, 15.0, 15.0]]).repeat(len(labels), 1).to(device),
    )


def unlabeled_toys(per_class: int, seed: int, device: torch.device = CPU) -> ImageSet:
    """Return images like those of `toy_images`, without labels."""
    images = toy_images(per_class, seed, device)
    return ImageSet(images.images, images.boxes)


def toy_task(
    *,
    unlabeled: bool,
    validation: bool = False,
    device: torch.device = CPU,
    kinds: Mapping[str, Callable[..., View]] | None = None,
) -> Task:
    """Return a task with 24 labeled, 48 unlabeled and 9 held-out images; `kinds` are views besides the protocol's."""
    backbone = ToyBackbone()
    return Task(
        labeled=toy_images(8, 1, device),
        validation=toy_images(3, 9, device) if validation else None,
        unlabeled=unlabeled_toys(16, 2, device) if unlabeled else None,
        relabeled=(toy_images(8, 4, device), unlabeled_toys(16, 5, device)) if unlabeled else None,
        everything=(lambda: unlabeled_toys(24, 6, device)) if unlabeled else None,
        maker=ViewMaker(RECIPE, backbone.mean, backbone.std, device, kinds),
        class_names=CLASS_NAMES,
        device=device,
    )


def toy_network(method: Method) -> Network:
    """Return a net of a suitable toy backbone and the method's head, with fixed random weights."""
    torch.manual_seed(0)
    net = Network(toy_backbone(method), method.make_head(ToyBackbone.feature_size, len(CLASS_NAMES)))
    # As in a real run, so that a checkpoint that loses the memory format is noticed.
    return net.to(memory_format=torch.channels_last)


def toy_builders(method: Method, device: torch.device = CPU) -> Builders:
    """Return builders of further toy networks, with seeds from their names."""

    def network() -> Network:
        made = Network(toy_backbone(method), method.make_head(ToyBackbone.feature_size, len(CLASS_NAMES)))
        return made.to(device).to(memory_format=torch.channels_last)

    return Builders(network, lambda: toy_backbone(method).to(device), lambda name: derive(0, "network", name))


def toy_training(
    method: Method,
    folder: Path,
    *,
    device: torch.device = CPU,
    recipe: Recipe = RECIPE,
    task: Task | None = None,
    seed: int = 3,
    precision: str = "fp32",
    compile: Compile = "off",
    processes: Processes | None = None,
    **more: Any,
) -> Training:
    """Return a run of a method on the toy task or another, ready for `train`; `more` are fields of `Training`."""
    net, processes = toy_network(method), processes or Processes()
    method.prepare(toy_builders(method, device))
    method.setup(net, INFO)
    for module in (method, net):
        module.to(device)
    teacher = Teacher(net, recipe.ema_decay, ramp=recipe.ema_ramp)
    method.attach(net, teacher.net, torch.Generator(device).manual_seed(1), INFO, processes=processes)
    torch.manual_seed(2)
    task = task or toy_task(unlabeled=method.uses_unlabeled, device=device)
    run = Run(method, teacher, recipe, task, INFO, seed, precision, compile, processes)
    more = {"stage_cache": StageCache(folder / "stages", {}), **more}
    return Training(run, folder / "checkpoint.safetensors", folder / IN_PROGRESS, **more)
