"""Compressed frames by other people's encoders, and their pixels by other people's decoders, for `ingest::pixels::codec`.

codec_streams.py OUT: writes OUT/<i>.stream, OUT/<i>.raw (little-endian samples) and OUT/index.json, a list of {name, uid, rows, columns,
bytes_per_pixel, bits_stored, is_signed, tolerance}. Lossless streams' pixels are the pictures that went in, which the named
decoder must give back here too; lossy ones' are what that decoder makes of them.

Encoders: libjpeg-turbo, CharLS, OpenJPEG and OpenJPH (all in imagecodecs), Pillow, and the small ones of codec_encoders.py for
what none of these writes (restart markers and point transform in lossless JPEG, presets and restart markers in JPEG-LS).
"""

import io
import json
import pathlib
import sys

import codec_encoders
import imagecodecs
import jpeg_ls
import libjpeg
import numpy as np
import pydicom
from PIL import Image
from pydicom.pixels.encoders import RLELosslessEncoder

RLE, BASELINE, EXTENDED = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
LOSSLESS, LOSSLESS_SV1 = "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"
JLS, JLS_NEAR = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"
J2K, J2K_LOSSY = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
HTJ2K, HTJ2K_RPCL, HTJ2K_LOSSY = (f"1.2.840.10008.1.2.4.20{number}" for number in (1, 2, 3))


def picture(rows, columns, bits, seed=0, is_signed=False):
    """A scan's look: flat background, smooth shapes, noise, a few extreme values; the whole range of `bits`."""
    rng = np.random.default_rng([rows, columns, bits, seed])
    row, column = np.mgrid[0:rows, 0:columns]
    values = np.zeros((rows, columns))
    for _ in range(6):
        centre, size, height = rng.random(2) * (rows, columns), 2 + rng.random(2) * max(rows, columns) / 3, rng.random()
        distance = ((row - centre[0]) / size[0]) ** 2 + ((column - centre[1]) / size[1]) ** 2
        values = np.where(distance < 1, height * (1 - distance / 2), values)
    values += (values > 0) * rng.normal(size=values.shape) * 0.02
    flips = rng.random(values.shape) > 0.995
    values[flips] = rng.integers(0, 2, flips.sum())
    values = np.clip(np.round(values * (2**bits - 1)), 0, 2**bits - 1).astype(np.int64)
    if is_signed:
        values -= 2 ** (bits - 1)
    kinds = (np.int8, np.int16) if is_signed else (np.uint8, np.uint16)
    return values.astype(kinds[bits > 8])


SIZES = [(37, 53), (64, 64), (1, 1), (1, 40), (40, 1), (9, 300)]


class Streams:
    def __init__(self, out):
        self.out, self.index = out, []

    def add(self, name, uid, stream, pixels, *, bits, tolerance=0, is_signed=None):
        number = len(self.index)
        if is_signed is None:
            is_signed = pixels.dtype.kind == "i"
        (self.out / f"{number}.stream").write_bytes(bytes(stream))
        (self.out / f"{number}.raw").write_bytes(np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder("<")).tobytes())
        rows, columns = pixels.shape
        self.index.append(
            {
                "name": name, "uid": uid, "rows": rows, "columns": columns, "bytes_per_pixel": pixels.dtype.itemsize,
                "bits_stored": bits, "is_signed": bool(is_signed), "tolerance": tolerance,
            }
        )  # fmt: skip


def same(decoded, pixels, name):
    """The named decoder gives the picture back: encoder and picture are what the test takes them for."""
    decoded = np.asarray(decoded).reshape(pixels.shape)
    if not np.array_equal(decoded.astype(np.int64), pixels.astype(np.int64)):
        raise AssertionError(f"{name}: its own decoder gives other pixels")


def patched_byte(stream, mark, offset, value):
    """The stream with the byte `offset` behind the start of the first `mark` changed."""
    at = bytes(stream).index(mark) + offset
    return bytes(stream[:at]) + bytes([value]) + bytes(stream[at + 1 :])


def raw(values):
    """Signed numbers as the codes that JPEG and JPEG-LS know."""
    return values.view(f"u{values.dtype.itemsize}")


