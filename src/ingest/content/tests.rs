use std::io::Write;
use std::path::Path;

use super::unpack::Packing;
use super::*;
use crate::fsx;

fn zip_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    for (name, bytes) in members {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn tar_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn read(opener: &Opener, path: &Path) -> Vec<u8> {
    let content = opener.open_unpacked(path).unwrap();
    content.start(1 << 20).unwrap()
}

#[test]
fn members_of_nested_archives_are_read_by_their_path() {
    let folder = tempfile::tempdir().unwrap();
    let long = format!("{}/scan.dcm", "longfolder/".repeat(20));
    let tar = tar_of(&[("a!/scan", b"in a folder that ends in a mark"), (&long, b"long")]);
    let zip = zip_of(&[("day.tar.gz", &gzip(&tar)), ("Größe/x", b"plain"), ("y.gz", &gzip(b"packed"))]);
    let path = folder.path().join("all.zip");
    fsx::write_atomic(&path, &zip).unwrap();
    let opener = Opener::new();
    let inner = member_path(&path, "day.tar.gz");
    assert_eq!(read(&opener, &member_path(&inner, "a!/scan")), b"in a folder that ends in a mark");
    assert_eq!(read(&opener, &member_path(&inner, &long)), b"long");
    assert_eq!(read(&opener, &member_path(&path, "Größe/x")), b"plain");
    assert_eq!(read(&opener, &member_path(&path, "y.gz")), b"packed");
    assert!(matches!(opener.open(&member_path(&path, "../x")), Err(ContentError::Gone)));
}

/// A zip in a gzip and a tar in a zstd, in each other: each is an archive like any other. The zstd frame by hand (RFC 8878): magic,
/// one segment with its size in four bytes, one raw block that is the last.
#[test]
fn archives_in_a_packing_are_opened() {
    let zstd = |bytes: &[u8]| {
        let size = u32::try_from(bytes.len()).unwrap();
        let block = (size << 3 | 1).to_le_bytes();
        [&[0x28, 0xb5, 0x2f, 0xfd, 0xa0][..], &size.to_le_bytes(), &block[..3], bytes].concat()
    };
    let folder = tempfile::tempdir().unwrap();
    let zip = gzip(&zip_of(&[("a/b.dcm", b"deep")]));
    let tar = zstd(&tar_of(&[("day.zip.gz", &zip)]));
    let path = folder.path().join("week.zip.gz");
    fsx::write_atomic(&path, &gzip(&zip_of(&[("week.tar.zst", &tar), ("x", b"plain")]))).unwrap();
    let kind = |bytes: &[u8]| Peeked::of(&Content::Memory(bytes.into()), 512).unwrap().archive;
    assert_eq!(kind(&zip), Some(Kind::Zip(Some(Packing::Gzip))));
    assert_eq!(kind(&tar), Some(Kind::Tar(Some(Packing::Zstd))));
    let opener = Opener::new();
    assert_eq!(read(&opener, &member_path(&path, "x")), b"plain");
    let day = member_path(&member_path(&path, "week.tar.zst"), "day.zip.gz");
    assert_eq!(read(&opener, &member_path(&day, "a/b.dcm")), b"deep");
}

#[test]
fn a_bomb_is_refused_and_a_damaged_stream_is_named() {
    let zeros = gzip(&vec![0; 300 << 20]);
    let cap = unpack::expansion_cap(zeros.len() as u64);
    assert!(cap > 300 << 20, "a single stream of this size is allowed");
    let twice = gzip(&gzip(&vec![0; 1 << 20]));
    let content = Content::Memory(twice.clone().into());
    assert_eq!(Packing::of(&content.start(8).unwrap()), Some(Packing::Gzip));
    let packed = Content::Memory(zeros.into());
    assert!(matches!(
        unpack::keep(Packing::Gzip.stream(&packed).unwrap(), 1 << 20, "gzip"),
        Err(ContentError::Bomb { .. })
    ));
    let whole = unpack::whole(Packing::Gzip, &packed).unwrap();
    assert!(matches!(whole, Content::Part { .. }), "large ones leave memory");
    assert_eq!(whole.bytes(), 300 << 20);
    let cut = Content::Memory(twice[..twice.len() - 9].into());
    assert!(matches!(unpack::whole(Packing::Gzip, &cut), Err(ContentError::Damaged { .. })));
}

#[test]
fn one_name_twice_is_two_members() {
    let tar = tar_of(&[("a", b"one"), ("a", b"two")]);
    let archive = Archive::open(Kind::Tar(None), &Content::Memory(tar.into())).unwrap();
    assert_eq!(archive.names(), ["a", "a#1"]);
    assert_eq!(archive.named("a#1").unwrap().start(9).unwrap(), b"two");
}

#[test]
fn a_name_made_for_a_second_member_is_never_anothers() {
    let members: [(&str, &[u8]); 5] = [("a#2", b"0"), ("a", b"1"), ("a", b"2"), ("a#2#", b"3"), ("a#2", b"4")];
    let archive = Archive::open(Kind::Tar(None), &Content::Memory(tar_of(&members).into())).unwrap();
    assert_eq!(archive.names(), ["a#2", "a", "a#2##", "a#2#", "a#2#4"]);
    for (name, (_, bytes)) in archive.names().iter().zip(members) {
        assert_eq!(archive.named(name).unwrap().start(9).unwrap(), bytes);
    }
}

#[test]
fn a_tar_that_was_cut_off_is_damaged() {
    let tar = tar_of(&[("a", &[7; 2000])]);
    let cut = Content::Memory(tar[..1500].into());
    assert!(matches!(Archive::open(Kind::Tar(None), &cut), Err(ContentError::Damaged { kind: "tar", .. })));
}
