//! The entropy-coded data of JPEG-LS (ITU T.87 annex A): context modelling, run mode, limited-length Golomb codes.
//!
//! Names in brackets are the standard's.

use super::super::CodecError;
use super::super::bits::BitReader;
use super::super::markers::Frame;
use super::malformed;
use super::parameters::Parameters;

type Bits<'a> = BitReader<'a, true>;

/// Orders of the run lengths (J, ITU T.87 A.2.1).
const RUN_ORDERS: [u8; 32] =
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15];
/// (9^3 + 1) / 2: signs are folded.
const CONTEXTS: usize = 365;
/// No error of 16-bit samples is larger.
const ERROR_CAP: i64 = 65_535;

/// Statistics of a context.
#[derive(Debug, Clone, Copy)]
struct Context {
    /// Sum of the errors' magnitudes (A).
    magnitude: i64,
    /// Sum of the errors (B).
    bias: i64,
    /// Correction of the prediction (C).
    correction: i32,
    /// Occurrences (N).
    count: u32,
}

/// Statistics of a context of interrupted runs.
#[derive(Debug, Clone, Copy)]
struct RunContext {
    magnitude: i64,
    count: u32,
    /// Occurrences of negative errors (Nn).
    negative: u32,
}

/// What is learnt between two restarts.
struct Model {
    contexts: Vec<Context>,
    /// For runs that end where the neighbours left and above differ, and where they do not.
    runs: [RunContext; 2],
    /// RUNindex.
    run_order: usize,
}

impl Model {
    fn new(parameters: &Parameters) -> Self {
        let magnitude = i64::from(((parameters.range + 32) / 64).max(2));
        let run = RunContext { magnitude, count: 1, negative: 0 };
        Self {
            contexts: vec![Context { magnitude, bias: 0, correction: 0, count: 1 }; CONTEXTS],
            runs: [run; 2],
            run_order: 0,
        }
    }
}

/// Decodes the samples of a scan, row by row.
pub(super) fn decode(
    frame: &Frame,
    parameters: &Parameters,
    restart_lines: u32,
    data: &[u8],
) -> Result<Vec<u16>, CodecError> {
    let (rows, columns) = (frame.rows as usize, frame.columns as usize);
    let mut bits = Bits::new(data);
    let mut model = Model::new(parameters);
    let mut samples = Vec::with_capacity(rows * columns);
    // One sample of the surroundings at each end.
    let (mut above, mut line) = (vec![0_i32; columns + 2], vec![0_i32; columns + 2]);
    let mut restarts = 0_u8;
    for row in 0..frame.rows {
        if restart_lines > 0 && row > 0 && row % restart_lines == 0 {
            bits.restart(restarts)?;
            restarts = (restarts + 1) % 8;
            model = Model::new(parameters);
            above.fill(0);
        }
        above[columns + 1] = above[columns];
        line[0] = above[1];
        Line { parameters, model: &mut model, bits: &mut bits, above: &above }.decode(&mut line)?;
        // 0 to max_value, 16 bits at most.
        samples.extend(line[1..=columns].iter().map(|value| u16::try_from(*value).unwrap_or(0)));
        std::mem::swap(&mut above, &mut line);
    }
    Ok(samples)
}

/// One line being decoded.
struct Line<'s, 'd> {
    parameters: &'s Parameters,
    model: &'s mut Model,
    bits: &'s mut Bits<'d>,
    above: &'s [i32],
}

impl Line<'_, '_> {
    /// Fills `line` from its second to its last but one place.
    fn decode(&mut self, line: &mut [i32]) -> Result<(), CodecError> {
        let end = line.len() - 1;
        let mut column = 1;
        while column < end {
            let (a, b, c, d) = (line[column - 1], self.above[column], self.above[column - 1], self.above[column + 1]);
            let gradients = [d - b, b - c, c - a];
            if gradients.iter().all(|gradient| gradient.abs() <= self.parameters.near) {
                column = self.run(line, column, end)?;
            } else {
                line[column] = self.sample(a, b, c, gradients)?;
                column += 1;
            }
        }
        Ok(())
    }

    /// The class of a gradient, -4 to 4 (Q, A.3.3).
    fn class(&self, gradient: i32) -> i32 {
        let size = gradient.abs();
        let class = match self.parameters.thresholds {
            _ if size <= self.parameters.near => 0,
            [first, ..] if size < first => 1,
            [_, second, _] if size < second => 2,
            [.., third] if size < third => 3,
            _ => 4,
        };
        class * gradient.signum()
    }

    /// A sample in regular mode (A.4 to A.6).
    fn sample(&mut self, a: i32, b: i32, c: i32, gradients: [i32; 3]) -> Result<i32, CodecError> {
        let [first, second, third] = gradients.map(|gradient| self.class(gradient));
        let mixed = 81 * first + 9 * second + third;
        let sign = if mixed < 0 { -1 } else { 1 };
        // -364 to 364, folded.
        let number = mixed.unsigned_abs() as usize;
        let context = self.model.contexts.get(number).copied();
        let mut context = context.ok_or_else(|| malformed("its contexts are inconsistent"))?;
        let (low, high) = (a.min(b), a.max(b));
        // The median of a, b and a + b - c.
        let edge = if c >= high {
            low
        } else if c <= low {
            high
        } else {
            a + b - c
        };
        let predicted = (edge + sign * context.correction).clamp(0, self.parameters.max_value);
        let order = order(context.count, context.magnitude);
        let code = self.golomb(order, self.parameters.limit)?;
        let mut error = if code & 1 == 0 { code / 2 } else { -(code + 1) / 2 };
        if self.parameters.near == 0 && order == 0 && 2 * context.bias <= -i64::from(context.count) {
            error = -(error + 1);
        }
        if error.abs() > ERROR_CAP {
            return Err(malformed("an error of more than 16 bits"));
        }
        context.learn(error, self.parameters);
        self.model.contexts[number] = context;
        Ok(self.reconstructed(predicted, sign, error))
    }

