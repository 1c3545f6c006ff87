//! The pickle machine, restricted to what `torch.save` writes for tensors.
//!
//! It runs a list of instructions that put values on a stack. Of the 68 instructions of pickle (protocol 5) it
//! knows those that make plain data, and three with a meaning of their own: a name is looked up in a
//! table, a call is understood and not made, an id stands for a storage. Whatever else a file asks for
//! is an error.

use super::calls::Call;
use super::cursor::Cursor;
use super::error::TorchError;
use super::globals;
use super::value::{Heap, Value, limit};
use std::collections::HashMap;

/// Values that instructions may push, and entries of the memo: room for 150,000 tensors in one file.
const MOST_VALUES: usize = 1 << 22;
/// Values on the stack at once; pickle writes dictionaries in parts of 1,000 pairs.
const MOST_STACKED: usize = 1 << 16;
/// Marks on the stack at once.
const MOST_MARKS: usize = 64;

mod opcode {
    pub(super) const PROTO: u8 = 0x80;
    pub(super) const FRAME: u8 = 0x95;
    pub(super) const STOP: u8 = b'.';
    pub(super) const MARK: u8 = b'(';
    pub(super) const NONE: u8 = b'N';
    pub(super) const NEWTRUE: u8 = 0x88;
    pub(super) const NEWFALSE: u8 = 0x89;
    pub(super) const BININT: u8 = b'J';
    pub(super) const BININT1: u8 = b'K';
    pub(super) const BININT2: u8 = b'M';
    pub(super) const LONG1: u8 = 0x8a;
    pub(super) const BINFLOAT: u8 = b'G';
    pub(super) const BINUNICODE: u8 = b'X';
    pub(super) const SHORT_BINUNICODE: u8 = 0x8c;
    pub(super) const BINUNICODE8: u8 = 0x8d;
    // Texts of Python 2.
    pub(super) const BINSTRING: u8 = b'T';
    pub(super) const SHORT_BINSTRING: u8 = b'U';
    pub(super) const EMPTY_TUPLE: u8 = b')';
    pub(super) const TUPLE: u8 = b't';
    pub(super) const TUPLE1: u8 = 0x85;
    pub(super) const TUPLE2: u8 = 0x86;
    pub(super) const TUPLE3: u8 = 0x87;
    pub(super) const EMPTY_LIST: u8 = b']';
    pub(super) const APPEND: u8 = b'a';
    pub(super) const APPENDS: u8 = b'e';
    pub(super) const EMPTY_DICT: u8 = b'}';
    pub(super) const SETITEM: u8 = b's';
    pub(super) const SETITEMS: u8 = b'u';
    pub(super) const BINPUT: u8 = b'q';
    pub(super) const LONG_BINPUT: u8 = b'r';
    pub(super) const MEMOIZE: u8 = 0x94;
    pub(super) const BINGET: u8 = b'h';
    pub(super) const LONG_BINGET: u8 = b'j';
    pub(super) const GLOBAL: u8 = b'c';
    pub(super) const STACK_GLOBAL: u8 = 0x93;
    pub(super) const REDUCE: u8 = b'R';
    pub(super) const BUILD: u8 = b'b';
    pub(super) const BINPERSID: u8 = b'Q';
}

/// What a pickle made.
pub(super) struct Unpickled<'a> {
    /// The value on top when it stopped.
    pub(super) root: Value<'a>,
    /// What that value is made of.
    pub(super) heap: Heap<'a>,
    /// The byte after it.
    pub(super) end: usize,
}

/// Reads the pickle that begins at byte `start` of `content`.
///
/// # Errors
/// Content that ends early, instructions and names that are not known here, more than fits any checkpoint.
pub(super) fn unpickle(content: &[u8], start: usize) -> Result<Unpickled<'_>, TorchError> {
    let mut machine = Machine {
        cursor: Cursor::new(content, start),
        at: start,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        heap: Heap::default(),
        pushed: 0,
    };
    while machine.step()? {}
    let root = machine.pop()?;
    Ok(Unpickled {
        root,
        heap: machine.heap,
        end: machine.cursor.position(),
    })
}

