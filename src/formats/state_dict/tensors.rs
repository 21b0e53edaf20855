//! From a pickle's nodes to named tensors: dictionaries, modules (by their attributes) and the calls by which `torch.save` and
//! TorchScript write a tensor. Everything else in the file is passed over.

use std::collections::BTreeMap;

use super::pickle::{Id, Node, Pickle};

/// Modules of the deepest network lie far above this.
const DEEPEST: usize = 40;
/// Nodes that are looked at: shared nodes could otherwise be visited without end.
const MOST_VISITS: usize = 4 << 20;
/// Dimensions of a tensor.
const MOST_DIMENSIONS: usize = 8;
/// Where training scripts keep the state dict beside the optimiser's.
const WRAPPERS: [&str; 4] = ["state_dict", "model_state_dict", "model", "weights"];
/// What a whole pickled `torch.nn.Module` keeps its parts under.
const MODULE_PARTS: [&str; 3] = ["_parameters", "_buffers", "_modules"];

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// float32.
    Float,
    /// float64.
    Double,
    /// float16.
    Half,
    /// bfloat16.
    BFloat16,
    /// int64.
    Int64,
    /// int32.
    Int32,
    /// int16.
    Int16,
    /// int8.
    Int8,
    /// uint8.
    UInt8,
    /// bool.
    Bool,
}

impl Dtype {
    /// Of torch's name of a storage class.
    fn of_storage(name: &str) -> Option<Self> {
        Some(match name.rsplit([' ', '.']).next()? {
            "FloatStorage" => Self::Float,
            "DoubleStorage" => Self::Double,
            "HalfStorage" => Self::Half,
            "BFloat16Storage" => Self::BFloat16,
            "LongStorage" => Self::Int64,
            "IntStorage" => Self::Int32,
            "ShortStorage" => Self::Int16,
            "CharStorage" => Self::Int8,
            "ByteStorage" => Self::UInt8,
            "BoolStorage" => Self::Bool,
            _ => return None,
        })
    }

    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Self::Double | Self::Int64 => 8,
            Self::Float | Self::Int32 => 4,
            Self::Half | Self::BFloat16 | Self::Int16 => 2,
            Self::Int8 | Self::UInt8 | Self::Bool => 1,
        }
    }
}

/// Where a tensor lies in a storage; checked to lie within it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The storage's name.
    pub storage: String,
    /// Its elements.
    pub elements: usize,
    /// Their type.
    pub dtype: Dtype,
    /// First element.
    pub offset: usize,
    /// Shape.
    pub shape: Vec<usize>,
    /// Elements from one index to the next, per dimension.
    pub strides: Vec<usize>,
}

impl View {
    /// Elements of the tensor.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the elements lie in order, one after another.
    pub fn is_contiguous(&self) -> bool {
        if self.shape.contains(&0) {
            return true;
        }
        let mut expected = 1;
        for (&length, &stride) in self.shape.iter().zip(&self.strides).rev() {
            if length > 1 && stride != expected {
                return false;
            }
            expected *= length;
        }
        true
    }

    /// Refuses what leaves its storage, or repeats elements.
    fn checked(self) -> Result<Self, String> {
        let mut count = 1usize;
        let mut last = Some(self.offset);
        for (&length, &stride) in self.shape.iter().zip(&self.strides) {
            count = count.checked_mul(length).ok_or("its size overflows")?;
            let reach = length.saturating_sub(1).checked_mul(stride);
            last = last.and_then(|last| last.checked_add(reach?));
        }
        if count > 0 && (count > self.elements || last.is_none_or(|last| last >= self.elements)) {
            return Err(format!(
                "shape {:?} does not lie within its storage of {} elements",
                self.shape, self.elements
            ));
        }
        Ok(self)
    }
}

/// Bytes of an element of every storage that the pickle names.
pub fn storages(pickle: &Pickle) -> BTreeMap<&str, usize> {
    let width = |node: &Node| {
        let Node::Persistent(description) = node else { return None };
        let [_, class, key, ..] = pickle.sequence(*description)? else { return None };
        Some((pickle.text(*key)?, Dtype::of_storage(pickle.text(*class)?)?.bytes()))
    };
    pickle.nodes().iter().filter_map(width).collect()
}

/// All tensors of a pickle by dotted name.
///
/// # Errors
/// The name and what is wrong with it.
pub fn views(pickle: &Pickle) -> Result<BTreeMap<String, View>, (String, String)> {
    let mut walk = Walk { pickle, found: BTreeMap::new(), visits: 0 };
    let root = wrapped(pickle, pickle.root).unwrap_or(pickle.root);
    walk.visit(root, String::new(), 0)?;
    Ok(walk.found)
}

/// The state dict inside a training script's dictionary.
fn wrapped(pickle: &Pickle, root: Id) -> Option<Id> {
    let items = items(pickle, root)?;
    let under =
        |wrapper: &str| items.iter().find(|(key, _)| pickle.text(*key) == Some(wrapper)).map(|(_, value)| *value);
    WRAPPERS.into_iter().find_map(|wrapper| under(wrapper).filter(|&value| items_or_state(pickle, value)))
}

