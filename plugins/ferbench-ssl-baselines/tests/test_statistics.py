"""Which images move BatchNorm's running statistics: those that papers or their authors' code let move them, once."""

from typing import Any

import numpy as np
import pytest
from tests.support.numeric_step import Array, attached, images_of, make_batch

from ferbench.contract.method import Method
from ferbench_ssl_baselines.adamatch import AdaMatch
from ferbench_ssl_baselines.bitfit import BitFit
from ferbench_ssl_baselines.ccssl import CCSSL
from ferbench_ssl_baselines.comatch import CoMatch
from ferbench_ssl_baselines.crest import CReST
from ferbench_ssl_baselines.dash import Dash
from ferbench_ssl_baselines.debiaspl import DebiasPL
from ferbench_ssl_baselines.flexmatch import FlexMatch
from ferbench_ssl_baselines.freematch import FreeMatch
from ferbench_ssl_baselines.mean_teacher import MeanTeacher
from ferbench_ssl_baselines.mixmatch import MixMatch
from ferbench_ssl_baselines.noisy_student import NoisyStudent
from ferbench_ssl_baselines.pi_model import PiModel
from ferbench_ssl_baselines.pseudo_label import PseudoLabel
from ferbench_ssl_baselines.remixmatch import ReMixMatch
from ferbench_ssl_baselines.simmatch import SimMatch
from ferbench_ssl_baselines.softmatch import SoftMatch
from ferbench_ssl_baselines.uda import Uda
from ferbench_ssl_baselines.vat import Vat

MIXED = "mixed"
CASES: list[tuple[type[Method], Any]] = [
    (PseudoLabel, (["weak"], ["weak"])),
    (PiModel, (["first", "second"], ["first", "second"])),
    (MeanTeacher, (["student"], ["student"])),
    (Vat, (["weak"], [])),
    (MixMatch, MIXED),
    (Uda, (["weak"], ["strong"])),
    (ReMixMatch, MIXED),
    (FlexMatch, (["weak"], ["strong"])),
    (Dash, (["weak"], ["strong"])),
    (AdaMatch, (["weak", "strong"], ["weak", "strong"])),
    (CoMatch, (["weak"], ["strong", "again"])),
    (SimMatch, (["weak"], ["strong"])),
    (CCSSL, (["weak"], ["strong", "again"])),
    (FreeMatch, (["weak"], ["strong"])),
    (SoftMatch, (["weak"], ["strong"])),
    (NoisyStudent, (["strong"], ["strong"])),
    (DebiasPL, (["weak"], ["strong"])),
    (CReST, (["weak"], ["weak", "strong"])),
    (BitFit, (["train"], [])),
]


@pytest.mark.parametrize(("method_class", "moving"), CASES)
def test_running_statistics(method_class: type[Method], moving: Any) -> None:
    method = attached(method_class)
    batch = make_batch(method)
    x, u = images_of(batch)
    norm: Any = method.net.backbone.norm
    before = norm.running_mean.double().numpy().copy()
    seen: list[Array] = []
    method.net.register_forward_pre_hook(lambda net, inputs: seen.append(inputs[0].detach().double().numpy()))
    method.loss(batch)
    if moving == MIXED:
        whole = sum(map(len, [*x.values(), *u.values()]))
        (images,) = [each for each in seen if len(each) == whole]
    else:
        images = np.concatenate([*(x[name] for name in moving[0]), *(u[name] for name in moving[1])])
    expected = 0.9 * before + 0.1 * images.reshape(len(images), -1).mean(0)
    np.testing.assert_allclose(norm.running_mean, expected, rtol=1e-4, atol=1e-6)
    assert int(norm.num_batches_tracked) == 1
