//! NIfTI-1 and -2 headers without text: descrip, aux_file, intent_name, db_name and the unused fields are cleared, extensions and
//! what follows the voxels are dropped. Sizes, scaling, affines and voxels stay byte for byte.

use super::DeidentifyError;

/// Where the fields of a header lie: NIfTI-1 (nifti1.h) and NIfTI-2 (nifti2.h).
struct Format {
    header_bytes: usize,
    texts: &'static [std::ops::Range<usize>],
}

/// data_type, db_name, extents, session_error, regular; descrip and aux_file; intent_name.
const FIRST: Format = Format { header_bytes: 348, texts: &[4..39, 148..252, 328..344] };
/// descrip and aux_file; intent_name; unused_str.
const SECOND: Format = Format { header_bytes: 540, texts: &[240..344, 508..524, 525..540] };
/// After the header, says whether extensions follow.
const EXTENDER_BYTES: usize = 4;

/// A header, read far enough to clean its file.
struct Header {
    format: &'static Format,
    is_big: bool,
}

impl Header {
    fn of(bytes: &[u8]) -> Result<Self, DeidentifyError> {
        let size = bytes.first_chunk::<4>().ok_or(DeidentifyError::Damaged)?;
        let known = |size: u32| match size {
            348 => Some(&FIRST),
            540 => Some(&SECOND),
            _ => None,
        };
        let (little, big) = (u32::from_le_bytes(*size), u32::from_be_bytes(*size));
        let format = known(little).or_else(|| known(big)).ok_or(DeidentifyError::Damaged)?;
        if bytes.len() < format.header_bytes {
            return Err(DeidentifyError::Damaged);
        }
        Ok(Self { format, is_big: known(little).is_none() })
    }

    fn is_first(&self) -> bool {
        self.format.header_bytes == FIRST.header_bytes
    }

    fn take<const N: usize>(&self, bytes: &[u8], at: usize) -> Result<[u8; N], DeidentifyError> {
        let found = bytes.get(at..at + N).and_then(|found| <[u8; N]>::try_from(found).ok());
        let mut found = found.ok_or(DeidentifyError::Damaged)?;
        if self.is_big {
            found.reverse();
        }
        Ok(found)
    }

    /// Bytes of all voxels, from dim and bitpix.
    fn voxel_bytes(&self, bytes: &[u8]) -> Result<usize, DeidentifyError> {
        let dim = |axis: usize| -> Result<i64, DeidentifyError> {
            if self.is_first() {
                Ok(i64::from(i16::from_le_bytes(self.take(bytes, 40 + 2 * axis)?)))
            } else {
                Ok(i64::from_le_bytes(self.take(bytes, 16 + 8 * axis)?))
            }
        };
        let axes = usize::try_from(dim(0)?).ok().filter(|axes| (1..=7).contains(axes));
        let bits = u16::from_le_bytes(self.take(bytes, if self.is_first() { 72 } else { 14 })?);
        let mut count = usize::from(bits / 8);
        for axis in 1..=axes.ok_or(DeidentifyError::Damaged)? {
            let size = usize::try_from(dim(axis)?).map_err(|_| DeidentifyError::Damaged)?;
            // A size of 0 along an axis that is not used is read as 1 by most programs.
            count = count.checked_mul(size.max(1)).ok_or(DeidentifyError::Damaged)?;
        }
        Ok(count)
    }

    fn voxel_offset(&self, bytes: &[u8]) -> Result<usize, DeidentifyError> {
        if self.is_first() {
            let offset = f32::from_le_bytes(self.take(bytes, 108)?);
            let is_offset = offset.is_finite() && (0.0..1e9).contains(&offset);
            return if is_offset { Ok(offset as usize) } else { Err(DeidentifyError::Damaged) };
        }
        let offset = i64::from_le_bytes(self.take(bytes, 168)?);
        usize::try_from(offset).map_err(|_| DeidentifyError::Damaged)
    }

    /// The header alone, with its texts cleared and `voxel_offset` in it.
    fn cleaned(&self, bytes: &[u8], voxel_offset: usize) -> Result<Vec<u8>, DeidentifyError> {
        let mut header = bytes.get(..self.format.header_bytes).ok_or(DeidentifyError::Damaged)?.to_vec();
        for text in self.format.texts {
            header[text.clone()].fill(0);
        }
        let mut put = |at: usize, mut value: Vec<u8>| {
            if self.is_big {
                value.reverse();
            }
            header[at..at + value.len()].copy_from_slice(&value);
        };
        if self.is_first() {
            put(108, (voxel_offset as f32).to_le_bytes().to_vec());
            // `r`, as ANALYZE readers expect.
            put(38, vec![b'r']);
        } else {
            put(168, (voxel_offset as u64).to_le_bytes().to_vec());
        }
        Ok(header)
    }
}

