"""Logits and gradients of the program's networks against torchvision's with the same weights.

usage: model_parity.py FOLDER    (NAME.safetensors and NAME.found.safetensors per architecture)

`single`: eval mode, float32. `logits`, `grad.*`: training mode, float64, nothing left out. `left-out.logits`, `left-out.grad.*`: the
same with the factors of dropout and stochastic depth that the program drew, `factors.LAYER`.
"""

import pathlib
import sys

import torch
from safetensors.torch import load_file

from networks import leave_out, twin


def under(found, prefix):
    return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}


def compare(network, x, found, prefix):
    network.zero_grad()
    logits = network(x)
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2])).backward()
    torch.testing.assert_close(found[prefix + "logits"], logits.detach(), rtol=1e-9, atol=1e-12)
    for name, parameter in network.named_parameters():
        scale = parameter.grad.abs().max().item()
        torch.testing.assert_close(found[f"{prefix}grad.{name}"], parameter.grad, rtol=1e-9, atol=1e-9 * scale)


def main():
    folder = pathlib.Path(sys.argv[1])
    x = (torch.arange(3 * 2 * 48 * 40, dtype=torch.float64) * 0.37).sin().view(3, 2, 48, 40) * 2
    mean = torch.tensor([0.1, -0.2], dtype=torch.float64).view(1, 2, 1, 1)
    std = torch.tensor([1.5, 0.7], dtype=torch.float64).view(1, 2, 1, 1)
    files = sorted(path for path in folder.glob("*.safetensors") if ".found" not in path.name)
    assert files
    for path in files:
        found = load_file(path.with_suffix(".found.safetensors"))
        network = twin(path.stem, 2, 3)
        state = load_file(path)
        assert list(network.state_dict().keys()) == (path.with_suffix(".names").read_text().split())
        network.load_state_dict(state, strict=True)
        with torch.no_grad():
            single = network.eval()(((x.float()) - mean.float()) / std.float())
        torch.testing.assert_close(found["single"], single, rtol=1e-5, atol=1e-5)
        network = network.double().train()
        leave_out(network, {})
        compare(network, (x - mean) / std, found, "")
        factors = under(found, "factors.")
        leave_out(network, factors)
        compare(network, (x - mean) / std, found, "left-out.")
        print(path.stem, "equal", f"with {len(factors)} layers that leave out")


if __name__ == "__main__":
    main()
