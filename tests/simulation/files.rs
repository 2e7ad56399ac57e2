//! An agent's files, with every state that they ever had: what is published must be one of them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use towline::names::FileKey;

use crate::dice::Dice;
use crate::plan::{Kind, Plan};

/// One file and its past.
pub struct Source {
    /// Each state, and the step since which it held.
    states: Vec<(u64, Rc<Vec<u8>>)>,
}

pub type SourceRef = Rc<RefCell<Source>>;

impl Source {
    fn new(bytes: Vec<u8>, step: u64) -> SourceRef {
        Rc::new(RefCell::new(Source { states: vec![(step, Rc::new(bytes))] }))
    }

    pub fn bytes(&self) -> &Rc<Vec<u8>> {
        &self.states.last().expect("a file always has a state").1
    }

    /// Size and modification time: the time is the number of changes.
    pub fn stamp(&self) -> (u64, usize) {
        (self.bytes().len() as u64, self.states.len())
    }

    fn change(&mut self, bytes: Vec<u8>, step: u64) {
        self.states.push((step, Rc::new(bytes)));
    }

    /// Whether the file began with exactly these bytes at some moment between two steps.
    pub fn was(&self, bytes: &[u8], from: u64, to: u64) -> bool {
        let ends = self.states.iter().skip(1).map(|(since, _)| *since).chain([u64::MAX]);
        let held = self.states.iter().zip(ends).filter(|((since, _), end)| *since <= to && *end >= from);
        held.into_iter().any(|((_, state), _)| state.starts_with(bytes))
    }

    /// Whether it did not change between two steps.
    pub fn is_unchanged(&self, from: u64, to: u64) -> bool {
        self.states.iter().skip(1).all(|(since, _)| *since < from || *since > to)
    }
}

/// The files of one client.
pub struct Shelf {
    pub keys: Vec<Option<FileKey>>,
    files: BTreeMap<Option<String>, SourceRef>,
    sizes: &'static [usize],
    has_text: bool,
}

fn name(key: Option<&FileKey>) -> Option<String> {
    key.map(|key| key.as_str().to_owned())
}

/// Around the borders of pages and blocks, where mistakes live.
const SIZES: [usize; 16] = [
    0, 1, 100, 4095, 4096, 4097, 8192, 20_000, 40_000, 65_535, 65_536, 65_537, 70_000, 100_000, 131_072,
    150_001,
];
/// A window and a bit.
const LARGE: [usize; 4] = [16 << 20, (16 << 20) + 1, (17 << 20) + 12_345, 20_000_000];

impl Shelf {
    pub fn new(kind: Kind, plan: &Plan, dice: &mut Dice) -> Shelf {
        let mut keys: Vec<Option<FileKey>> = vec![None];
        if kind != Kind::Node && !plan.has_large_file {
            keys.push(Some("logs/pos.log".parse().expect("a key")));
            keys.push(Some("db".parse().expect("a key")));
        }
        let sizes: &[usize] = if plan.has_large_file { &LARGE } else { &SIZES };
        let mut shelf = Shelf { keys, files: BTreeMap::new(), sizes, has_text: plan.has_text };
        for key in shelf.keys.clone() {
            let size = dice.pick(sizes);
            if !dice.one_in(20) {
                let content = shelf.content(dice, size);
                shelf.files.insert(name(key.as_ref()), Source::new(content, 0));
            }
        }
        shelf
    }

    fn content(&self, dice: &mut Dice, length: usize) -> Vec<u8> {
        let mut bytes = dice.bytes(length);
        self.as_text(&mut bytes);
        bytes
    }

    fn as_text(&self, bytes: &mut [u8]) {
        if self.has_text {
            bytes.iter_mut().for_each(|byte| *byte = b'a' + (*byte & 7));
        }
    }

    pub fn open(&self, key: Option<&FileKey>) -> Option<SourceRef> {
        self.files.get(&name(key)).cloned()
    }

    /// Somebody changes one of the files.
    pub fn change(&mut self, dice: &mut Dice, step: u64) -> &'static str {
        let key = name(self.keys[dice.index(self.keys.len())].as_ref());
        let size = dice.pick(self.sizes);
        let Some(file) = self.files.get(&key) else {
            let content = self.content(dice, size);
            self.files.insert(key, Source::new(content, step));
            return "appears";
        };
        let mut source = file.borrow_mut();
        let mut bytes = source.bytes().as_ref().clone();
        let (what, bytes) = match dice.below(12) {
            0..=3 => {
                let more = dice.between(1, 9000) as usize;
                bytes.extend(self.content(dice, more));
                ("grows", bytes)
            }
            4..=6 if !bytes.is_empty() => {
                for _ in 0..dice.between(1, 4) {
                    let at = dice.index(bytes.len());
                    let end = (at + dice.between(1, 5000) as usize).min(bytes.len());
                    dice.fill(&mut bytes[at..end]);
                    self.as_text(&mut bytes[at..end]);
                }
                ("is edited", bytes)
            }
            7 => {
                bytes.truncate(dice.index(bytes.len() + 1));
                ("is cut", bytes)
            }
            8 => ("is touched", bytes),
            9 => ("is written anew", self.content(dice, size)),
            10 => {
                drop(source);
                let content = self.content(dice, size);
                self.files.insert(key, Source::new(content, step));
                return "is replaced";
            }
            11 if dice.one_in(4) => {
                drop(source);
                self.files.remove(&key);
                return "is removed";
            }
            _ => return "stays",
        };
        source.change(bytes, step);
        what
    }
}
