//! Weights that PyTorch wrote: the `.pth` and `.pt` files of `torch.save`, new (zip) and old, and TorchScript archives.
//!
//! Such files hold a pickle, which may ask for any function to be called. Here none is: [`pickle`] reads it as data, [`tensors`] finds the
//! tensors in it, and their bytes are copied. Code of a TorchScript archive is not looked at either.

mod pickle;
mod tensors;

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use crate::failure::Classify;
use pickle::Pickle;
pub use tensors::Dtype;
use tensors::View;

/// A pickle without its tensors' values is some 100 KB.
const PICKLE_CAP_BYTES: u64 = 64 << 20;
/// How often the tensors of a file may hold its bytes: tied weights are named twice.
const MOST_COPIES: usize = 4;
/// The number at the start of an old file, as `torch.save` pickled it.
const OLD_START: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// Why a file is no state dict.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateDictError {
    /// Neither a zip of torch nor its old format.
    #[error("`{}`: not weights written by torch.save or TorchScript", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
    },
    /// Damaged, or of a kind that is not read.
    #[error("`{}`: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A tensor that does not fit its file.
    #[error("`{}`: the tensor `{name}` {reason}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

impl Classify for StateDictError {}

/// A tensor's elements in order (the last index runs fastest), little-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawTensor {
    /// Type of the elements.
    pub dtype: Dtype,
    /// Shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// The elements.
    pub bytes: Vec<u8>,
}

/// Whether bytes start as a file of `torch.save` or TorchScript does.
pub fn is_torch(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(OLD_START)
}

/// The tensors of a file's `bytes` by dotted name; `path` is for messages. The `module.` of data-parallel training is taken off.
///
/// # Errors
/// [`StateDictError`].
pub fn read(bytes: &[u8], path: &Path) -> Result<BTreeMap<String, RawTensor>, StateDictError> {
    let reading = Reading { bytes, path };
    let found = if bytes.starts_with(OLD_START) {
        reading.old()?
    } else if bytes.starts_with(b"PK\x03\x04") {
        reading.zip()?
    } else {
        return Err(StateDictError::Unknown { path: path.to_path_buf() });
    };
    let parallel = found.keys().all(|name| name.starts_with("module."));
    let name = |name: String| if parallel { name["module.".len()..].to_owned() } else { name };
    Ok(found.into_iter().map(|(key, tensor)| (name(key), tensor)).collect())
}

/// An extra file of a TorchScript archive; `None` where there is none that can be read.
pub fn extra_file(bytes: &[u8], path: &Path, name: &str) -> Option<Vec<u8>> {
    let reading = Reading { bytes, path };
    let mut archive = Archive::new(Cursor::new(bytes)).ok()?;
    let root = root(&archive)?;
    reading.member(&mut archive, &format!("{root}/extra/{name}"), PICKLE_CAP_BYTES).ok()
}

/// The folder of a zip of torch.
fn root(archive: &Archive<'_>) -> Option<String> {
    archive.file_names().flatten().find_map(|name| Some(name.strip_suffix("/data.pkl")?.to_owned()))
}

struct Reading<'a> {
    bytes: &'a [u8],
    path: &'a Path,
}

type Archive<'a> = zip::ZipArchive<Cursor<&'a [u8]>>;

impl<'a> Reading<'a> {
    fn damaged(&self, reason: impl ToString) -> StateDictError {
        StateDictError::Damaged { path: self.path.to_path_buf(), reason: reason.to_string() }
    }

    fn pickle(&self, bytes: &[u8]) -> Result<Pickle, StateDictError> {
        pickle::read(bytes).map_err(|wrong| self.damaged(format!("its pickle at byte {}: {}", wrong.at, wrong.reason)))
    }

