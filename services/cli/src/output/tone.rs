//! Colour, where it is wanted. It repeats what the words say, and never says it alone.

/// What a word means to the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Heading,
    Good,
    Busy,
    Bad,
}

/// Paints, or does not; and shows what counts most, or all there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Palette {
    colours: bool,
    wide: bool,
}

impl Palette {
    /// A palette with or without colours.
    pub(crate) fn new(colours: bool) -> Self {
        Self {
            colours,
            wide: false,
        }
    }

    /// The same, for whoever wants to see all columns and nothing cut.
    #[must_use]
    pub(crate) fn wide(self) -> Self {
        Self { wide: true, ..self }
    }

    /// Whether all columns are shown and nothing is cut.
    pub(crate) fn is_wide(self) -> bool {
        self.wide
    }

    /// The text in its colour.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Heading => 1,
            Tone::Good => 32,
            Tone::Busy => 33,
            Tone::Bad => 31,
        };
        if self.colours && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
