//! Small streams of other people's encoders, whole and damaged. The many large ones are in the integration test.

use proptest::prelude::*;

use super::*;

/// 9 x 11 pixels of 12 bits.
const SHAPE: FrameShape = FrameShape { rows: 9, columns: 11, bytes_per_pixel: 2, bits_stored: 12, is_signed: false };

/// libjpeg-turbo 3.1, predictor 6, of [`textured`].
const LOSSLESS: &str = "ffd8ffe000104a46494600010100000100010000ffc3000b0c0009000b01011100ffc4001a0000030101010100000000000000000000\
    070809060c050affda0008010100060000e7ff002d96cb65b2d96cb65b2d96f4bef68f53aeda6e77e442513cde4324138a6592f190d26f3a37268369ccf07e60\
    d896399466681b1ac9330ceb46d435cd9b72df54d6c9b76f5c2721cd74dd8779e3b2eebbb8f13cef6be4fc3fb40e845e17f280d07a1944a8bd1da454a296fd15\
    d21a4d4b298d37a7950aa3d4de151fffd9";
/// OpenJPEG 2.5.4, reversible, two resolutions, of [`textured`].
const JPEG_2000: &str = "ff4fff51002900000000000b0000000900000000000000000000000b00000009000000000000000000010b0101ff52000c000000010000\
    04040001ff5c00044060ff640025000143726561746564206279204f70656e4a5045472076657273696f6e20322e352e34ff90000a0000000000980001ff93df\
    e21c1231f711f67da1d66b65c52ec84566169edbf9331c2c4ff0c451dc9c2b82636c9aa07a80cdc414a53c97c9111a93b67bfbc374a14e059c7b100b5ab6bf0d\
    044d9ff21c3032aad22e1fcfe08e1f0491be05d36d824a1115eefe83a892c4516021646598fa953116574d11e63a349728f203d6d409be75305cbfcc05303e86\
    c2cd2041fa4cfd1fbfffd9";
/// OpenJPH 0.26, reversible, two resolutions, of [`textured`]; 16 bits in the stream.
const HIGH_THROUGHPUT: &str = "ff4fff51002940000000000b0000000900000000000000000000000b00000009000000000000000000010f0101ff5000080002000000\
    0aff52000c00020001000204044001ff5c000a2088909090888888ff64001700014f70656e4a50482056657220302e32362e332eff90000a0000000000930001\
    ff93c0002da0b70017fcdffdcff7abfa57f98dfb377a82fc284bcd0900fb3800c00015f00005640001525e2d9afd67f60030802e3184f7d900274f4ece4f2c00\
    21017f36007eff7e0020006fd600c0002aa00016fc000260ff7ef7f20187f0c2770049329924499224499224c96492244992842425817600225eb2e106e431ba\
    00ff7ff1427400ffd9";
/// libjpeg-turbo 3.1, 12 bits, quality 90, of [`smooth`]; it decodes this to within 1 of it.
const EXTENDED: &str = "ffd8ffe000104a46494600010100000100010000ffdb0043000302020302020303030304030304050805050404050a070706080c0a0c0c\
    0b0a0b0b0d0e12100d0e110e0b0b1016101113141515150c0f171816141812141514ffc1000b0c0009000b01011100ffc4001600010101000000000000000000\
    000000000a090cffc40025100000020709000000000000000000000000010607090a27446136374653717483b1c1ffda0008010100003f00caaec3771c2cfc3f\
    cb94d28198a9c71c2182390fe54a52a7415fd86f87f8fc0cc54e5d8239b52ecc7fffd9";
/// `codec_encoders.py`, which CharLS 2.4.3 decodes to the picture below: with preset parameters, and run mode.
const JPEG_LS: &str = "ffd8fff7000b080004000401011100fff8000d0100ff000900090009001fffda0008010100000000c000006c80208e01c0000057400000\
    6ee6000001bc19e400009030ffd9";
const JPEG_LS_SHAPE: FrameShape =
    FrameShape { rows: 4, columns: 4, bytes_per_pixel: 1, bits_stored: 8, is_signed: false };

fn bytes(hexadecimal: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(hexadecimal.as_bytes()).unwrap()
}

/// The same picture that the encoders were given.
fn textured() -> Vec<u16> {
    let value = |row: u16, column: u16| (37 * row * row + 91 * column + 11 * row * column) % 4096;
    (0..9).flat_map(|row| (0..11).map(move |column| value(row, column))).collect()
}

fn smooth() -> Vec<u16> {
    (0..9).flat_map(|row| (0..11).map(move |column| 500 + 100 * row + 50 * column)).collect()
}

fn words(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]])).collect()
}

/// By hand: a repeated and a literal run a segment, with a byte that does nothing and one of padding.
fn run_lengths() -> Vec<u8> {
    let mut stream = Vec::new();
    for number in [2_u32, 64, 66].into_iter().chain([0; 13]) {
        stream.extend(number.to_le_bytes());
    }
    // High bytes: four times 1. Low bytes: 7, 8, 9, 9.
    stream.extend([253, 1, 128, 1, 7, 8, 255, 9, 0]);
    stream
}

#[test]
fn run_lengths_are_joined_from_byte_planes() {
    let shape = FrameShape { rows: 2, columns: 2, bytes_per_pixel: 2, bits_stored: 16, is_signed: true };
    let decoded = decode(Codec::Rle, &run_lengths(), &shape).unwrap();
    assert_eq!(words(&decoded), [0x107, 0x108, 0x109, 0x109]);
    for length in 0..run_lengths().len() - 1 {
        assert!(decode(Codec::Rle, &run_lengths()[..length], &shape).is_err(), "cut to {length}");
    }
}