    /// The tensors of a pickle from its storages.
    fn gather(
        &self,
        pickle: &Pickle,
        mut storage: impl FnMut(&View) -> Result<Vec<u8>, StateDictError>,
    ) -> Result<BTreeMap<String, RawTensor>, StateDictError> {
        let wrong = |name: &str, reason: String| {
            let (path, name) = (self.path.to_path_buf(), name.to_owned());
            StateDictError::Tensor { path, name, reason }
        };
        let views = tensors::views(pickle).map_err(|(name, reason)| wrong(&name, reason))?;
        let mut budget = self.bytes.len().saturating_mul(MOST_COPIES);
        let mut spend = |bytes: Option<usize>| -> Option<()> {
            budget = budget.checked_sub(bytes?)?;
            Some(())
        };
        let mut storages: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        let mut found = BTreeMap::new();
        for (name, view) in &views {
            let sizes = [view.elements, view.count()].map(|elements| elements.checked_mul(view.dtype.bytes()));
            let is_new = !storages.contains_key(view.storage.as_str());
            if spend(sizes[1]).is_none() || (is_new && spend(sizes[0]).is_none()) {
                return Err(wrong(name, "is larger than the file".to_owned()));
            }
            if is_new {
                storages.insert(&view.storage, storage(view)?);
            }
            let bytes = elements(view, &storages[view.storage.as_str()])
                .ok_or_else(|| wrong(name, "lies beyond its storage".to_owned()))?;
            found.insert(name.clone(), RawTensor { dtype: view.dtype, shape: view.shape.clone(), bytes });
        }
        if found.is_empty() {
            return Err(self.damaged("it holds no tensor by name"));
        }
        Ok(found)
    }

    /// `torch.save` since 1.6, and TorchScript: a zip with `NAME/data.pkl` and `NAME/data/KEY`.
    fn zip(&self) -> Result<BTreeMap<String, RawTensor>, StateDictError> {
        let mut archive = Archive::new(Cursor::new(self.bytes)).map_err(|error| self.damaged(error))?;
        let root = root(&archive).ok_or_else(|| StateDictError::Unknown { path: self.path.to_path_buf() })?;
        if archive.index_for_name(&format!("{root}/byteorder")).is_some() {
            let order = self.member(&mut archive, &format!("{root}/byteorder"), 16)?;
            if !order.starts_with(b"little") {
                return Err(self.damaged("it was written on a big-endian machine"));
            }
        }
        let pickled = self.member(&mut archive, &format!("{root}/data.pkl"), PICKLE_CAP_BYTES)?;
        let pickle = self.pickle(&pickled)?;
        self.gather(&pickle, |view| {
            self.member(&mut archive, &format!("{root}/data/{}", view.storage), self.bytes.len() as u64)
        })
    }

    /// A member of at most `cap_bytes`. torch stores without compression, so no member can grow beyond the file.
    fn member(&self, archive: &mut Archive<'a>, name: &str, cap_bytes: u64) -> Result<Vec<u8>, StateDictError> {
        let member = archive.by_name(name).map_err(|error| self.damaged(format!("`{name}`: {error}")))?;
        if member.compression() != zip::CompressionMethod::Stored || member.size() > cap_bytes {
            return Err(self.damaged(format!("`{name}` is compressed or too large")));
        }
        let mut bytes = Vec::new();
        member.take(cap_bytes).read_to_end(&mut bytes).map_err(|error| self.damaged(format!("`{name}`: {error}")))?;
        Ok(bytes)
    }

    /// `torch.save` before 1.6: pickles of a number, a version, a machine, the object and the storages' keys; then each storage,
    /// its elements (int64) before it.
    fn old(&self) -> Result<BTreeMap<String, RawTensor>, StateDictError> {
        let mut at = OLD_START.len();
        let mut next = || -> Result<Pickle, StateDictError> {
            let pickle = self.pickle(&self.bytes[at..])?;
            at += pickle.length;
            Ok(pickle)
        };
        let (_version, _machine, object, keys) = (next()?, next()?, next()?, next()?);
        let order: Option<Vec<&str>> =
            keys.sequence(keys.root).and_then(|ids| ids.iter().map(|&id| keys.text(id)).collect());
        let order = order.ok_or_else(|| self.damaged("the list of storages is missing"))?;
        let sizes = tensors::storages(&object);
        let mut places: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for key in order {
            let cut = || self.damaged(format!("storage `{key}` is cut"));
            let head = self.bytes.get(at..at.saturating_add(8)).ok_or_else(cut)?;
            let elements = u64::from_le_bytes(head.try_into().expect("eight bytes were asked for"));
            // Without the size of its elements, what follows a storage cannot be found.
            let width = *sizes.get(key).ok_or_else(|| self.damaged(format!("storage `{key}` is of unknown type")))?;
            let length = usize::try_from(elements).ok().and_then(|elements| elements.checked_mul(width));
            let start = at + 8;
            let end = length.and_then(|length| start.checked_add(length)).filter(|&end| end <= self.bytes.len());
            at = end.ok_or_else(cut)?;
            places.insert(key, (start, at));
        }
        self.gather(&object, |view| {
            let place = places.get(view.storage.as_str());
            let (start, end) = *place.ok_or_else(|| self.damaged(format!("storage `{}` is missing", view.storage)))?;
            Ok(self.bytes[start..end].to_vec())
        })
    }
}