def rle(streams):
    for rows, columns in SIZES:
        for bits, is_signed in [(8, False), (12, False), (16, True)]:
            pixels = picture(rows, columns, bits, is_signed=is_signed)
            width = 8 * pixels.dtype.itemsize
            stream = RLELosslessEncoder.encode(
                pixels, rows=rows, columns=columns, number_of_frames=1, samples_per_pixel=1, bits_allocated=width,
                bits_stored=bits, pixel_representation=int(is_signed), photometric_interpretation="MONOCHROME2",
                encoding_plugin="pydicom",
            )  # fmt: skip
            streams.add(f"rle by pydicom {rows}x{columns} {bits} bit signed {is_signed}", RLE, stream, pixels, bits=bits)


def lossy_jpeg(streams):
    for rows, columns in SIZES:
        pixels = picture(rows, columns, 8)
        for quality in (30, 75, 98):
            stream = imagecodecs.jpeg8_encode(pixels, level=quality)
            decoded = imagecodecs.jpeg8_decode(stream)
            streams.add(f"baseline {rows}x{columns} quality {quality}", BASELINE, stream, decoded, bits=8, tolerance=1)
            again = libjpeg.decode(bytes(stream)).reshape(pixels.shape)
            streams.add(f"baseline {rows}x{columns} quality {quality}, libjpeg", BASELINE, stream, again, bits=8, tolerance=1)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "jpeg", quality=90, restart_marker_blocks=3)
        decoded = np.asarray(Image.open(file))
        streams.add(f"baseline with restarts {rows}x{columns}", BASELINE, file.getvalue(), decoded, bits=8, tolerance=1)
        for optimize in (False, True):
            pixels = picture(rows, columns, 12)
            stream = imagecodecs.jpeg8_encode(pixels, level=92, bitspersample=12, optimize=optimize)
            decoded = imagecodecs.jpeg8_decode(stream)
            streams.add(f"extended 12 bit {rows}x{columns} {optimize}", EXTENDED, stream, decoded, bits=12, tolerance=1)
            # As in NEMA's samples of 12-bit scans: the end of the coefficients is said to be 0.
            patched = patched_byte(stream, b"\xff\xda", 8, 0)
            streams.add(f"extended 12 bit {rows}x{columns}, spectral end 0", EXTENDED, patched, decoded, bits=12, tolerance=1)
            again = libjpeg.decode(bytes(stream)).reshape(pixels.shape)
            # The two libraries differ by up to 2 of 4095 themselves.
            streams.add(f"extended 12 bit {rows}x{columns}, libjpeg", EXTENDED, stream, again, bits=12, tolerance=2)


def lossless_jpeg(streams):
    for rows, columns in SIZES:
        for bits in range(2, 17):
            # Rows of one pixel and the like are all the same to a predictor: one depth is enough.
            if min(rows, columns) == 1 and bits != 12:
                continue
            for predictor in range(1, 8):
                pixels = picture(rows, columns, bits, predictor)
                stream = imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=predictor, bitspersample=bits)
                name = f"lossless {rows}x{columns} {bits} bit predictor {predictor}"
                same(libjpeg.decode(bytes(stream)), pixels, name)
                streams.add(name, LOSSLESS_SV1 if predictor == 1 else LOSSLESS, stream, pixels, bits=bits)
    for predictor in range(1, 8):
        for bits, transform, lines in [(12, 0, 1), (12, 3, 0), (16, 1, 5), (8, 2, 2), (16, 0, 0)]:
            pixels = picture(37, 53, bits, predictor)
            stream = codec_encoders.lossless_jpeg(pixels, bits, predictor, transform, lines)
            name = f"lossless, bits {bits} predictor {predictor} point transform {transform} restarts {lines}"
            expected = (pixels >> transform) << transform
            # Richter's libjpeg knows no point transform in lossless; libjpeg-turbo does.
            same(imagecodecs.jpeg8_decode(stream), expected, name)
            streams.add(name, LOSSLESS, stream, expected, bits=bits)
    for bits in (12, 16):
        pixels = picture(37, 53, bits, is_signed=True)
        codes = raw(pixels) & (2**bits - 1)
        stream = imagecodecs.jpeg8_encode(codes, lossless=True, predictor=1, bitspersample=bits)
        streams.add(f"lossless, signed {bits} bit", LOSSLESS_SV1, stream, codes, bits=bits, is_signed=True)
        # 16 bits in the stream, fewer in the header, with the sign in the high bits.
        stream = imagecodecs.jpeg8_encode(raw(pixels), lossless=True, predictor=1, bitspersample=16)
        streams.add(f"lossless, signed {bits} bit in 16", LOSSLESS_SV1, stream, pixels, bits=bits)


