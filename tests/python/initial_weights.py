"""Starting weights of the program's resnet18 against torchvision's, layer type by layer type.

usage: initial_weights.py FOLDER    (resnet18.SEED.safetensors)
"""

import collections
import pathlib
import sys

import torch
from safetensors.torch import load_file
from scipy import stats

from networks import twin


def by_type(network, state):
    """Values per layer type, each scaled by the layer's torchvision deviation so that layers can be pooled."""
    groups = collections.defaultdict(list)
    for name, module in network.named_modules():
        for part in ("weight", "bias"):
            key = f"{name}.{part}"
            if key in state and isinstance(module, (torch.nn.Conv2d, torch.nn.BatchNorm2d, torch.nn.Linear)):
                fan = module.weight.shape[0] * module.weight[0][0].numel() if module.weight.dim() == 4 else 1
                groups[type(module).__name__, part].append(state[key].double().flatten() * fan**0.5)
    return {key: torch.cat(values) for key, values in groups.items()}


def main():
    torch.manual_seed(0)
    network = twin("resnet18", 2, 3)
    expected = by_type(network, network.state_dict())
    for path in sorted(pathlib.Path(sys.argv[1]).glob("resnet18.*.safetensors")):
        found = by_type(network, load_file(path))
        assert found.keys() == expected.keys()
        for key, values in found.items():
            if expected[key].std() == 0 or len(values) < 10:
                bound = 512**-0.5
                assert torch.equal(values, expected[key]) or values.abs().max() <= bound, key
                continue
            subsample = slice(None, None, max(1, len(values) // 200_000))
            p = stats.ks_2samp(values[subsample].numpy(), expected[key][subsample].numpy()).pvalue
            ratio = (values.std() / expected[key].std()).item()
            print(path.name, key, len(values), f"std ratio {ratio:.4f}, Kolmogorov-Smirnov p {p:.3f}")
            assert p > 1e-4 and abs(ratio - 1) < 0.05, key


if __name__ == "__main__":
    main()
