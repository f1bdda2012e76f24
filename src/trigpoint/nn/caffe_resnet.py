"""The ResNet-50 as Caffe has it, for face weights such as those of VGGFace2 (Cao et al., FG 2018).

Its weights load into the usual ResNet-50 key by key and then compute other features without a word: Caffe strides on
the first 1 x 1 convolution of a stage where torchvision and timm stride on the 3 x 3, and it pools without padding,
rounding the size up. It was also fed blue first, from 0 to 255, minus a mean. Here the same keys give the right
features: ``resnet50_caffe`` is known to timm under that name, takes red first, and says what input it expects.
"""

from typing import Any, cast

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import Bottleneck, ResNet
from torch import nn

BGR_MEAN = (91.4953, 103.8827, 131.0912)
"""Mean of VGGFace2 in the order and range of its official models, blue first, 0..255."""


class CaffeResNet(ResNet):
    """timm's ResNet with Caffe's strides and pooling; options as there."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.maxpool = cast(Any, nn.MaxPool2d(kernel_size=3, stride=2, padding=0, ceil_mode=True))
        for stage in (self.layer2, self.layer3, self.layer4):
            first = cast(Any, stage)[0]
            first.conv1.stride, first.conv2.stride = first.conv2.stride, first.conv1.stride


def red_first(state: dict[str, torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    """Published weights, which take blue first, turned to take red first; timm hands them here as it loads them."""
    turned = dict(state)
    if turned["conv1.weight"].shape[1] == 3:
        turned["conv1.weight"] = turned["conv1.weight"].flip(1)
    return turned


default_cfgs = generate_default_cfgs(
    {
        "resnet50_caffe": {
            "url": "",
            "num_classes": 8631,
            "input_size": (3, 224, 224),
            "pool_size": (7, 7),
            "crop_pct": 0.875,
            "interpolation": "bilinear",
            "mean": tuple(value / 255 for value in reversed(BGR_MEAN)),
            "std": (1 / 255,) * 3,
            "first_conv": "conv1",
            "classifier": "fc",
        }
    }
)


@register_model
def resnet50_caffe(pretrained: bool = False, **options: Any) -> ResNet:
    """ResNet-50 with Caffe's strides and pooling."""
    options = {"pretrained_filter_fn": red_first, "block": Bottleneck, "layers": (3, 4, 6, 3), **options}
    return cast(ResNet, build_model_with_cfg(CaffeResNet, "resnet50_caffe", pretrained, **options))
