//! Networks written as TorchScript source for evaluation: the same operations by the same names, any batch size, any device.

use std::fmt::Write;

use super::operations::{Activation, BatchNorm, Convolution, LinearStart, Operations, Unit};

/// Writes `forward(self, x)`, one line an operation.
#[derive(Debug)]
pub struct Script {
    lines: String,
    count: usize,
}

impl Script {
    /// Starts the function with the normalisation `(x - mean) / std`, exact in float32 and float64.
    ///
    /// The constants are made inside `forward`: a stored tensor would become a buffer outside torchvision's names.
    pub fn begin(mean: &[f64], std: &[f64]) -> (Self, String) {
        let mut script = Self { lines: String::from("def forward(self, x):\n"), count: 0 };
        let list = |values: &[f64]| values.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(", ");
        let (mean, std) = (list(mean), list(std));
        let constant =
            |values: &str| format!("torch.tensor([{values}], dtype=x.dtype, device=x.device).view([1, -1, 1, 1])");
        let first = script.push(&format!("(x - {}) / {}", constant(&mean), constant(&std)));
        (script, first)
    }

    /// The finished source, returning `value`.
    pub fn finish(mut self, value: &str) -> String {
        let _ = writeln!(self.lines, "    return {value}");
        self.lines
    }

    fn push(&mut self, expression: &str) -> String {
        let name = format!("v{}", self.count);
        self.count += 1;
        // Writing to a String cannot fail.
        let _ = writeln!(self.lines, "    {name} = {expression}");
        name
    }
}

/// `layer1.0.conv1` as an expression: a numeric submodule can only be reached by getattr.
fn attribute(layer: &str) -> String {
    layer.split('.').fold("self".to_owned(), |owner, part| {
        if part.starts_with(|first: char| first.is_ascii_digit()) {
            format!("getattr({owner}, \"{part}\")")
        } else {
            format!("{owner}.{part}")
        }
    })
}

impl Operations for Script {
    type Value = String;

    fn convolution(&mut self, x: &String, name: &str, shape: Convolution) -> String {
        let Convolution { stride, padding, groups, .. } = shape;
        let layer = attribute(name);
        let bias = if shape.has_bias { format!("{layer}.bias") } else { "None".to_owned() };
        self.push(&format!(
            "torch.conv2d({x}, {layer}.weight, {bias}, [{stride}, {stride}], [{padding}, {padding}], [1, 1], {groups})"
        ))
    }

    fn batch_norm(&mut self, x: &String, name: &str, norm: BatchNorm) -> String {
        let BatchNorm { epsilon, momentum, .. } = norm;
        let layer = attribute(name);
        self.push(&format!(
            "torch.batch_norm({x}, {layer}.weight, {layer}.bias, {layer}.running_mean, {layer}.running_var, False, {momentum:?}, {epsilon:?}, True)"
        ))
    }

    fn activate(&mut self, x: String, activation: Activation) -> String {
        let function = match activation {
            Activation::Identity => return x,
            Activation::Relu => "torch.relu",
            Activation::HardSwish => "torch.hardswish",
            Activation::HardSigmoid => "torch.hardsigmoid",
            Activation::Silu => "torch.silu",
            Activation::Sigmoid => "torch.sigmoid",
        };
        self.push(&format!("{function}({x})"))
    }

    fn max_pool(&mut self, x: &String, kernel: i64, stride: i64, padding: i64) -> String {
        self.push(&format!(
            "torch.max_pool2d({x}, [{kernel}, {kernel}], [{stride}, {stride}], [{padding}, {padding}], [1, 1], False)"
        ))
    }

    fn global_average(&mut self, x: &String) -> String {
        self.push(&format!("torch.adaptive_avg_pool2d({x}, [1, 1])"))
    }

    fn flatten(&mut self, x: &String) -> String {
        self.push(&format!("torch.flatten({x}, 1)"))
    }

    fn average_pool(&mut self, x: &String, side: i64) -> String {
        self.push(&format!("torch.avg_pool2d({x}, [{side}, {side}], [{side}, {side}], [0, 0], False, True, None)"))
    }

    fn add(&mut self, x: String, y: &String) -> String {
        self.push(&format!("{x} + {y}"))
    }

    fn multiply(&mut self, x: &String, y: &String) -> String {
        self.push(&format!("{x} * {y}"))
    }

    fn concatenate(&mut self, values: &[String]) -> String {
        self.push(&format!("torch.cat([{}], 1)", values.join(", ")))
    }

    fn leave_out(&mut self, x: &String, _name: &str, _unit: Unit, _share: f64) -> String {
        x.clone()
    }

    fn linear(&mut self, x: &String, name: &str, _inputs: i64, _outputs: i64, _start: LinearStart) -> String {
        let layer = attribute(name);
        self.push(&format!("torch.addmm({layer}.bias, {x}, {layer}.weight.t())"))
    }
}
