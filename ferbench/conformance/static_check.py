"""Find out whether a method's loss waits for the device, by running it on meta tensors, which have no values."""

import torch
from torch import Tensor

from ferbench.blocks import take_tokens
from ferbench.contract.backbone import Backbone, Network, TokenBackbone
from ferbench.contract.batch import Batch, MethodInfo, Views, ViewSet
from ferbench.contract.method import Builders, Method, MethodConfig
from ferbench.errors import PluginError

SIZE, LABELED, UNLABELED = 16, 6, 8


class ToyBackbone(Backbone):
    """Two convolutions with BatchNorm: a minimal backbone for running a method."""

    feature_size = 12

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 8, 3, 2)
        self.conv = torch.nn.Conv2d(8, self.feature_size, 3, 2)
        self.norm = torch.nn.BatchNorm2d(self.feature_size)

    def forward(self, images: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(torch.relu(self.stem(images))))).mean((2, 3))


class ToyTokens(TokenBackbone):
    """Patches with positions, one attention layer, and their mean: a minimal backbone for methods that mask patches."""

    patch_size, grid, token_size = 4, SIZE // 4, ToyBackbone.feature_size
    feature_size = token_size

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(3, self.token_size, self.patch_size, self.patch_size)
        self.position = torch.nn.Parameter(0.02 * torch.randn(self.grid**2, self.token_size))
        self.attention = torch.nn.MultiheadAttention(self.token_size, 2, batch_first=True)
        self.norm = torch.nn.LayerNorm(self.token_size)

    def encode(self, images: Tensor, kept: Tensor) -> Tensor:
        tokens = take_tokens(self.stem(images).flatten(2).mT + self.position, kept)
        return self.norm(tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0])

    def forward(self, images: Tensor) -> Tensor:
        everything = torch.arange(self.grid**2, device=images.device).expand(len(images), -1)
        return self.encode(images, everything).mean(1)


def toy_backbone(method: Method) -> Backbone:
    """Return the toy backbone that satisfies a method's requirements."""
    return ToyTokens() if "tokens" in method.requires else ToyBackbone()


def check_static(method_class: type[Method], config: MethodConfig, info: MethodInfo) -> None:
    """Raise PluginError if a loss reads a value: `.item()`, `.cpu()`, `.tolist()`, `if tensor`, boolean-mask indexing.

    A meta tensor has no data, so an operation fails on it if its result or shape depends on data; such an operation
    would stall a GPU or break a CUDA graph.
    """
    with torch.device("meta"):
        method = method_class(config)
        net, teacher = (
            Network(toy_backbone(method), method.make_head(ToyBackbone.feature_size, info.n_classes)) for _ in range(2)
        )
        teacher.eval()
        method.prepare(_meta_builders(method, info))
        method.setup(net, info)
        method.to("meta")
        method.attach(net, teacher, torch.Generator("cpu"), info)
        for stage in method.stages():
            try:
                losses = stage.loss(meta_batch(stage.views, info.n_classes))
                losses.total.backward()
            except (NotImplementedError, RuntimeError) as error:
                reason = str(error).splitlines()[0]
                raise PluginError(
                    f"{method_class.__name__}: the loss of stage '{stage.name}' waits for the device or has shapes "
                    f"that depend on data ({reason}); replace .item(), .cpu(), `if tensor` and boolean-mask indexing "
                    "by torch.where and masks"
                ) from error


def _meta_builders(method: Method, info: MethodInfo) -> Builders:
    def network() -> Network:
        return Network(toy_backbone(method), method.make_head(ToyBackbone.feature_size, info.n_classes))

    return Builders(network, lambda: toy_backbone(method), lambda name: 0)


def meta_batch(views: Views, n_classes: int) -> Batch:
    """Return a batch of zeros with these views, on the device of the context."""
    labels = torch.zeros(LABELED, dtype=torch.int64)
    return Batch(
        labeled=_view_set(list(views.labeled), LABELED),
        unlabeled=_view_set(list(views.unlabeled), UNLABELED) if views.unlabeled else None,
        labels=labels,
        label_probs=torch.nn.functional.one_hot(labels, n_classes).float(),
        step=torch.zeros((), dtype=torch.int64),
        progress=torch.zeros(()),
        learning_rate=torch.zeros(()),
    )


def _view_set(names: list[str], count: int) -> ViewSet:
    return ViewSet(
        images={name: torch.zeros(count, 3, SIZE, SIZE) for name in names},
        index=torch.zeros(count, dtype=torch.int64),
        boxes={name: torch.zeros(count, 4) for name in names},
    )