struct Machine<'a> {
    cursor: Cursor<'a>,
    /// Byte of the instruction that is carried out.
    at: usize,
    stack: Vec<Value<'a>>,
    /// Lengths of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    heap: Heap<'a>,
    pushed: usize,
}

impl<'a> Machine<'a> {
    /// Carries out one instruction; false at the end.
    fn step(&mut self) -> Result<bool, TorchError> {
        self.at = self.cursor.position();
        let code = self.cursor.u8()?;
        if code == opcode::STOP {
            return Ok(false);
        }
        if let Some(value) = self.scalar(code)? {
            self.push(value)?;
        } else if !self.compound(code)? && !self.named(code)? {
            let at = self.at;
            return Err(TorchError::Opcode { opcode: code, at });
        }
        Ok(true)
    }

    /// The value of an instruction that holds it.
    fn scalar(&mut self, code: u8) -> Result<Option<Value<'a>>, TorchError> {
        let cursor = &mut self.cursor;
        Ok(Some(match code {
            opcode::NONE => Value::None,
            opcode::NEWTRUE => Value::Bool(true),
            opcode::NEWFALSE => Value::Bool(false),
            opcode::BININT => Value::Int(cursor.i32()?.into()),
            opcode::BININT1 => Value::Int(cursor.u8()?.into()),
            opcode::BININT2 => Value::Int(cursor.u16()?.into()),
            opcode::LONG1 => {
                let count = cursor.u8()?;
                long(cursor.bytes(count.into())?)
            }
            opcode::BINFLOAT => {
                cursor.bytes(8)?;
                Value::Float
            }
            opcode::BINUNICODE | opcode::BINSTRING => {
                let count = cursor.u32()?;
                Value::Text(cursor.text(count.into())?)
            }
            opcode::SHORT_BINUNICODE | opcode::SHORT_BINSTRING => {
                let count = cursor.u8()?;
                Value::Text(cursor.text(count.into())?)
            }
            opcode::BINUNICODE8 => {
                let count = cursor.u64()?;
                Value::Text(cursor.text(count)?)
            }
            _ => return Ok(None),
        }))
    }

    /// Tuples, lists and dictionaries; false for other instructions.
    fn compound(&mut self, code: u8) -> Result<bool, TorchError> {
        match code {
            opcode::MARK => {
                if self.marks.len() == MOST_MARKS {
                    return Err(limit("levels of nesting", MOST_MARKS));
                }
                self.marks.push(self.stack.len());
            }
            opcode::EMPTY_TUPLE => self.tuple(Vec::new())?,
            opcode::TUPLE1 => self.tuple_of(1)?,
            opcode::TUPLE2 => self.tuple_of(2)?,
            opcode::TUPLE3 => self.tuple_of(3)?,
            opcode::TUPLE => {
                let items = self.pop_to_mark()?;
                self.tuple(items)?;
            }
            opcode::EMPTY_LIST => {
                let list = self.heap.add(Vec::new())?;
                self.push(Value::List(list))?;
            }
            opcode::EMPTY_DICT => {
                let dict = self.heap.add(Vec::new())?;
                self.push(Value::Dict(dict))?;
            }
            opcode::APPEND | opcode::APPENDS => {
                let items = if code == opcode::APPEND {
                    self.pop_last(1)?
                } else {
                    self.pop_to_mark()?
                };
                let Value::List(list) = self.top()? else {
                    return self.wrong("a list to append to");
                };
                self.heap.extend(list, items)?;
            }
            opcode::SETITEM | opcode::SETITEMS => {
                let items = if code == opcode::SETITEM {
                    self.pop_last(2)?
                } else {
                    self.pop_to_mark()?
                };
                let Value::Dict(dict) = self.top()? else {
                    return self.wrong("a dictionary to add to");
                };
                if !items.len().is_multiple_of(2) {
                    return self.wrong("as many keys as values");
                }
                self.heap.extend(dict, items)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The memo, names, calls and storages; false for other instructions.
    fn named(&mut self, code: u8) -> Result<bool, TorchError> {
        match code {
            opcode::PROTO => {
                if !(2..=5).contains(&self.cursor.u8()?) {
                    return self.wrong("a pickle of protocol 2 to 5");
                }
            }
            // How many bytes follow, which the instructions say as well.
            opcode::FRAME => drop(self.cursor.u64()?),
            opcode::BINPUT => {
                let index = self.cursor.u8()?.into();
                self.remember(index)?;
            }
            opcode::LONG_BINPUT => {
                let index = self.cursor.u32()?;
                self.remember(index)?;
            }
            opcode::MEMOIZE => {
                let index = u32::try_from(self.memo.len()).unwrap_or(u32::MAX);
                self.remember(index)?;
            }
            opcode::BINGET => {
                let index = self.cursor.u8()?.into();
                self.recall(index)?;
            }
            opcode::LONG_BINGET => {
                let index = self.cursor.u32()?;
                self.recall(index)?;
            }
            opcode::GLOBAL => {
                let (module, name) = (self.cursor.line()?, self.cursor.line()?);
                self.push(Value::Global(globals::find(module, name)?))?;
            }
            opcode::STACK_GLOBAL => {
                let names = self.pop_last(2)?;
                let [Value::Text(module), Value::Text(name)] = names[..] else {
                    return self.wrong("a module and a name");
                };
                self.push(Value::Global(globals::find(module, name)?))?;
            }
            opcode::REDUCE => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let value = self.call().result(function, arguments)?;
                self.push(value)?;
            }
            // Attributes of a dictionary: the versions of the modules, which say nothing of the tensors.
            opcode::BUILD => {
                let state = self.pop()?;
                let (Value::Dict(_), Value::Dict(_)) = (self.top()?, state) else {
                    return self.wrong("a dictionary as the attributes of a dictionary");
                };
            }
            opcode::BINPERSID => {
                let id = self.pop()?;
                let storage = self.call().storage(id)?;
                self.push(storage)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn call(&mut self) -> Call<'_, 'a> {
        Call {
            heap: &mut self.heap,
            at: self.at,
        }
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), TorchError> {
        self.pushed += 1;
        if self.pushed > MOST_VALUES {
            return Err(limit("values", MOST_VALUES));
        }
        if self.stack.len() == MOST_STACKED {
            return Err(limit("values that wait for others", MOST_STACKED));
        }
        self.stack.push(value);
        Ok(())
    }

    fn tuple(&mut self, items: Vec<Value<'a>>) -> Result<(), TorchError> {
        let tuple = self.heap.add(items)?;
        self.push(Value::Tuple(tuple))
    }

    fn tuple_of(&mut self, count: usize) -> Result<(), TorchError> {
        let items = self.pop_last(count)?;
        self.tuple(items)
    }

    /// Values before the last mark belong to what that mark began.
    fn available(&self) -> usize {
        self.stack.len() - self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Value<'a>, TorchError> {
        match self.stack.last() {
            Some(value) if self.available() > 0 => Ok(*value),
            _ => self.wrong("a value on the stack"),
        }
    }

    fn pop(&mut self) -> Result<Value<'a>, TorchError> {
        let value = self.top()?;
        self.stack.pop();
        Ok(value)
    }

    fn pop_last(&mut self, count: usize) -> Result<Vec<Value<'a>>, TorchError> {
        if self.available() < count {
            return self.wrong("more values on the stack");
        }
        Ok(self.stack.split_off(self.stack.len() - count))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value<'a>>, TorchError> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => self.wrong("a mark on the stack"),
        }
    }

    fn remember(&mut self, index: u32) -> Result<(), TorchError> {
        let value = self.top()?;
        self.memo.insert(index, value);
        if self.memo.len() > MOST_VALUES {
            return Err(limit("values to remember", MOST_VALUES));
        }
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<(), TorchError> {
        match self.memo.get(&index) {
            Some(value) => self.push(*value),
            None => self.wrong("a value that was remembered"),
        }
    }

    fn wrong<T>(&self, expected: &'static str) -> Result<T, TorchError> {
        Err(TorchError::Pickle {
            at: self.at,
            expected,
        })
    }
}

/// A signed little-endian integer.
fn long(bytes: &[u8]) -> Value<'_> {
    if bytes.len() > 8 {
        return Value::Long(bytes);
    }
    let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
    let mut all = if negative { [0xff; 8] } else { [0; 8] };
    all[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(all))
}
