//! Several lines on a terminal that newer ones replace.

use std::io::{self, IsTerminal as _};

use crate::output::Output;

/// What was drawn last.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    rows: usize,
}

impl Screen {
    /// Nothing drawn yet; `None` where what is printed cannot be replaced.
    pub(crate) fn new(output: Output) -> Option<Self> {
        (output.redraws() && io::stdout().is_terminal()).then(Self::default)
    }

    /// What replaces the last frame by this one. Wrapping is off while it is printed: a wrapped line would take more rows
    /// than are counted.
    pub(crate) fn frame(&mut self, text: &str) -> String {
        let back = match self.rows {
            0 => String::new(),
            rows => format!("\x1b[{rows}A\r"),
        };
        self.rows = text.lines().count();
        let end = if text.ends_with('\n') { "" } else { "\n" };
        format!("{back}\x1b[J\x1b[?7l{text}{end}\x1b[?7h")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_begins_where_the_last_one_did() {
        let mut screen = Screen::default();
        assert_eq!(
            screen.frame("one\ntwo\n"),
            "\x1b[J\x1b[?7lone\ntwo\n\x1b[?7h"
        );
        assert_eq!(
            screen.frame("three"),
            "\x1b[2A\r\x1b[J\x1b[?7lthree\n\x1b[?7h"
        );
        assert_eq!(
            screen.frame("four\n"),
            "\x1b[1A\r\x1b[J\x1b[?7lfour\n\x1b[?7h"
        );
    }
}
