//! Many texts in little memory.

use std::fmt;
use std::ops::Index;

use crate::ShortText;

/// Texts in their order, in a few pieces of memory however many there are: a request has one for each of hundreds of rows, and a
/// string for each would cost more than scoring them. Made from an iterator, or one by one.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Texts {
    kept: Vec<Kept>,
    /// Those that are not short, one after the other, and where each ends.
    long: String,
    ends: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kept {
    Short(ShortText),
    /// Its place among the long ones.
    Long(usize),
}

/// One of them, as it is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text<'a> {
    /// One that is short.
    Short(ShortText),
    /// One that is not.
    Long(&'a str),
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        ShortText::new(text).map_or(Self::Long(text), Self::Short)
    }
}

impl Text<'_> {
    /// The text itself.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Short(text) => text.as_str(),
            Self::Long(text) => text,
        }
    }
}

impl Texts {
    /// With room for so many short ones.
    pub fn with_capacity(count: usize) -> Self {
        Self {
            kept: Vec::with_capacity(count),
            ..Self::default()
        }
    }

    /// Makes room for so many more short ones.
    pub fn reserve(&mut self, more: usize) {
        self.kept.reserve(more);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The one in a place.
    pub fn get(&self, place: usize) -> Option<Text<'_>> {
        self.kept.get(place).map(|kept| self.key(kept))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        self.kept.iter().map(|kept| self.text(kept))
    }

    /// All of them, to be looked up.
    pub fn keys(&self) -> impl Iterator<Item = Text<'_>> + Clone {
        self.kept.iter().map(|kept| self.key(kept))
    }

    /// All of them, as bytes.
    pub fn bytes(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.kept.iter().map(|kept| match kept {
            Kept::Short(text) => text.as_bytes(),
            Kept::Long(place) => self.long(*place).as_bytes(),
        })
    }

    /// Adds one behind the others.
    pub fn push<'a>(&mut self, text: impl Into<Text<'a>>) {
        self.kept.push(match text.into() {
            Text::Short(text) => Kept::Short(text),
            Text::Long(text) => {
                self.long.push_str(text);
                self.ends.push(self.long.len());
                Kept::Long(self.ends.len() - 1)
            }
        });
    }

    /// Takes the last one away; whether there was any.
    pub fn pop(&mut self) -> bool {
        let last = self.kept.pop();
        if let Some(Kept::Long(place)) = last {
            self.long.truncate(self.start(place));
            self.ends.pop();
        }
        last.is_some()
    }

    /// Takes all away; their memory is kept.
    pub fn clear(&mut self) {
        self.kept.clear();
        self.long.clear();
        self.ends.clear();
    }

    fn text<'a>(&'a self, kept: &'a Kept) -> &'a str {
        match kept {
            Kept::Short(text) => text.as_str(),
            Kept::Long(place) => self.long(*place),
        }
    }

    fn key(&self, kept: &Kept) -> Text<'_> {
        match kept {
            Kept::Short(text) => Text::Short(*text),
            Kept::Long(place) => Text::Long(self.long(*place)),
        }
    }

    fn long(&self, place: usize) -> &str {
        &self.long[self.start(place)..self.ends[place]]
    }

    /// Where the one in this place among the long ones begins.
    fn start(&self, place: usize) -> usize {
        place.checked_sub(1).map_or(0, |before| self.ends[before])
    }
}

impl Index<usize> for Texts {
    type Output = str;

    fn index(&self, place: usize) -> &str {
        self.text(&self.kept[place])
    }
}

impl<T: AsRef<str>> FromIterator<T> for Texts {
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Self {
        let texts = texts.into_iter();
        let mut made = Self::with_capacity(texts.size_hint().0);
        made.extend(texts);
        made
    }
}

impl<T: AsRef<str>> Extend<T> for Texts {
    fn extend<I: IntoIterator<Item = T>>(&mut self, texts: I) {
        for text in texts {
            self.push(text.as_ref());
        }
    }
}

impl<T: AsRef<str>> From<Vec<T>> for Texts {
    fn from(texts: Vec<T>) -> Self {
        texts.into_iter().collect()
    }
}

impl<T: AsRef<str>, const COUNT: usize> From<[T; COUNT]> for Texts {
    fn from(texts: [T; COUNT]) -> Self {
        texts.into_iter().collect()
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_are_what_a_list_of_strings_is(
            mut texts in prop::collection::vec(".{0,12}", 0..20),
            pops in 0_usize..5,
            more in ".{0,12}",
        ) {
            let mut packed: Texts = texts.iter().collect();
            for _ in 0..pops {
                prop_assert_eq!(packed.pop(), texts.pop().is_some());
            }
            packed.push(more.as_str());
            texts.push(more);
            prop_assert_eq!((packed.len(), packed.is_empty()), (texts.len(), false));
            prop_assert!(packed.iter().eq(&texts));
            prop_assert!(packed.bytes().eq(texts.iter().map(String::as_bytes)));
            prop_assert!(packed.keys().eq(texts.iter().map(|text| Text::from(text.as_str()))));
            for (place, text) in texts.iter().enumerate() {
                prop_assert_eq!(&packed[place], text);
                let found = packed.get(place).unwrap();
                prop_assert_eq!(found.as_str(), text);
            }
            prop_assert_eq!(packed.get(texts.len()), None);
            prop_assert_eq!(&packed, &Texts::from(texts));
            packed.clear();
            prop_assert_eq!(packed, Texts::default());
        }
    }

    #[test]
    fn a_text_takes_no_more_memory_than_a_few_words() {
        assert_eq!(size_of::<Kept>(), 16);
    }
}
