"""Encoders of grey pictures, plain and slow, for what no encoder at hand writes: lossless JPEG with point transform and restart
markers (ITU T.81 annex H), JPEG-LS with preset parameters and restart markers (ITU T.87 annex A). codec_streams.py has their
streams decoded by libjpeg-turbo and CharLS before anything is compared with them."""

import struct


class Bits:
    """Bits to bytes. After a byte ff: a byte 00 (JPEG), or a bit 0 (JPEG-LS)."""

    def __init__(self, is_ls):
        self.is_ls, self.bytes, self.bits = is_ls, bytearray(), []

    def put(self, value, count):
        for place in reversed(range(count)):
            self.bits.append(value >> place & 1)
            if len(self.bits) == 8:
                self.flush_byte()

    def flush_byte(self):
        self.bytes.append(int("".join(map(str, self.bits)), 2))
        self.bits = []
        if self.bytes[-1] == 0xFF:
            if self.is_ls:
                self.bits = [0]
            else:
                self.bytes.append(0)

    def end(self):
        """Fills the last byte, with zeros in JPEG-LS and ones in JPEG."""
        while self.bits:
            self.put(int(not self.is_ls), 1)
        return bytes(self.bytes)


def segment(marker, body):
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def intervals(rows, lines):
    lines = lines or rows
    return [range(start, min(start + lines, rows)) for start in range(0, rows, lines)]


def joined(parts):
    """Intervals with RST0 to RST7 between them."""
    stream = parts[0]
    for number, part in enumerate(parts[1:]):
        stream += bytes([0xFF, 0xD0 + number % 8]) + part
    return stream


def lossless_jpeg(pixels, bits, predictor, transform, lines):
    rows, columns = pixels.shape
    x = (pixels.astype(int) >> transform).tolist()
    parts = []
    for interval in intervals(rows, lines):
        out = Bits(is_ls=False)
        for row in interval:
            for column in range(columns):
                a = x[row][column - 1] if column else None
                if row == interval.start:
                    prediction = a if column else 1 << (bits - transform - 1)
                elif column == 0:
                    prediction = x[row - 1][0]
                else:
                    b, c = x[row - 1][column], x[row - 1][column - 1]
                    prediction = [a, b, c, a + b - c, a + ((b - c) >> 1), b + ((a - c) >> 1), (a + b) >> 1][predictor - 1]
                difference = (x[row][column] - prediction) % 65536
                difference -= 65536 * (difference > 32768)
                size = abs(difference).bit_length()
                # Table below: size s has the 5-bit code s.
                out.put(size, 5)
                if size < 16:
                    out.put(difference if difference > 0 else difference + (1 << size) - 1, size)
        parts.append(out.end())
    header = segment(0xC3, struct.pack(">BHHBBBB", bits, rows, columns, 1, 1, 0x11, 0))
    header += segment(0xC4, bytes([0]) + bytes([0, 0, 0, 0, 17] + [0] * 11) + bytes(range(17)))
    if lines:
        header += segment(0xDD, struct.pack(">H", lines * columns))
    header += segment(0xDA, bytes([1, 1, 0, predictor, 0, transform]))
    return b"\xff\xd8" + header + joined(parts) + b"\xff\xd9"


J = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15]