def charls(stream):
    return np.asarray(jpeg_ls.decode(np.frombuffer(stream, np.uint8)))


def jpeg_ls_streams(streams):
    for rows, columns in SIZES:
        for bits in range(2, 17):
            pixels = picture(rows, columns, bits, 1)
            pixels.flat[-1] = 2**bits - 1  # CharLS takes the depth from the largest value.
            for near in range(0, 4):
                if near > (2**bits - 1) // 2:
                    continue
                # pyjpegls has no room for what little pictures become.
                if pixels.size < 100:
                    stream = codec_encoders.jpeg_ls(pixels, bits, near, (0, 0, 0, 0, 0), 0)
                else:
                    stream = bytes(jpeg_ls.encode_array(pixels, lossy_error=near))
                decoded = charls(stream).reshape(pixels.shape)
                name = f"JPEG-LS {rows}x{columns} {bits} bit near {near}"
                if near == 0:
                    same(decoded, pixels, name)
                same(libjpeg.decode(stream), decoded, name)
                streams.add(name, JLS_NEAR if near else JLS, stream, decoded.astype(pixels.dtype), bits=bits)
    for bits in (12, 16):
        pixels = picture(37, 53, bits, is_signed=True)
        codes = raw(pixels) & (2**bits - 1)
        codes.flat[0] = 2**bits - 1
        pixels.flat[0] = -1
        stream = jpeg_ls.encode_array(codes)
        streams.add(f"JPEG-LS signed {bits} bit", JLS, stream, pixels, bits=bits)
        streams.add(f"JPEG-LS with padding {bits}", JLS, bytes(stream) + b"\0", pixels, bits=bits)
    for bits, near, presets, lines in [
        (12, 0, (0, 0, 0, 0, 0), 4), (12, 0, (4095, 5, 20, 100, 31), 0), (8, 2, (200, 6, 9, 30, 255), 7),
        (16, 0, (40000, 100, 1000, 5000, 3), 1), (16, 40, (0, 0, 0, 0, 1000), 0), (16, 255, (0, 0, 0, 0, 0), 0),
        (2, 0, (0, 0, 0, 0, 0), 3), (5, 1, (30, 3, 4, 5, 64), 0),
    ]:  # fmt: skip
        pixels = np.minimum(picture(37, 53, bits, 2), presets[0] or 2**bits - 1)
        stream = codec_encoders.jpeg_ls(pixels, bits, near, presets, lines)
        # CharLS knows no MAXVAL but the precision's; Richter's libjpeg does.
        decoded = libjpeg.decode(stream) if presets[0] not in (0, 2**bits - 1) else charls(stream)
        decoded = decoded.reshape(pixels.shape)
        name = f"JPEG-LS {bits} bit near {near} presets {presets} restarts {lines}"
        if np.abs(decoded.astype(int) - pixels.astype(int)).max() > near:
            raise AssertionError(f"{name}: its decoder does not know it")
        streams.add(name, JLS_NEAR if near else JLS, stream, decoded.astype(pixels.dtype), bits=bits)


