"""Training steps in the structure of other people's loops, written here from what their code does, to be timed.

Views are made image by image through PIL on the host, from memory, so that the time to read files counts for nobody.
Each loop has the net, the images and the batches that it is given.
"""

import copy
import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torchvision import transforms

from ferbench.contract.backbone import Network
from ferbench.data.load.image_set import LabeledImages
from tests.unit.data.augment import pil_policy

Part = Callable[[str, Callable[[], object]], object]
"""What runs a named part of a step and may time it."""


def untimed(name: str, part: Callable[[], object]) -> object:
    return part()


class PaperLoop:
    """What the loops share: two pools in memory, PIL views, a net in training and its average."""

    def __init__(
        self, net: Network, labeled: LabeledImages, unlabeled: LabeledImages, batches: tuple[int, int], padding: int = 2
    ) -> None:
        self.net, self.average = net.train(), copy.deepcopy(net)
        self.labeled, self.unlabeled, self.batches = labeled, unlabeled, batches
        self.device = next(net.parameters()).device
        self.randomness = random.Random(0)
        self.weak = transforms.Compose([
            transforms.RandomApply([transforms.RandomCrop(labeled.images.shape[1], padding)], 0.5),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(net.backbone.mean, net.backbone.std),
        ])  # fmt: skip

    def step(self, number: int, part: Part = untimed) -> None:
        """The step of a number, part by part."""
        raise NotImplementedError

    def images(self, pool: LabeledImages, number: int, count: int, *, strong: bool = False) -> Tensor:
        """The views of a step's images (B, 3, S, S), on the host."""
        rows = [pool.images[(count * number + i) % len(pool)].numpy() for i in range(count)]
        pictures = [Image.fromarray(row) for row in rows]
        pictures = [pil_policy.strong(picture, self.randomness) for picture in pictures] if strong else pictures
        return torch.stack([self.weak(picture) for picture in pictures])

    def views(self, number: int, weak: int = 1) -> list[Tensor]:
        """Labels, labeled images, weak views of unlabeled ones and the strong one, on the device."""
        count, of_unlabeled = self.batches
        labels = torch.stack([self.labeled.labels[(count * number + i) % len(self.labeled)] for i in range(count)])
        made = [labels, self.images(self.labeled, number, count)]
        made += [self.images(self.unlabeled, number, of_unlabeled) for _ in range(weak)]
        made.append(self.images(self.unlabeled, number, of_unlabeled, strong=True))
        return [view.to(self.device) for view in made]


class AdaCmLoop(PaperLoop):
    """The authors' Ada-CM: four forwards, the mask in a Python loop, the contrast on the gathered subset, Adam.

    EMA and decay go tensor by tensor.
    """

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        self.optimizer = torch.optim.Adam(self.net.parameters(), 5e-4)
        self.margin = [0.8] * 7

    def step(self, number: int, part: Part = untimed) -> None:
        views = part("views", lambda: self.views(number, weak=2))
        loss = part("forward", lambda: self.loss(*views))  # type: ignore[misc]
        self.optimizer.zero_grad()
        part("backward", loss.backward)  # type: ignore[attr-defined]
        part("optimizer, EMA, records", self.update)

    def loss(self, labels: Tensor, labeled: Tensor, weak1: Tensor, weak2: Tensor, strong: Tensor) -> Tensor:
        first, second, supervised, confident = (self.net(view) for view in (weak1, weak2, labeled, strong))
        prediction = ((first.logits.softmax(1) + second.logits.softmax(1)) / 2).detach()
        confidence, pseudo_label = prediction.max(1)
        mask = torch.zeros(len(strong), device=self.device)
        for i in range(len(strong)):
            mask[i] = float(confidence[i] >= self.margin[pseudo_label[i]])
        pseudo = (F.cross_entropy(confident.logits, pseudo_label, reduction="none") * mask).mean()
        below = mask == 0
        contrast = gathered_contrast(first.features[below], second.features[below]) if below.any() else 0.0
        return 0.5 * F.cross_entropy(supervised.logits, labels) + pseudo + 0.1 * contrast

    def update(self) -> None:
        self.optimizer.step()
        with torch.no_grad():
            for value, averaged in zip(self.net.state_dict().values(), self.average.state_dict().values(), strict=True):
                if value.is_floating_point():
                    averaged.mul_(0.999)
                    averaged.add_(value * 0.001)
                    value.mul_(1 - 1e-5)