    /// A run of the left neighbour's value and the sample that ends it (A.7); gives the column behind.
    fn run(&mut self, line: &mut [i32], start: usize, end: usize) -> Result<usize, CodecError> {
        let value = line[start - 1];
        let mut column = start;
        while self.bits.take(1)? == 1 {
            let length = 1_usize << RUN_ORDERS[self.model.run_order];
            let whole = column + length <= end;
            let stop = (column + length).min(end);
            line[column..stop].fill(value);
            column = stop;
            if whole {
                self.model.run_order = (self.model.run_order + 1).min(RUN_ORDERS.len() - 1);
            }
            if column == end {
                return Ok(end);
            }
        }
        // Orders are at most 15.
        let order = u32::from(RUN_ORDERS[self.model.run_order]);
        let stop = column + self.bits.take(order)? as usize;
        if stop >= end {
            return Err(malformed("a run longer than its line"));
        }
        line[column..stop].fill(value);
        line[stop] = self.interruption(line[stop - 1], self.above[stop], order)?;
        self.model.run_order = self.model.run_order.saturating_sub(1);
        Ok(stop + 1)
    }

    /// The sample that ends a run (A.7.2).
    fn interruption(&mut self, a: i32, b: i32, run_order: u32) -> Result<i32, CodecError> {
        let is_flat = (a - b).abs() <= self.parameters.near;
        let kind = usize::from(is_flat);
        let mut context = self.model.runs[kind];
        let widened = if is_flat { i64::from(context.count >> 1) } else { 0 };
        let order = order(context.count, context.magnitude + widened);
        let code = self.golomb(order, self.parameters.limit.saturating_sub(run_order + 1))?;
        let folded = code + i64::from(is_flat);
        let is_marked = folded & 1 == 1;
        let size = (folded + 1) / 2;
        let is_mostly_negative = order != 0 || 2 * context.negative >= context.count;
        let error = if is_mostly_negative == is_marked { -size } else { size };
        if size > ERROR_CAP {
            return Err(malformed("an error of more than 16 bits"));
        }
        context.learn(error, (code + 1 - i64::from(is_flat)) >> 1, self.parameters.reset);
        self.model.runs[kind] = context;
        let (predicted, sign) = if is_flat { (a, 1) } else { (b, if a > b { -1 } else { 1 }) };
        Ok(self.reconstructed(predicted, sign, error))
    }

    /// A code of limited length (A.5.3): at most 2^32.
    fn golomb(&mut self, order: u32, limit: u32) -> Result<i64, CodecError> {
        let longest = limit.saturating_sub(self.parameters.plain_bits + 1);
        let too_long = || malformed("a code of too many bits");
        let zeros = self.bits.take_zeros(longest)?.ok_or_else(too_long)?;
        if zeros == longest {
            return Ok(i64::from(self.bits.take(self.parameters.plain_bits)?) + 1);
        }
        Ok((i64::from(zeros) << order) + i64::from(self.bits.take(order)?))
    }

    /// The sample that prediction and error stand for (A.4.5): errors are modulo the range.
    fn reconstructed(&self, predicted: i32, sign: i32, error: i64) -> i32 {
        let Parameters { max_value, near, step, range, .. } = *self.parameters;
        // Within 16 bits times a step of at most 511, checked above.
        let error = i32::try_from(error).unwrap_or(0) * step * sign;
        let mut value = predicted + error;
        if value < -near {
            value += range * step;
        } else if value > max_value + near {
            value -= range * step;
        }
        value.clamp(0, max_value)
    }
}

/// The order of the Golomb code (k, A.5.1). Statistics of errors within 16 bits keep it at 17 at most.
fn order(count: u32, magnitude: i64) -> u32 {
    let mut order = 0;
    while i64::from(count) << order < magnitude && order < 24 {
        order += 1;
    }
    order
}

impl Context {
    /// Learns from an error (A.6).
    fn learn(&mut self, error: i64, parameters: &Parameters) {
        self.bias += error * i64::from(parameters.step);
        self.magnitude += error.abs();
        if self.count == parameters.reset {
            self.magnitude >>= 1;
            self.bias >>= 1;
            self.count >>= 1;
        }
        self.count += 1;
        let count = i64::from(self.count);
        if self.bias <= -count {
            self.bias = (self.bias + count).max(1 - count);
            self.correction = (self.correction - 1).max(-128);
        } else if self.bias > 0 {
            self.bias = (self.bias - count).min(0);
            self.correction = (self.correction + 1).min(127);
        }
    }
}

impl RunContext {
    /// Learns from the error of an interrupted run (A.7.2.2).
    fn learn(&mut self, error: i64, magnitude: i64, reset: u32) {
        self.negative += u32::from(error < 0);
        self.magnitude += magnitude;
        if self.count == reset {
            self.magnitude >>= 1;
            self.count >>= 1;
            self.negative >>= 1;
        }
        self.count += 1;
    }
}