/// A header and its voxels in one file.
///
/// # Errors
/// [`DeidentifyError::Damaged`] for a header that is none, or fewer voxels than it says.
pub fn single(bytes: &[u8]) -> Result<Vec<u8>, DeidentifyError> {
    let header = Header::of(bytes)?;
    let (start, count) = (header.voxel_offset(bytes)?, header.voxel_bytes(bytes)?);
    let end = start.checked_add(count).ok_or(DeidentifyError::Damaged)?;
    let voxels = bytes.get(start..end).ok_or(DeidentifyError::Damaged)?;
    let offset = header.format.header_bytes + EXTENDER_BYTES;
    let mut file = header.cleaned(bytes, offset)?;
    file.extend([0; EXTENDER_BYTES]);
    file.extend(voxels);
    Ok(file)
}

/// The halves of a `.hdr` + `.img` pair.
///
/// # Errors
/// [`DeidentifyError::Damaged`] as for [`single`].
pub fn pair(header_bytes: &[u8], voxels: &[u8]) -> Result<(Vec<u8>, Vec<u8>), DeidentifyError> {
    let header = Header::of(header_bytes)?;
    let (start, count) = (header.voxel_offset(header_bytes)?, header.voxel_bytes(header_bytes)?);
    let end = start.checked_add(count).ok_or(DeidentifyError::Damaged)?;
    // Readers differ on whether an offset counts in a pair; what lies before the voxels is cleared, not dropped.
    let mut kept = voxels.get(..end.min(voxels.len())).unwrap_or_default().to_vec();
    if kept.len() < count {
        return Err(DeidentifyError::Damaged);
    }
    let before = start.min(kept.len() - count);
    kept[..before].fill(0);
    Ok((header.cleaned(header_bytes, start)?, kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Offsets by hand from nifti1.h: dim at 40, bitpix at 72, vox_offset at 108, descrip at 148, magic at 344.
    fn file(is_big: bool) -> Vec<u8> {
        let mut bytes = vec![0_u8; 348];
        let order = |mut value: Vec<u8>| {
            if is_big {
                value.reverse();
            }
            value
        };
        let mut put = |at: usize, value: Vec<u8>| bytes[at..at + value.len()].copy_from_slice(&value);
        put(0, order(348_u32.to_le_bytes().to_vec()));
        for (axis, size) in [3_i16, 2, 3, 1].into_iter().enumerate() {
            put(40 + 2 * axis, order(size.to_le_bytes().to_vec()));
        }
        put(72, order(16_i16.to_le_bytes().to_vec()));
        put(108, order(368_f32.to_le_bytes().to_vec()));
        put(14, b"DOE^JANE".to_vec());
        put(148, b"Jane Doe 1962".to_vec());
        put(344, b"n+1\0".to_vec());
        // One extension of 16 bytes: size, code 6 (comment), text.
        bytes.extend([1, 0, 0, 0]);
        bytes.extend(order(16_u32.to_le_bytes().to_vec()));
        bytes.extend(order(6_u32.to_le_bytes().to_vec()));
        bytes.extend(b"DOE JANE");
        bytes.extend(1..=12);
        bytes.extend(b"DOE after the voxels");
        bytes
    }

    #[test]
    fn texts_extensions_and_the_tail_are_gone_and_the_voxels_stay() {
        for is_big in [false, true] {
            let cleaned = single(&file(is_big)).unwrap();
            assert!(!cleaned.windows(3).any(|found| found.eq_ignore_ascii_case(b"doe")), "{is_big}");
            assert_eq!(cleaned.len(), 352 + 12);
            assert_eq!(cleaned[352..], (1..=12).collect::<Vec<u8>>());
            let offset = [cleaned[108], cleaned[109], cleaned[110], cleaned[111]];
            assert_eq!(if is_big { f32::from_be_bytes(offset) } else { f32::from_le_bytes(offset) }, 352.0);
            assert_eq!(cleaned[344..348], *b"n+1\0");
        }
    }

    #[test]
    fn files_that_lie_about_their_size_are_errors() {
        let mut short = file(false);
        short.truncate(372);
        assert_eq!(single(&short), Err(DeidentifyError::Damaged));
        let mut huge = file(false);
        for axis in 0..7 {
            huge[40 + 2 * axis..42 + 2 * axis].copy_from_slice(&if axis == 0 { [7, 0] } else { [0xff, 0x7f] });
        }
        assert_eq!(single(&huge), Err(DeidentifyError::Damaged));
        assert_eq!(single(b"short"), Err(DeidentifyError::Damaged));
    }
}