/// A view's elements in order; `None` when the storage is shorter than it says.
fn elements(view: &View, storage: &[u8]) -> Option<Vec<u8>> {
    let (width, count) = (view.dtype.bytes(), view.count());
    if view.is_contiguous() {
        let start = view.offset.checked_mul(width)?;
        return Some(storage.get(start..start.checked_add(count * width)?)?.to_vec());
    }
    let mut bytes = Vec::with_capacity(count * width);
    let mut index = vec![0usize; view.shape.len()];
    for _ in 0..count {
        let element =
            view.offset + index.iter().zip(&view.strides).map(|(index, stride)| index * stride).sum::<usize>();
        bytes.extend(storage.get(element * width..(element + 1) * width)?);
        for (position, &length) in index.iter_mut().zip(&view.shape).rev() {
            *position += 1;
            if *position < length {
                break;
            }
            *position = 0;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// A state dict `{"w": float32 [2, 2]}` as `torch.save` writes it, with the strides given.
    fn pickled(strides: [u8; 2]) -> Vec<u8> {
        let mut bytes = b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQK\x00K\x02K\x02\x86K".to_vec();
        bytes.extend([strides[0], b'K', strides[1], 0x86, 0x89]);
        bytes.extend(b"ccollections\nOrderedDict\n)RtRs.");
        bytes
    }

    fn zipped(pickle: &[u8], method: zip::CompressionMethod) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        let values: Vec<u8> = [1f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        for (name, bytes) in [("archive/data.pkl", pickle), ("archive/data/0", &values)] {
            writer.start_file(name, options).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn values(bytes: &[u8]) -> Result<Vec<f32>, StateDictError> {
        let found = read(bytes, Path::new("x.pth"))?;
        assert_eq!((found.len(), found["w"].shape.as_slice()), (1, &[2, 2][..]));
        let value = |four: &[u8]| f32::from_le_bytes(four.try_into().unwrap());
        Ok(found["w"].bytes.chunks_exact(4).map(value).collect())
    }

    #[test]
    fn tensors_come_in_order_whatever_their_strides() {
        let stored = zip::CompressionMethod::Stored;
        assert_eq!(values(&zipped(&pickled([2, 1]), stored)).unwrap(), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(values(&zipped(&pickled([1, 2]), stored)).unwrap(), [1.0, 3.0, 2.0, 4.0]);
    }

    #[test]
    fn what_is_compressed_cut_or_beyond_its_storage_is_refused() {
        let (stored, good) = (zip::CompressionMethod::Stored, pickled([2, 1]));
        let packed = zipped(&good, zip::CompressionMethod::Deflated);
        assert!(values(&packed).unwrap_err().to_string().contains("compressed"));
        let far = values(&zipped(&pickled([9, 1]), stored)).unwrap_err().to_string();
        assert!(far.contains("`w`") && far.contains("within its storage"), "{far}");
        let whole = zipped(&good, stored);
        assert!(values(&whole[..whole.len() / 2]).is_err());
        assert!(matches!(read(b"hello", Path::new("x")), Err(StateDictError::Unknown { .. })));
    }

    proptest! {
        #[test]
        fn changed_files_are_read_or_refused(at in 0usize..300, byte in any::<u8>(), is_old in any::<bool>()) {
            let mut bytes = zipped(&pickled([2, 1]), zip::CompressionMethod::Stored);
            if is_old {
                bytes = [OLD_START, b"\x80\x02M\xe9\x03.}.", &pickled([2, 1]), b"]X\x01\x00\x00\x000a.", &4u64.to_le_bytes(), &[0; 16]].concat();
            }
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = read(&bytes, Path::new("x.pth"));
        }
    }
}
