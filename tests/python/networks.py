"""The independent twin of each architecture, for weights made by the program."""

import torch
import torchvision

from compact_resnet import CompactResNet


def twin(name, channels, classes):
    if name == "compact-resnet":
        return CompactResNet(channels, classes)
    network = getattr(torchvision.models, name)(num_classes=classes)
    network.conv1 = torch.nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    return network
