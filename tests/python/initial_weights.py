"""Starting weights of the program's networks against torchvision's, layer type by layer type.

usage: initial_weights.py FOLDER    (NAME.SEED.safetensors)
"""

import collections
import pathlib
import sys

import torch
from safetensors.torch import load_file
from scipy import stats

from networks import twin

KINDS = (torch.nn.Conv2d, torch.nn.BatchNorm2d, torch.nn.Linear)


def parameters(network):
    """Name and kind of every parameter; kinds tell weights from biases and depthwise from other convolutions."""
    for name, module in network.named_modules():
        if isinstance(module, KINDS):
            for part, _ in module.named_parameters():
                grouped = "grouped " if getattr(module, "groups", 1) > 1 else ""
                yield f"{name}.{part}", f"{grouped}{type(module).__name__}.{part}"


def main():
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.safetensors")):
        name = path.name.split(".")[0]
        torch.manual_seed(0)
        network = twin(name, 2, 3)
        if name in ("compact-resnet", "tiny-resnet"):
            # Ours, started as torchvision starts its ResNets.
            for module in network.modules():
                if isinstance(module, torch.nn.Conv2d):
                    torch.nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        expected, found = network.state_dict(), load_file(path)
        pools = collections.defaultdict(lambda: ([], []))
        for key, kind in parameters(network):
            ours, theirs = found[key].double().flatten(), expected[key].double().flatten()
            deviation = theirs.std().item()
            if deviation == 0:
                assert torch.equal(ours, theirs), key
                continue
            if len(theirs) < 10:
                # Nothing can be told of so few values but their size: PyTorch's own bound, 1/sqrt(inputs).
                assert ours.abs().max() <= network.get_submodule(key.rpartition(".")[0]).in_features**-0.5, key
                continue
            # Two estimates of one deviation from n values differ by sqrt(1/n) of it, for normal values.
            ratio = ours.std().item() / deviation
            assert abs(ratio - 1) < 6 * len(theirs) ** -0.5, (key, ratio)
            # One scale for both, so that layers can be pooled.
            pools[kind][0].append(ours / deviation)
            pools[kind][1].append(theirs / deviation)
        assert pools
        for kind, (ours, theirs) in pools.items():
            ours, theirs = torch.cat(ours), torch.cat(theirs)
            step = slice(None, None, max(1, len(ours) // 200_000))
            p = stats.ks_2samp(ours[step].numpy(), theirs[step].numpy()).pvalue
            print(path.name, kind, len(ours), f"Kolmogorov-Smirnov p {p:.3f}")
            assert p > 1e-4, kind


if __name__ == "__main__":
    main()
