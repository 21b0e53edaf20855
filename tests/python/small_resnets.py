"""The compact and the tiny ResNet in plain PyTorch: loads weights.safetensors of a run with strict=True."""

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock

COMPACT = (24, 48, 96, 144)
TINY = (8, 16, 32, 48)


def stage(inputs, width, stride):
    downsample = None
    if stride != 1 or inputs != width:
        downsample = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))
    return nn.Sequential(BasicBlock(inputs, width, stride, downsample))


class SmallResNet(nn.Module):
    def __init__(self, widths, channels, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.layer1 = stage(widths[0], widths[0], 1)
        self.layer2 = stage(widths[0], widths[1], 2)
        self.layer3 = stage(widths[1], widths[2], 2)
        self.layer4 = stage(widths[2], widths[3], 2)
        self.fc = nn.Linear(widths[3], classes)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = nn.functional.max_pool2d(x, 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))
