//! Python's pickle format, read as data: nothing is imported and nothing is called. A call of the file becomes a node that names
//! the function and holds its arguments; what such a node means is for the reader to know.
//!
//! Opcodes: CPython's `pickletools`, those that `torch.save` and TorchScript write, with their neighbours. All others are refused.

/// Nodes of the largest pickle that is read. A training checkpoint of the networks here has some ten thousand.
const MOST_NODES: usize = 2 << 20;

/// Position of a node.
pub type Id = usize;

/// A value of the file.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// A value that says nothing here: None, a float, bytes, a large integer.
    Other,
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// Text.
    Text(String),
    /// A tuple, list or set.
    Sequence(Vec<Id>),
    /// A dictionary in its order.
    Dictionary(Vec<(Id, Id)>),
    /// A class or function by module and name, with a space between.
    Global(String),
    /// Something kept outside the pickle, by its description.
    Persistent(Id),
    /// A function that the writer wants called, or a class that it wants made; nobody does.
    Call {
        /// What.
        function: Id,
        /// A sequence.
        arguments: Id,
        /// What the object is to be filled with.
        state: Option<Id>,
        /// Items set on it afterwards.
        items: Vec<(Id, Id)>,
    },
}

/// A pickle that was read.
#[derive(Debug)]
pub struct Pickle {
    nodes: Vec<Node>,
    /// The value.
    pub root: Id,
    /// Bytes up to and with its end.
    pub length: usize,
}

impl Pickle {
    /// The node at a position that this pickle gave.
    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id]
    }

    /// All nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The text at `id`, if it is one.
    pub fn text(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Text(text) | Node::Global(text) => Some(text),
            _ => None,
        }
    }

    /// The items at `id`, if it is a sequence.
    pub fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The integers at `id`, if it is a sequence of them.
    pub fn integers(&self, id: Id) -> Option<Vec<i64>> {
        let integer = |&id: &Id| if let Node::Int(value) = self.node(id) { Some(*value) } else { None };
        self.sequence(id)?.iter().map(integer).collect()
    }
}

/// What is wrong, and at which byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Byte of the pickle.
    pub at: usize,
    /// The reason.
    pub reason: &'static str,
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: std::collections::BTreeMap<usize, Id>,
}

/// Reads the pickle at the start of `bytes`.
///
/// # Errors
/// [`Wrong`] for what is cut, unknown or too large.
pub fn read(bytes: &[u8]) -> Result<Pickle, Wrong> {
    let (nodes, stack, marks) = (Vec::new(), Vec::new(), Vec::new());
    let mut machine = Machine { bytes, at: 0, nodes, stack, marks, memo: std::collections::BTreeMap::new() };
    while machine.step()? {
        if machine.nodes.len() > MOST_NODES || machine.memo.len() > MOST_NODES {
            return Err(machine.wrong("more values than any state dict has"));
        }
    }
    let root = machine.pop()?;
    Ok(Pickle { nodes: machine.nodes, root, length: machine.at })
}

