//! New inputs, made of old ones by small changes. They are to stay close to what is read: an input that is refused at its
//! first byte tries nothing.

use std::ops::Range;

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

use crate::wire::{self, Field, Value};
use crate::{Format, Seed};

/// Bytes of an input, at most.
const LONGEST: usize = 16 << 10;
/// Bytes that one change moves, at most.
const PIECE: usize = 64;

/// Numbers at which programs err.
const NUMBERS: [u64; 26] = [
    0,
    1,
    2,
    7,
    8,
    16,
    64,
    127,
    128,
    255,
    256,
    4096,
    u16::MAX as u64,
    1 << 16,
    i32::MAX as u64,
    1 << 31,
    u32::MAX as u64,
    1 << 32,
    1 << 53,
    1 << 62,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
    // A float's infinity, the one that is no number, and a double's infinity.
    0x7f80_0000,
    0x7fc0_0000,
    0x7ff0_0000_0000_0000,
];

/// Words that JSON's readers meet rarely.
const WORDS: [&str; 20] = [
    "0",
    "-1",
    "-0",
    "0.1",
    "1e400",
    "1e39",
    "1e-400",
    "2147483648",
    "4294967296",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "null",
    "true",
    "NaN",
    "[]",
    "{}",
    "\"\"",
    "\"\\u0000\"",
    "\"../x\"",
];

/// Makes inputs. The same seed makes the same ones.
pub(crate) struct Mutator {
    random: Pcg64Mcg,
    format: Format,
}

impl Mutator {
    pub(crate) fn new(seed: u64, format: Format) -> Self {
        Self {
            random: Pcg64Mcg::seed_from_u64(seed),
            format,
        }
    }

    /// One of the seeds, changed in one to three places, perhaps with parts of another.
    pub(crate) fn input(&mut self, seeds: &[Seed]) -> Vec<u8> {
        let mut input = self.one_of(seeds).bytes.clone();
        let donor = &self.one_of(seeds).bytes;
        for _ in 0..1 + self.below(3) {
            // Some are also to be broken in themselves.
            let format = match self.below(6) {
                0 => Format::Bytes,
                _ => self.format,
            };
            match format {
                Format::Bytes => self.change_bytes(&mut input, donor),
                Format::Text => self.change_text(&mut input, donor),
                Format::Protobuf => self.change_message(&mut input, donor),
            }
        }
        input.truncate(LONGEST);
        input
    }

    fn change_bytes(&mut self, bytes: &mut Vec<u8>, donor: &[u8]) {
        let place = self.below(bytes.len() + 1);
        let piece = self.piece(place, bytes.len());
        match self.below(8) {
            0 if !piece.is_empty() => bytes[place] ^= 1_u8 << self.below(8),
            1 if !piece.is_empty() => bytes[place] = self.byte(),
            2 => {
                let width: usize = *self.one_of(&[1, 2, 4, 8]);
                let end = bytes.len().min(place + width);
                let number = self.number().to_le_bytes();
                bytes[place..end].copy_from_slice(&number[..end - place]);
            }
            3 => drop(bytes.drain(piece)),
            4 => {
                let again = bytes[piece].to_vec();
                drop(bytes.splice(place..place, again));
            }
            5 => bytes.truncate(place),
            6 => {
                let start = self.below(donor.len() + 1);
                bytes.truncate(place);
                bytes.extend_from_slice(&donor[start..]);
            }
            _ => {
                let new: Vec<u8> = (0..1 + self.below(8)).map(|_| self.byte()).collect();
                drop(bytes.splice(place..place, new));
            }
        }
    }

    fn change_text(&mut self, text: &mut Vec<u8>, donor: &[u8]) {
        let place = self.below(text.len() + 1);
        let item = around(text, place, |byte| byte != b',');
        let word = around(text, place, is_of_word);
        match self.below(4) {
            0 => drop(text.drain(item)),
            1 => {
                let start = item.start;
                let again = [&text[item], b","].concat();
                drop(text.splice(start..start, again));
            }
            2 => {
                let there = self.below(donor.len() + 1);
                let other = donor[around(donor, there, is_of_word)].to_vec();
                drop(text.splice(word, other));
            }
            _ => drop(text.splice(word, self.one_of(&WORDS).bytes())),
        }
    }

    fn change_message(&mut self, message: &mut Vec<u8>, donor: &[u8]) {
        match wire::read(message) {
            Some(mut fields) if !fields.is_empty() => {
                let donor = wire::read(donor).unwrap_or_default();
                self.change_fields(&mut fields, &donor);
                *message = wire::write(&fields);
            }
            _ => self.change_bytes(message, donor),
        }
    }

    /// Changes a field, mostly one that lies deep inside.
    fn change_fields(&mut self, fields: &mut Vec<Field>, donor: &[Field]) {
        if fields.is_empty() {
            return;
        }
        let place = self.below(fields.len());
        if let Value::Message(inside) = &mut fields[place].value
            && self.below(4) > 0
        {
            return self.change_fields(inside, donor);
        }
        match self.below(8) {
            0 => drop(fields.remove(place)),
            1 => fields.insert(place, fields[place].clone()),
            2 => {
                let other = self.below(fields.len());
                fields.swap(place, other);
            }
            3 => fields[place].number = 1 + self.below(20) as u64,
            4 => fields[place] = self.part_of(donor).unwrap_or_else(|| fields[place].clone()),
            5 => {
                if let Some(other) = self.part_of(donor) {
                    fields[place].value = other.value;
                }
            }
            _ => self.change_value(&mut fields[place].value),
        }
    }

    fn change_value(&mut self, value: &mut Value) {
        match value {
            Value::Varint(number) if self.below(3) == 0 => *number ^= 1_u64 << self.below(64),
            Value::Varint(number) => *number = self.number(),
            Value::Fixed(bytes) => {
                let width = bytes.len();
                self.change_bytes(bytes, &[]);
                bytes.resize(width, 0);
            }
            Value::Bytes(bytes) => self.change_bytes(bytes, &[]),
            Value::Message(fields) => fields.clear(),
        }
    }

    /// A field of a message, or of one inside it.
    fn part_of(&mut self, fields: &[Field]) -> Option<Field> {
        let field = fields.get(self.below(fields.len()))?;
        match &field.value {
            Value::Message(inside) if !inside.is_empty() && self.below(2) == 0 => {
                self.part_of(inside)
            }
            _ => Some(field.clone()),
        }
    }

    /// A few bytes from here on, if there are any.
    fn piece(&mut self, start: usize, end: usize) -> Range<usize> {
        start..end.min(start + 1 + self.below(PIECE))
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    fn number(&mut self) -> u64 {
        *self.one_of(&NUMBERS)
    }

    fn byte(&mut self) -> u8 {
        self.random.next_u32() as u8
    }

    /// Uniform in 0..bound; 0 when there is nothing below the bound.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.random.next_u64()) * bound as u128) >> 64) as usize
    }
}

/// The bytes of a kind that lie around a place without a gap.
fn around(text: &[u8], place: usize, is_of_kind: impl Fn(u8) -> bool) -> Range<usize> {
    let (before, after) = text.split_at(place);
    let start = before.iter().rposition(|byte| !is_of_kind(*byte));
    let end = after.iter().position(|byte| !is_of_kind(*byte));
    start.map_or(0, |last| last + 1)..end.map_or(text.len(), |first| place + first)
}

/// A number, a string without spaces, or what is in place of one.
fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"\"+-._/\\".contains(&byte) || !byte.is_ascii()
}