class LsInterval:
    """One restart interval of JPEG-LS, from the flow charts of annex A."""

    def __init__(self, maxval, near, thresholds, reset):
        self.maxval, self.near, self.thresholds, self.reset = maxval, near, thresholds, reset
        self.step = 2 * near + 1
        self.range = (maxval + 2 * near) // self.step + 1
        self.qbpp = (self.range - 1).bit_length()
        bpp = max(2, maxval.bit_length())
        self.limit = 2 * (bpp + max(8, bpp))
        start = max(2, (self.range + 32) // 64)
        self.A, self.N, self.B, self.C = [start] * 367, [1] * 367, [0] * 367, [0] * 367
        self.run_index, self.out = 0, Bits(is_ls=True)

    def golomb(self, value, k, limit):
        if value >> k < limit - self.qbpp - 1:
            self.out.put(1, (value >> k) + 1)
            self.out.put(value & ((1 << k) - 1), k)
        else:
            self.out.put(1, limit - self.qbpp)
            self.out.put(value - 1, self.qbpp)

    def quantise(self, gradient):
        size = abs(gradient)
        region = 0 if size <= self.near else 1 + sum(size >= threshold for threshold in self.thresholds)
        return region if gradient >= 0 else -region

    def error(self, value, prediction, sign):
        """The error as coded, and the value as the decoder will know it."""
        error = sign * (value - prediction)
        error = (error + self.near) // self.step if error > 0 else -((self.near - error) // self.step)
        known = min(max(prediction + sign * error * self.step, 0), self.maxval)
        if error < 0:
            error += self.range
        if error >= (self.range + 1) // 2:
            error -= self.range
        return error, known

    def parameter(self, n, total):
        k = 0
        while n << k < total:
            k += 1
        return k

    def regular(self, value, context, prediction):
        sign = 1 if context > 0 else -1
        q = abs(context)
        prediction = min(max(prediction + sign * self.C[q], 0), self.maxval)
        error, known = self.error(value, prediction, sign)
        k = self.parameter(self.N[q], self.A[q])
        if self.near == 0 and k == 0 and 2 * self.B[q] <= -self.N[q]:
            mapped = 2 * error + 1 if error >= 0 else -2 * (error + 1)
        else:
            mapped = 2 * error if error >= 0 else -2 * error - 1
        self.golomb(mapped, k, self.limit)
        self.B[q] += error * self.step
        self.A[q] += abs(error)
        if self.N[q] == self.reset:
            self.A[q], self.B[q], self.N[q] = self.A[q] >> 1, self.B[q] >> 1, self.N[q] >> 1
        self.N[q] += 1
        if self.B[q] <= -self.N[q]:
            self.B[q] += self.N[q]
            self.C[q] = max(self.C[q] - 1, -128)
            self.B[q] = max(self.B[q], -self.N[q] + 1)
        elif self.B[q] > 0:
            self.B[q] -= self.N[q]
            self.C[q] = min(self.C[q] + 1, 127)
            self.B[q] = min(self.B[q], 0)
        return known

    def interruption(self, value, a, b):
        kind = int(abs(a - b) <= self.near)
        q = 365 + kind
        sign = -1 if kind == 0 and a > b else 1
        error, known = self.error(value, a if kind else b, sign)
        k = self.parameter(self.N[q], self.A[q] + (self.N[q] >> 1) * kind)
        if k == 0 and error > 0 and 2 * self.B[q] < self.N[q]:
            flag = 1
        elif error < 0 and (2 * self.B[q] >= self.N[q] or k != 0):
            flag = 1
        else:
            flag = 0
        mapped = 2 * abs(error) - kind - flag
        self.golomb(mapped, k, self.limit - J[self.run_index] - 1)
        self.B[q] += error < 0
        self.A[q] += (mapped + 1 - kind) >> 1
        if self.N[q] == self.reset:
            self.A[q], self.B[q], self.N[q] = self.A[q] >> 1, self.B[q] >> 1, self.N[q] >> 1
        self.N[q] += 1
        return known

    def line(self, values, above, before):
        """Codes one line; `above` and the result are the known ones, `before` the left margin of the line above."""
        columns, known = len(values), []
        margin = above[0]
        while len(known) < columns:
            at = len(known)
            a = known[-1] if at else margin
            b, c, d = above[at], above[at - 1] if at else before, above[min(at + 1, columns - 1)]
            context = 81 * self.quantise(d - b) + 9 * self.quantise(b - c) + self.quantise(c - a)
            if context:
                median = min(a, b) if c >= max(a, b) else max(a, b) if c <= min(a, b) else a + b - c
                known.append(self.regular(values[at], context, median))
                continue
            run = 0
            while at + run < columns and abs(values[at + run] - a) <= self.near:
                run += 1
            known += [a] * run
            at_end = at + run == columns
            while run >= 1 << J[self.run_index]:
                self.out.put(1, 1)
                run -= 1 << J[self.run_index]
                self.run_index = min(self.run_index + 1, 31)
            if at_end:
                if run:
                    self.out.put(1, 1)
                continue
            self.out.put(0, 1)
            self.out.put(run, J[self.run_index])
            at = len(known)
            known.append(self.interruption(values[at], a, above[at]))
            self.run_index = max(self.run_index - 1, 0)
        return known, margin


def thresholds(maxval, near):
    def clamp(value, least):
        return least if value > maxval or value < least else value

    if maxval >= 128:
        factor = (min(maxval, 4095) + 128) // 256
        t1 = clamp(factor * (3 - 2) + 2 + 3 * near, near + 1)
        t2 = clamp(factor * (7 - 3) + 3 + 5 * near, t1)
        return t1, t2, clamp(factor * (21 - 4) + 4 + 7 * near, t2)
    factor = 256 // (maxval + 1)
    t1 = clamp(max(2, 3 // factor + 3 * near), near + 1)
    t2 = clamp(max(3, 7 // factor + 5 * near), t1)
    return t1, t2, clamp(max(4, 21 // factor + 7 * near), t2)


def jpeg_ls(pixels, bits, near, presets, lines):
    """`presets`: MAXVAL, T1, T2, T3, RESET, 0 for the default; `lines` per restart interval, 0 for none."""
    rows, columns = pixels.shape
    maxval = presets[0] or (1 << bits) - 1
    limits = [given or default for given, default in zip(presets[1:4], thresholds(maxval, near))]
    values = pixels.astype(int).tolist()
    parts = []
    for interval in intervals(rows, lines):
        coder = LsInterval(maxval, near, limits, presets[4] or 64)
        above, before = [0] * columns, 0
        for row in interval:
            above, before = coder.line(values[row], above, before)
        parts.append(coder.out.end())
    header = segment(0xF7, struct.pack(">BHHBBBB", bits, rows, columns, 1, 1, 0x11, 0))
    if any(presets):
        header += segment(0xF8, struct.pack(">B5H", 1, *presets))
    if lines:
        header += segment(0xDD, struct.pack(">H", lines))
    header += segment(0xDA, bytes([1, 1, 0, near, 0, 0]))
    return b"\xff\xd8" + header + joined(parts) + b"\xff\xd9"