#[test]
fn lossless_streams_give_back_the_picture_that_went_in() {
    let streams = [
        (Codec::JpegLossless, LOSSLESS),
        (Codec::Jpeg2000, JPEG_2000),
        (Codec::HighThroughputJpeg2000, HIGH_THROUGHPUT),
    ];
    for (codec, stream) in streams {
        // DICOM pads streams to an even length.
        for padding in [&b""[..], b"\0"] {
            let decoded = decode(codec, &[&bytes(stream), padding].concat(), &SHAPE);
            assert_eq!(decoded.map(|bytes| words(&bytes)), Ok(textured()), "{}", codec.name());
        }
    }
}

#[test]
fn twelve_bit_jpeg_is_within_a_grey_level() {
    let decoded = words(&decode(Codec::JpegExtended, &bytes(EXTENDED), &SHAPE).unwrap());
    for (ours, original) in decoded.into_iter().zip(smooth()) {
        // libjpeg-turbo's own differ by 1 from the original, ours by 1 from those.
        assert!(ours.abs_diff(original) <= 2, "{ours} {original}");
    }
}

#[test]
fn jpeg_ls_with_presets_and_runs_is_decoded() {
    let picture = [0, 0, 90, 74, 68, 50, 43, 205, 64, 145, 145, 145, 100, 145, 145, 145];
    assert_eq!(decode(Codec::JpegLs, &bytes(JPEG_LS), &JPEG_LS_SHAPE), Ok(picture.to_vec()));
}

#[test]
fn a_stream_of_another_size_or_depth_than_the_header_is_refused_before_decoding() {
    for (codec, stream) in
        [(Codec::JpegLossless, LOSSLESS), (Codec::JpegExtended, EXTENDED), (Codec::Jpeg2000, JPEG_2000)]
    {
        let other = FrameShape { rows: 10, ..SHAPE };
        let found = decode(codec, &bytes(stream), &other);
        assert_eq!(found, Err(CodecError::Size { found_rows: 9, found_columns: 11, rows: 10, columns: 11 }));
        let narrow = FrameShape { bytes_per_pixel: 1, ..SHAPE };
        assert_eq!(decode(codec, &bytes(stream), &narrow), Err(CodecError::Depth { precision: 12, bits: 8 }));
    }
    let giant = FrameShape { rows: u32::MAX, columns: u32::MAX, ..SHAPE };
    assert!(matches!(decode(Codec::Rle, &run_lengths(), &giant), Err(CodecError::Shape { .. })));
}

/// A 12-bit JPEG-LS or JPEG 2000 stream knows no 16-bit sign; JPEG's bits stay as they are.
#[test]
fn the_sign_is_extended_where_the_standard_defines_it() {
    let signed = FrameShape { is_signed: true, ..SHAPE };
    let extended: Vec<u16> =
        textured().iter().map(|value| if *value >= 2048 { value | 0xF000 } else { *value }).collect();
    assert_eq!(words(&decode(Codec::Jpeg2000, &bytes(JPEG_2000), &signed).unwrap()), extended);
    assert_eq!(words(&decode(Codec::JpegLossless, &bytes(LOSSLESS), &signed).unwrap()), textured());
    assert!(extended != textured());
}

#[test]
fn transfer_syntaxes_are_told_apart() {
    assert_eq!(Codec::of("1.2.840.10008.1.2.4.70"), Some(Codec::JpegLossless));
    assert_eq!(Codec::of("1.2.840.10008.1.2.4.202"), Some(Codec::HighThroughputJpeg2000));
    // Explicit little endian, MPEG-4, a longer one.
    for other in ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.5.1", "", "5"] {
        assert_eq!(Codec::of(other), None);
    }
    assert!(Codec::is_lossless("1.2.840.10008.1.2.4.80") && !Codec::is_lossless("1.2.840.10008.1.2.4.81"));
    assert!(!Codec::is_lossless("1.2.840.10008.1.2.4.91") && !Codec::is_lossless(""));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever the bytes: an error, or a frame of the right length; never a panic.
    #[test]
    fn damaged_streams_are_errors_or_frames(
        which in 0_usize..6,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let runs = FrameShape { rows: 2, columns: 2, bits_stored: 16, ..SHAPE };
        let (codec, mut stream, shape) = match which {
            0 => (Codec::Rle, run_lengths(), runs),
            1 => (Codec::JpegLossless, bytes(LOSSLESS), SHAPE),
            2 => (Codec::JpegExtended, bytes(EXTENDED), SHAPE),
            3 => (Codec::JpegLs, bytes(JPEG_LS), JPEG_LS_SHAPE),
            4 => (Codec::Jpeg2000, bytes(JPEG_2000), SHAPE),
            _ => (Codec::HighThroughputJpeg2000, bytes(HIGH_THROUGHPUT), SHAPE),
        };
        for (place, value) in changes {
            let place = place.index(stream.len());
            stream[place] = value;
        }
        if let Some(length) = cut {
            stream.truncate(length.index(stream.len()));
        }
        match decode(codec, &stream, &shape) {
            Ok(decoded) => {
                prop_assert_eq!(decoded.len(), shape.pixels().unwrap() * shape.bytes_per_pixel);
            }
            // The crate for JPEG 2000 panics on some damage, which is caught; our own decoders never do.
            Err(error) => {
                let has_panicked = matches!(error, CodecError::Panicked { .. });
                prop_assert!(which >= 4 || !has_panicked);
            }
        }
    }

    #[test]
    fn noise_is_refused(stream in proptest::collection::vec(any::<u8>(), 0..300)) {
        for codec in [Codec::Rle, Codec::JpegBaseline, Codec::JpegLs, Codec::Jpeg2000] {
            prop_assert!(decode(codec, &stream, &SHAPE).is_err());
        }
    }
}