def jpeg_2000(streams):
    for rows, columns in [*SIZES, (200, 130)]:
        for bits, is_signed in [(8, False), (8, True), (10, False), (12, False), (12, True), (16, False), (16, True)]:
            pixels = picture(rows, columns, bits, is_signed=is_signed)
            kind = f"{rows}x{columns} {bits} bit signed {is_signed}"
            for container in ("j2k", "jp2"):
                stream = imagecodecs.jpeg2k_encode(
                    pixels, level=0, codecformat=container, reversible=True, bitspersample=bits
                )
                name = f"JPEG 2000 {kind} {container}"
                same(imagecodecs.jpeg2k_decode(stream), pixels, name)
                streams.add(name, J2K, stream, pixels, bits=bits)
            streams.add(f"JPEG 2000 {kind} with padding", J2K, bytes(stream) + b"\0", pixels, bits=bits)
            for level in (30, 45, 70):
                stream = imagecodecs.jpeg2k_encode(
                    pixels, level=level, codecformat="j2k", reversible=False, bitspersample=bits
                )
                decoded = imagecodecs.jpeg2k_decode(stream)
                streams.add(f"JPEG 2000 {kind} level {level}", J2K_LOSSY, stream, decoded, bits=bits, tolerance=1)
    # Signed numbers in a stream that says unsigned, as some writers leave them; 16 bits in the stream for 12 in the header.
    pixels = picture(37, 53, 12, is_signed=True)
    codes = raw(pixels) & 4095
    stream = imagecodecs.jpeg2k_encode(codes, level=0, codecformat="j2k", reversible=True, bitspersample=12)
    streams.add("JPEG 2000 unsigned stream of signed pixels", J2K, stream, pixels, bits=12)
    stream = imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k", reversible=True, bitspersample=12)
    streams.add("JPEG 2000 signed stream of unsigned pixels", J2K, stream, codes, bits=12)
    stream = imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k", reversible=True, bitspersample=16)
    streams.add("JPEG 2000 16 bit signed stream of 12 bits", J2K, stream, pixels, bits=12)
    for order in ("LRCP", "RLCP", "RPCL", "PCRL", "CPRL"):
        for bits in (8, 16):
            for number, options in enumerate(PILLOW_OPTIONS):
                pixels = picture(150, 201, bits, number)
                file = io.BytesIO()
                mode = Image.fromarray(pixels)
                mode.save(file, "jpeg2000", no_jp2=True, progression=order, **options)
                decoded = imagecodecs.jpeg2k_decode(file.getvalue())
                name = f"JPEG 2000 {bits} bit {order} {options}"
                streams.add(name, J2K_LOSSY, file.getvalue(), decoded, bits=bits, tolerance=int("irreversible" in options))


PILLOW_OPTIONS = [
    {"tile_size": (64, 50)},
    {"tile_size": (101, 150), "tile_offset": (0, 0), "num_resolutions": 2},
    {"precinct_size": (64, 64), "codeblock_size": (16, 32)},
    {"num_resolutions": 1, "codeblock_size": (4, 64)},
    {"quality_mode": "rates", "quality_layers": [40, 15, 5], "tile_size": (128, 128)},
    {"quality_mode": "dB", "quality_layers": [30, 40, 60], "irreversible": True, "precinct_size": (32, 32), "codeblock_size": (16, 16)},
]


def high_throughput(streams):
    for rows, columns in [*SIZES, (200, 130)]:
        for bits, is_signed in [(8, False), (8, True), (10, False), (12, False), (12, True), (16, False), (16, True)]:
            pixels = picture(rows, columns, bits, is_signed=is_signed)
            kind = f"{rows}x{columns} {bits} bit signed {is_signed}"
            for options in ({}, {"resolutions": 2}, {"tile": (32, 48)}):
                if options.get("tile") and min(rows, columns) < 30:
                    continue
                stream = imagecodecs.htj2k_encode(pixels, reversible=True, **options)
                name = f"HTJ2K {kind} {options}"
                same(imagecodecs.htj2k_decode(stream), pixels, name)
                same(imagecodecs.jpeg2k_decode(stream), pixels, name)
                streams.add(name, HTJ2K_RPCL if options else HTJ2K, stream, pixels, bits=bits)
            for level in (0.0005, 0.01):
                stream = imagecodecs.htj2k_encode(pixels, level=level, reversible=False)
                decoded = imagecodecs.jpeg2k_decode(stream)
                # OpenJPEG and OpenJPH differ by up to 2 of 65535 themselves.
                streams.add(
                    f"HTJ2K {kind} level {level}", HTJ2K_LOSSY, stream, decoded, bits=bits, tolerance=1 if bits < 16 else 2
                )


def main(out):
    out.mkdir(parents=True, exist_ok=True)
    streams = Streams(out)
    for part in (rle, lossy_jpeg, lossless_jpeg, jpeg_ls_streams, jpeg_2000, high_throughput):
        part(streams)
    (out / "index.json").write_text(json.dumps(streams.index))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