impl Machine<'_> {
    fn wrong(&self, reason: &'static str) -> Wrong {
        Wrong { at: self.at, reason }
    }

    fn take(&mut self, count: usize) -> Result<&[u8], Wrong> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| self.wrong("it ends in the middle of a value"))?;
        let start = std::mem::replace(&mut self.at, end);
        Ok(&self.bytes[start..end])
    }

    /// An unsigned little-endian number of `width` bytes, at most 8.
    fn unsigned(&mut self, width: usize) -> Result<usize, Wrong> {
        let value = self.take(width)?.iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
        usize::try_from(value).map_err(|_| self.wrong("a length that no machine holds"))
    }

    fn line(&mut self) -> Result<String, Wrong> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|&byte| byte == b'\n').ok_or_else(|| self.wrong("a line without end"))?;
        let text = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.at += length + 1;
        Ok(text)
    }

    fn push(&mut self, node: Node) {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
    }

    fn pop(&mut self) -> Result<Id, Wrong> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(self.wrong("a value is missing"));
        }
        Ok(self.stack.pop().expect("the stack is longer than its floor"))
    }

    fn top(&self) -> Result<Id, Wrong> {
        self.stack.last().copied().ok_or_else(|| self.wrong("a value is missing"))
    }

    /// Everything above the last mark.
    fn marked(&mut self) -> Result<Vec<Id>, Wrong> {
        let mark = self.marks.pop().ok_or_else(|| self.wrong("a mark is missing"))?;
        Ok(self.stack.split_off(mark))
    }

    fn text(&mut self, width: usize) -> Result<(), Wrong> {
        let length = self.unsigned(width)?;
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.push(Node::Text(text));
        Ok(())
    }

    fn other(&mut self, width: usize) -> Result<(), Wrong> {
        let length = self.unsigned(width)?;
        self.take(length)?;
        self.push(Node::Other);
        Ok(())
    }

    /// A signed integer of `length` bytes; one of more than 8 is no size of anything.
    fn integer(&mut self, length: usize) -> Result<(), Wrong> {
        let bytes = self.take(length)?;
        let node = if bytes.len() > 8 {
            Node::Other
        } else {
            let fill = if bytes.last().is_some_and(|&byte| byte >= 0x80) { 0xff } else { 0 };
            let mut wide = [fill; 8];
            wide[..bytes.len()].copy_from_slice(bytes);
            Node::Int(i64::from_le_bytes(wide))
        };
        self.push(node);
        Ok(())
    }

    fn tuple(&mut self, count: usize) -> Result<(), Wrong> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<Id>, Wrong>>()?;
        items.reverse();
        self.push(Node::Sequence(items));
        Ok(())
    }

    fn call(&mut self) -> Result<(), Wrong> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        self.push(Node::Call { function, arguments, state: None, items: Vec::new() });
        Ok(())
    }

    fn build(&mut self) -> Result<(), Wrong> {
        let (filling, owner) = (self.pop()?, self.top()?);
        if let Node::Call { state, .. } = &mut self.nodes[owner] {
            *state = Some(filling);
        }
        Ok(())
    }

    fn set_items(&mut self, pairs: &[Id]) -> Result<(), Wrong> {
        let owner = self.top()?;
        let pairs = pairs.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        match &mut self.nodes[owner] {
            Node::Dictionary(items) | Node::Call { items, .. } => items.extend(pairs),
            _ => return Err(self.wrong("an item is set on what has none")),
        }
        Ok(())
    }

    fn append(&mut self, more: &[Id]) -> Result<(), Wrong> {
        let owner = self.top()?;
        if let Node::Sequence(items) = &mut self.nodes[owner] {
            items.extend(more);
        }
        Ok(())
    }

    fn remember(&mut self, key: usize) -> Result<(), Wrong> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: usize) -> Result<(), Wrong> {
        let known = self.memo.get(&key).copied().ok_or_else(|| self.wrong("a value is recalled that was not kept"))?;
        self.stack.push(known);
        if self.stack.len() > MOST_NODES {
            return Err(self.wrong("more values than any state dict has"));
        }
        Ok(())
    }

    /// One opcode; false at the end.
    fn step(&mut self) -> Result<bool, Wrong> {
        let opcode = self.take(1)?[0];
        match opcode {
            b'.' => return Ok(false),
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.marked()?),
            b'N' => self.push(Node::Other),
            b'G' => {
                self.take(8)?;
                self.push(Node::Other);
            }
            0x88 | 0x89 => self.push(Node::Bool(opcode == 0x88)),
            b'J' => self.integer(4)?,
            b'K' | b'M' => {
                let value = self.unsigned(if opcode == b'K' { 1 } else { 2 })?;
                self.push(Node::Int(i64::try_from(value).unwrap_or(i64::MAX)));
            }
            0x8a | 0x8b => {
                let length = self.unsigned(if opcode == 0x8a { 1 } else { 4 })?;
                self.integer(length)?;
            }
            b'U' | 0x8c => self.text(1)?,
            b'T' | b'X' => self.text(4)?,
            0x8d => self.text(8)?,
            b'C' => self.other(1)?,
            b'B' => self.other(4)?,
            0x8e | 0x96 => self.other(8)?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Node::Global(format!("{module} {name}")));
            }
            0x93 => self.stack_global()?,
            b')' | b']' | 0x8f => self.push(Node::Sequence(Vec::new())),
            b'}' => self.push(Node::Dictionary(Vec::new())),
            b't' | 0x91 => {
                let items = self.marked()?;
                self.push(Node::Sequence(items));
            }
            0x85..=0x87 => self.tuple(usize::from(opcode - 0x84))?,
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.marked()?;
                self.append(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])?;
            }
            b'u' => {
                let pairs = self.marked()?;
                self.set_items(&pairs)?;
            }
            b'Q' => {
                let description = self.pop()?;
                self.push(Node::Persistent(description));
            }
            b'R' | 0x81 => self.call()?,
            b'b' => self.build()?,
            b'q' | b'r' => {
                let key = self.unsigned(if opcode == b'q' { 1 } else { 4 })?;
                self.remember(key)?;
            }
            0x94 => self.remember(self.memo.len())?,
            b'h' | b'j' => {
                let key = self.unsigned(if opcode == b'h' { 1 } else { 4 })?;
                self.recall(key)?;
            }
            _ => return Err(self.wrong("an opcode that no state dict needs")),
        }
        Ok(true)
    }

    fn stack_global(&mut self) -> Result<(), Wrong> {
        let (name, module) = (self.pop()?, self.pop()?);
        match (&self.nodes[module], &self.nodes[name]) {
            (Node::Text(module), Node::Text(name)) => {
                let global = format!("{module} {name}");
                self.push(Node::Global(global));
                Ok(())
            }
            _ => Err(self.wrong("a class that is not named by text")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `pickle.dumps({"a": (1, -2, True), "b": [300, "x"]}, 2)` of Python 3.11.
    const DICTIONARY: &[u8] = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01K\x01J\xfe\xff\xff\xff\x88\x87q\x02X\x01\x00\x00\x00bq\x03]q\x04(M,\x01X\x01\x00\x00\x00xq\x05eu.";

    #[test]
    fn python_s_own_bytes_are_read() {
        let pickle = read(DICTIONARY).unwrap();
        let Node::Dictionary(items) = pickle.node(pickle.root) else { panic!("no dictionary") };
        assert_eq!(pickle.length, DICTIONARY.len());
        assert_eq!((pickle.text(items[0].0), pickle.text(items[1].0)), (Some("a"), Some("b")));
        let first = pickle.sequence(items[0].1).unwrap();
        assert_eq!(
            first.iter().map(|&id| pickle.node(id).clone()).collect::<Vec<_>>()[..2],
            [Node::Int(1), Node::Int(-2)]
        );
        assert_eq!(pickle.sequence(items[1].1).unwrap().len(), 2);
    }

    /// The classic attack, `os.system("touch ...")`: a node, and nothing else.
    #[test]
    fn a_call_stays_a_note_of_it() {
        let pickle = read(b"cos\nsystem\n(X\x04\x00\x00\x00echotR.").unwrap();
        let Node::Call { function, arguments, .. } = pickle.node(pickle.root) else { panic!("no call") };
        assert_eq!(pickle.text(*function), Some("os system"));
        assert_eq!(pickle.sequence(*arguments).unwrap().len(), 1);
    }

    #[test]
    fn lengths_beyond_the_file_and_values_that_are_not_there_are_errors() {
        for bytes in [
            &b"X\xff\xff\xff\xff"[..],
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
            b"R.",
            b"t.",
            b"h\x00.",
            b"(0.",
            b"",
            b"\xff",
        ] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&bytes);
        }

        #[test]
        fn changed_bytes_are_read_or_refused(at in 0..DICTIONARY.len(), byte in any::<u8>()) {
            let mut bytes = DICTIONARY.to_vec();
            bytes[at] = byte;
            let _ = read(&bytes);
        }
    }
}