class FixMatchLoop(PaperLoop):
    """kekmodel/FixMatch-pytorch: views interleaved in one forward with gradient, SGD in two groups.

    Means are read at each step. The average goes tensor by tensor, buffers are copied.
    """

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        plain = [p for name, p in self.net.named_parameters() if "bias" not in name and "bn" not in name]
        other = [p for name, p in self.net.named_parameters() if "bias" in name or "bn" in name]
        groups = [{"params": plain, "weight_decay": 5e-4}, {"params": other, "weight_decay": 0.0}]
        self.optimizer = torch.optim.SGD(groups, 0.03, momentum=0.9, nesterov=True)
        self.schedule = LambdaLR(self.optimizer, lambda step: max(0.0, 1 - step / 1e6))
        self.sums = [0.0] * 4

    def step(self, number: int, part: Part = untimed) -> None:
        labels, labeled, weak, strong = part("views", lambda: self.views(number))  # type: ignore[misc]
        loss = part("forward and backward", lambda: self.trained(labels, labeled, weak, strong))
        part("optimizer, EMA, records", lambda: self.update(loss))  # type: ignore[arg-type]

    def trained(self, labels: Tensor, labeled: Tensor, weak: Tensor, strong: Tensor) -> list[Tensor]:
        sizes, together = [len(labeled), len(weak), len(strong)], torch.cat([labeled, weak, strong])
        # Interleaved, so that each of several GPUs has images of every view.
        parts = len(together) // len(labeled)
        order = torch.arange(len(together), device=self.device).reshape(-1, parts).t().reshape(-1)
        logits = self.net(together[order]).logits[order.argsort()]
        of_labeled, of_weak, of_strong = logits.split(sizes)
        supervised = F.cross_entropy(of_labeled, labels)
        confidence, pseudo_label = of_weak.detach().softmax(-1).max(-1)
        mask = confidence.ge(0.95).float()
        unsupervised = (F.cross_entropy(of_strong, pseudo_label, reduction="none") * mask).mean()
        loss = supervised + unsupervised
        loss.backward()
        return [loss, supervised, unsupervised, mask.mean()]

    def update(self, shown: list[Tensor]) -> None:
        self.sums = [total + value.item() for total, value in zip(self.sums, shown, strict=True)]
        self.optimizer.step()
        self.schedule.step()
        with torch.no_grad():
            state, averaged = self.net.state_dict(), self.average.state_dict()
            learned = {name for name, _ in self.net.named_parameters()}
            for name, value in state.items():
                blended = averaged[name] * 0.999 + 0.001 * value if name in learned else value
                averaged[name].copy_(blended)
        self.net.zero_grad()


class UsbFixMatchLoop(PaperLoop):
    """microsoft/Semi-supervised-learning's FixMatch: hooks around a step, one forward of all views with gradient.

    Means are read at each step. The average is a dictionary of new tensors; a second net is loaded with all of the
    first's state, and then with these.
    """

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        self.optimizer = torch.optim.SGD(self.net.parameters(), 0.03, momentum=0.9, nesterov=True, weight_decay=5e-4)
        self.schedule = LambdaLR(self.optimizer, lambda step: max(0.0, 1 - step / 1e6))
        self.shadow = {name: value.detach().clone() for name, value in self.net.named_parameters()}
        self.shown: dict[str, float] = {}
        self.hooks = {
            "mask": lambda prediction: prediction.max(-1).values.ge(0.95).to(prediction.dtype),
            "target": lambda prediction: prediction.argmax(-1),
        }

    def step(self, number: int, part: Part = untimed) -> None:
        labels, labeled, weak, strong = part("views", lambda: self.views(number))  # type: ignore[misc]
        part("forward and backward", lambda: self.trained(labels, labeled, weak, strong))
        part("optimizer, EMA, records", self.update)

    def trained(self, labels: Tensor, labeled: Tensor, weak: Tensor, strong: Tensor) -> None:
        output = self.net(torch.cat([labeled, weak, strong]))
        of_labeled, of_weak, of_strong = output.logits.split([len(labeled), len(weak), len(strong)])
        supervised = F.cross_entropy(of_labeled, labels, reduction="mean")
        prediction = of_weak.detach().softmax(-1)
        mask, pseudo_label = self.hooks["mask"](prediction), self.hooks["target"](prediction)
        unsupervised = (F.cross_entropy(of_strong, pseudo_label, reduction="none") * mask).mean()
        total = supervised + unsupervised
        shown = {"supervised": supervised, "unsupervised": unsupervised, "total": total, "used": mask.float().mean()}
        self.shown = {name: value.item() for name, value in shown.items()}
        total.backward()

    def update(self) -> None:
        self.optimizer.step()
        self.schedule.step()
        self.net.zero_grad()
        with torch.no_grad():
            for name, value in self.net.named_parameters():
                self.shadow[name] = 0.001 * value.data + 0.999 * self.shadow[name]
            self.average.load_state_dict(self.net.state_dict())
            self.average.load_state_dict(self.shadow, strict=False)


def gathered_contrast(first: Tensor, second: Tensor) -> Tensor:
    """NT-Xent on the rows that are left."""
    features = torch.cat([first, second])
    itself = torch.eye(len(features), dtype=torch.bool, device=features.device)
    similarity = (features @ features.T / 0.07).masked_fill(itself, -torch.inf)
    partner = torch.arange(len(features), device=features.device).roll(len(first))
    return F.cross_entropy(similarity, partner)


LOOPS: dict[str, tuple[str, type[PaperLoop]]] = {
    "kekmodel/FixMatch-pytorch": ("fixmatch", FixMatchLoop),
    "microsoft/Semi-supervised-learning": ("fixmatch", UsbFixMatchLoop),
    "Ada-CM, the authors' code": ("ada-cm", AdaCmLoop),
}
"""By whose loop it is: the method, and the loop."""
