"""The independent twin of each architecture, for weights made by the program."""

import torch
import torchvision

from small_resnets import COMPACT, TINY, SmallResNet

FIRST = {"resnet": "conv1", "mobilenet": "features.0.0", "efficientnet": "features.0.0", "densenet": "features.conv0"}


def twin(name, channels, classes):
    """torchvision's network with a first convolution of `channels` inputs, made as torchvision makes all its convolutions."""
    small = {"compact-resnet": COMPACT, "tiny-resnet": TINY}
    if name in small:
        return SmallResNet(small[name], channels, classes)
    network = getattr(torchvision.models, name.replace("-", "_"))(num_classes=classes)
    first = next(layer for start, layer in FIRST.items() if name.startswith(start))
    owner, _, last = first.rpartition(".")
    owner = network.get_submodule(owner) if owner else network
    old = getattr(owner, last)
    new = torch.nn.Conv2d(channels, old.out_channels, old.kernel_size, old.stride, old.padding, bias=False)
    mode = "fan_in" if name.startswith("densenet") else "fan_out"
    torch.nn.init.kaiming_normal_(new.weight, mode=mode, nonlinearity="relu")
    setattr(owner, last, new)
    return network


class Factors(torch.nn.Module):
    """Takes the place of a dropout or a stochastic depth: multiplies by given factors, or by nothing."""

    def __init__(self, factors=None):
        super().__init__()
        self.factors = factors

    def forward(self, x):
        return x if self.factors is None else x * self.factors


def leave_out(network, factors):
    """Puts `factors` (by layer) where the network would draw its own; a layer without an entry leaves nothing out."""
    layers = [
        name
        for name, module in network.named_modules()
        if isinstance(module, (torch.nn.Dropout, torchvision.ops.StochasticDepth, Factors))
    ]
    assert factors.keys() <= set(layers), factors.keys() - set(layers)
    for name in layers:
        network.set_submodule(name, Factors(factors.get(name)))
    return len(layers)
