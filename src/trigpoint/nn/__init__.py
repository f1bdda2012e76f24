"""Networks: an image in, one map per landmark out; and the parts of the foveated pyramid.

- ``unet``: the U-Net of the Adaloss paper, 9 convolutions of kernel 5
- ``dense_unet``: its Dense U-Net, 23 convolutions of kernel 11
- ``backbones``: any timm encoder, pretrained or not, with an upsampling decoder
- ``res_unet``: a residual U-Net for small machines, maps at a quarter of the input
- ``simple_baseline``: any timm encoder with three transposed convolutions, the cross-task paper's
- ``hourglass``: stacked hourglasses, its comparison
- ``caffe_resnet``: the ResNet-50 that Caffe trained, for published face weights
- ``source``: a frozen model of another task
- ``weights``: weights in files, with a checksum
- ``base``: what they share: any input size, maps aligned to the pixel
- ``pyramid``: levels of an image, and glimpses of them
- ``spatialized``: from a glimpse to an offset

A network is built as ``NETWORKS[name](C, K, config)`` for C channels and K landmarks, and has a ``stride``.
"""

from trigpoint.nn.backbones import TimmUNet
from trigpoint.nn.base import EncoderNetwork, LandmarkNetwork, Output
from trigpoint.nn.caffe_resnet import CaffeResNet
from trigpoint.nn.dense_unet import DenseUNet
from trigpoint.nn.hourglass import Hourglass
from trigpoint.nn.pyramid import GaussianPyramid
from trigpoint.nn.res_unet import ResUNet
from trigpoint.nn.simple_baseline import SimpleBaseline
from trigpoint.nn.source import Source, load_source
from trigpoint.nn.spatialized import SpatializedFeatures
from trigpoint.nn.unet import UNet

NETWORKS: dict[str, type[LandmarkNetwork]] = {
    "unet": UNet,
    "dense_unet": DenseUNet,
    "timm_unet": TimmUNet,
    "res_unet": ResUNet,
    "simple_baseline": SimpleBaseline,
    "hourglass": Hourglass,
}

__all__ = [
    "NETWORKS", "LandmarkNetwork", "EncoderNetwork", "Output", "UNet", "DenseUNet", "TimmUNet", "ResUNet",
    "SimpleBaseline", "Hourglass", "CaffeResNet", "Source", "load_source", "GaussianPyramid", "SpatializedFeatures",
]  # fmt: skip
