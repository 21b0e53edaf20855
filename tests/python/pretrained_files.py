"""Weights as people have them: the containers of torch.save and TorchScript, safetensors, and files that would like to run code.

usage: pretrained_files.py FOLDER

expected.safetensors: the state dict of torchvision's resnet18 with 5 classes, which all files but hostile.* and dense.* hold;
expected.CHANNELS.safetensors: its first layer for other channels. dense.safetensors and dense.pth: densenet121 by new and old names.
"""

import collections
import os
import pathlib
import re
import sys

import torch
import torchvision
from safetensors.torch import save_file


class Hostile:
    """Unpickling this in Python makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def main():
    folder = pathlib.Path(sys.argv[1])
    torch.manual_seed(1)
    network = torchvision.models.resnet18(num_classes=5).eval()
    state = network.state_dict()
    save_file(state, folder / "expected.safetensors")
    for channels in (1, 2, 4):
        kernels = state["conv1.weight"].double().mean(1, keepdim=True) * 3 / channels
        save_file({"conv1.weight": kernels.expand(-1, channels, -1, -1).float().contiguous()}, folder / f"expected.{channels}.safetensors")

    save_file(state, folder / "plain.safetensors")
    torch.save(state, folder / "new.pth")
    torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)
    torch.save(state, folder / "protocol4.pth", pickle_protocol=4)
    torch.save(network, folder / "module.pth")
    parallel = collections.OrderedDict((f"module.{name}", value) for name, value in state.items())
    optimiser = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    network.train()(torch.ones(2, 3, 32, 32)).sum().backward()
    network.load_state_dict(torch.load(folder / "new.pth"))
    training = {"epoch": 3, "state_dict": parallel, "optimizer": optimiser.state_dict(), "best": torch.tensor(0.5)}
    torch.save(training, folder / "training.pth")
    torch.save(training, folder / "training-old.pth", _use_new_zipfile_serialization=False)
    strided = {name: value.to(memory_format=torch.channels_last) if value.dim() == 4 else value for name, value in state.items()}
    torch.save(strided, folder / "channels-last.pth")
    flat = torch.cat([value.flatten() for value in state.values() if value.is_floating_point()])
    views, at = {}, 0
    for name, value in state.items():
        views[name] = flat[at : at + value.numel()].view(value.shape) if value.is_floating_point() else value
        at += value.numel() if value.is_floating_point() else 0
    torch.save(views, folder / "one-storage.pth")
    uncounted = {name: value for name, value in state.items() if "num_batches_tracked" not in name}
    torch.save(uncounted, folder / "uncounted.pth")
    torch.jit.script(network.eval()).save(folder / "scripted.pt")
    torch.jit.trace(network, torch.ones(1, 3, 32, 32)).save(folder / "traced.pt")

    dense = torchvision.models.densenet121(num_classes=5).state_dict()
    save_file(dense, folder / "dense.safetensors")
    old = re.compile(r"(denselayer\d+\.(?:norm|conv))([12]\.)")
    names = {name: old.sub(r"\1.\2", name) for name in dense if "num_batches_tracked" not in name}
    torch.save({new: dense[name] for name, new in names.items()}, folder / "dense.pth", _use_new_zipfile_serialization=False)

    for name in ("new", "old"):
        made = folder / f"made-by-{name}"
        hostile = dict(state, extra=Hostile(str(made)))
        torch.save(hostile, folder / f"hostile.{name}.pth", _use_new_zipfile_serialization=name == "new")
        assert not made.exists()


if __name__ == "__main__":
    main()