fn items_or_state(pickle: &Pickle, id: Id) -> bool {
    items(pickle, id).is_some_and(|items| !items.is_empty())
}

/// What a dictionary, or an object, holds by name.
fn items(pickle: &Pickle, id: Id) -> Option<&[(Id, Id)]> {
    match pickle.node(id) {
        Node::Dictionary(items) => Some(items),
        Node::Call { items, .. } if !items.is_empty() => Some(items),
        Node::Call { state: Some(state), .. } => match pickle.node(*state) {
            Node::Dictionary(items) => Some(items),
            _ => None,
        },
        _ => None,
    }
}

struct Walk<'a> {
    pickle: &'a Pickle,
    found: BTreeMap<String, View>,
    visits: usize,
}

impl Walk<'_> {
    fn visit(&mut self, id: Id, name: String, depth: usize) -> Result<(), (String, String)> {
        self.visits += 1;
        if depth > DEEPEST || self.visits > MOST_VISITS {
            return Err((name, "is nested deeper than any network".to_owned()));
        }
        if let Some(view) = tensor(self.pickle, id, 0) {
            let view = view.and_then(View::checked).map_err(|reason| (name.clone(), reason))?;
            self.found.insert(name, view);
            return Ok(());
        }
        for &(key, value) in items(self.pickle, id).unwrap_or_default() {
            let Some(part) = self.pickle.text(key) else { continue };
            let inner = match (MODULE_PARTS.contains(&part), name.is_empty()) {
                (true, _) => name.clone(),
                (false, true) => part.to_owned(),
                (false, false) => format!("{name}.{part}"),
            };
            self.visit(value, inner, depth + 1)?;
        }
        Ok(())
    }
}

/// The tensor that a call stands for; `None` for anything else.
fn tensor(pickle: &Pickle, id: Id, depth: usize) -> Option<Result<View, String>> {
    let Node::Call { function, arguments, .. } = pickle.node(id) else { return None };
    let arguments = pickle.sequence(*arguments)?;
    match pickle.text(*function)? {
        "torch._utils _rebuild_tensor_v2" | "torch._utils _rebuild_tensor" => {
            Some(view(pickle, arguments).ok_or_else(|| "is not written as torch writes a tensor".to_owned()))
        }
        "torch._utils _rebuild_parameter" | "torch._utils _rebuild_parameter_with_state" if depth == 0 => {
            tensor(pickle, *arguments.first()?, 1)
        }
        _ => None,
    }
}

/// `(storage, offset, size, stride, ...)`, where the storage is `('storage', class, key, location, elements, ...)`.
fn view(pickle: &Pickle, arguments: &[Id]) -> Option<View> {
    let [storage, offset, shape, strides, ..] = arguments else { return None };
    let Node::Persistent(description) = pickle.node(*storage) else { return None };
    let [kind, class, key, _, elements, ..] = pickle.sequence(*description)? else { return None };
    let size = |id: Id| if let Node::Int(value) = pickle.node(id) { usize::try_from(*value).ok() } else { None };
    let sizes = |id: Id| -> Option<Vec<usize>> {
        pickle.integers(id)?.into_iter().map(|value| usize::try_from(value).ok()).collect()
    };
    let (shape, strides) = (sizes(*shape)?, sizes(*strides)?);
    if pickle.text(*kind)? != "storage" || shape.len() != strides.len() || shape.len() > MOST_DIMENSIONS {
        return None;
    }
    let (storage, dtype) = (pickle.text(*key)?.to_owned(), Dtype::of_storage(pickle.text(*class)?)?);
    Some(View { storage, elements: size(*elements)?, dtype, offset: size(*offset)?, shape, strides })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lying(offset: usize, shape: &[usize], strides: &[usize]) -> View {
        let (shape, strides) = (shape.to_vec(), strides.to_vec());
        View { storage: "0".into(), elements: 12, dtype: Dtype::Float, offset, shape, strides }
    }

    #[test]
    fn a_tensor_must_lie_within_its_storage_and_repeat_nothing() {
        assert!(lying(0, &[3, 4], &[4, 1]).checked().is_ok());
        assert!(lying(1, &[3, 4], &[4, 1]).checked().is_err());
        assert!(lying(0, &[3, 4], &[5, 1]).checked().is_err());
        assert!(lying(0, &[1 << 40, 4], &[0, 1]).checked().is_err());
        assert!(lying(0, &[usize::MAX, 4], &[0, 1]).checked().is_err());
        assert!(lying(0, &[2, 2], &[usize::MAX, 1]).checked().is_err());
        assert!(lying(99, &[0, 4], &[4, 1]).checked().is_ok());
    }

    #[test]
    fn order_in_memory_is_known() {
        assert!(lying(0, &[3, 4], &[4, 1]).is_contiguous() && lying(0, &[1, 4], &[99, 1]).is_contiguous());
        assert!(!lying(0, &[3, 4], &[1, 3]).is_contiguous());
    }
}
