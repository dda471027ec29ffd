//! Text to a label expression.
//!
//! ```text
//! label      = column | condition
//! condition  = all { "or" all }
//! all        = unary { "and" unary }
//! unary      = "not" unary | "(" condition ")" | comparison
//! comparison = operand ("<" | "<=" | "==" | "!=" | ">=" | ">") operand
//! operand    = column | number | string
//! ```
//! A column is a name, or anything within backticks; a string stands in single or double quotes, where a backslash
//! takes the next letter as it is.

use std::fmt;

use thiserror::Error;

use super::{Comparison, Condition, Label, Operand};

/// The text is no label expression.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct LabelSyntaxError {
    text: String,
    /// In letters, from 0.
    position: usize,
    reason: String,
}

impl LabelSyntaxError {
    /// Where the text goes wrong: in letters, from 1.
    pub fn position(&self) -> usize {
        self.position + 1
    }
}

impl fmt::Display for LabelSyntaxError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A control letter, a line end above all, would move the caret away from what it points at.
        let line: String = self
            .text
            .chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .collect();
        write!(
            formatter,
            "{} at position {}\n  {line}\n  {:indent$}^",
            self.reason,
            self.position(),
            "",
            indent = self.position
        )
    }
}

/// Parentheses and `not`s within each other: each costs stack.
const DEEPEST: usize = 64;
const LONGEST: usize = 4096;

pub(super) fn parse(text: &str) -> Result<Label, LabelSyntaxError> {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() > LONGEST {
        let reason = format!(
            "{} letters are more than the {LONGEST} allowed",
            letters.len()
        );
        return Err(LabelSyntaxError {
            text: letters[..LONGEST].iter().collect(),
            position: 0,
            reason,
        });
    }
    let refuse = |error: Refusal| LabelSyntaxError {
        text: text.to_owned(),
        position: error.0,
        reason: error.1,
    };
    let tokens = tokens(&letters).map_err(refuse)?;
    let mut parser = Parser {
        tokens: &tokens,
        next: 0,
        end: letters.len(),
        depth: 0,
    };
    parser.label().map_err(refuse)
}

/// Whether a column's name can stand without backticks.
pub(super) fn is_plain_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(starts_name)
        && letters.all(continues_name)
        && !matches!(name, "and" | "or" | "not")
}

fn starts_name(letter: char) -> bool {
    letter.is_alphabetic() || letter == '_'
}

fn continues_name(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '.')
}

/// Position and reason.
struct Refusal(usize, String);

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    Number(f64),
    Text(String),
    Comparison(Comparison),
    And,
    Or,
    Not,
    Open,
    Close,
}

fn tokens(letters: &[char]) -> Result<Vec<(usize, Token)>, Refusal> {
    let mut tokens = Vec::new();
    let mut position = 0;
    while let Some(&letter) = letters.get(position) {
        if letter.is_whitespace() {
            position += 1;
            continue;
        }
        let (token, length) =
            token(&letters[position..]).map_err(|reason| Refusal(position, reason))?;
        tokens.push((position, token));
        position += length;
    }
    Ok(tokens)
}

/// The token at the beginning of the letters, of which there is at least one, and its length.
fn token(letters: &[char]) -> Result<(Token, usize), String> {
    let first = letters[0];
    if let Some(symbol) = symbol(first, letters.get(1).copied()) {
        return Ok(symbol);
    }
    match first {
        '\'' | '"' => enclosed(letters).map(|(text, length)| (Token::Text(text), length)),
        '`' => match letters[1..].iter().position(|&letter| letter == '`') {
            Some(0) => Err("a column needs a name".into()),
            Some(length) => Ok((
                Token::Name(letters[1..=length].iter().collect()),
                length + 2,
            )),
            None => Err("this backtick is never closed".into()),
        },
        '=' => Err("`=` is no comparison; write `==`".into()),
        '&' | '|' | '!' => Err(format!(
            "`{first}` is no operator; write `and`, `or`, `not`"
        )),
        _ if starts_name(first) => {
            let length = letters
                .iter()
                .take_while(|&&letter| continues_name(letter))
                .count();
            let name: String = letters[..length].iter().collect();
            let token = match name.as_str() {
                "and" => Token::And,
                "or" => Token::Or,
                "not" => Token::Not,
                _ => Token::Name(name),
            };
            Ok((token, length))
        }
        _ if first.is_ascii_digit() || matches!(first, '-' | '+' | '.') => number(letters),
        _ => Err(format!("{first:?} has no meaning here")),
    }
}

fn symbol(first: char, second: Option<char>) -> Option<(Token, usize)> {
    Some(match (first, second) {
        ('<', Some('=')) => (Token::Comparison(Comparison::LessOrEqual), 2),
        ('>', Some('=')) => (Token::Comparison(Comparison::GreaterOrEqual), 2),
        ('=', Some('=')) => (Token::Comparison(Comparison::Equal), 2),
        ('!', Some('=')) => (Token::Comparison(Comparison::NotEqual), 2),
        ('<', _) => (Token::Comparison(Comparison::Less), 1),
        ('>', _) => (Token::Comparison(Comparison::Greater), 1),
        ('(', _) => (Token::Open, 1),
        (')', _) => (Token::Close, 1),
        _ => return None,
    })
}

fn enclosed(letters: &[char]) -> Result<(String, usize), String> {
    let (quote, mut text, mut position) = (letters[0], String::new(), 1);
    loop {
        match letters.get(position) {
            Some(&letter) if letter == quote => return Ok((text, position + 1)),
            Some('\\') if position + 1 < letters.len() => {
                text.push(letters[position + 1]);
                position += 2;
            }
            Some(&letter) => {
                text.push(letter);
                position += 1;
            }
            None => return Err("this string is never closed".into()),
        }
    }
}

fn number(letters: &[char]) -> Result<(Token, usize), String> {
    // A sign belongs to the number at its beginning and after an exponent's `e`.
    let belongs = |position: usize| match letters[position] {
        '-' | '+' => position == 0 || matches!(letters[position - 1], 'e' | 'E'),
        letter => letter.is_alphanumeric() || letter == '.',
    };
    let length = (0..letters.len())
        .take_while(|&position| belongs(position))
        .count();
    let text: String = letters[..length].iter().collect();
    let digits = text.bytes().any(|byte| byte.is_ascii_digit());
    match text.parse::<f64>() {
        Ok(number) if digits && number.is_finite() => Ok((Token::Number(number), length)),
        _ => Err(format!("`{text}` is no number")),
    }
}

struct Parser<'a> {
    tokens: &'a [(usize, Token)],
    next: usize,
    /// The position after the last letter.
    end: usize,
    depth: usize,
}

impl Parser<'_> {
    fn label(&mut self) -> Result<Label, Refusal> {
        if let [(_, Token::Name(name))] = self.tokens {
            return Ok(Label::Column(name.clone()));
        }
        let condition = self.condition()?;
        match self.peek() {
            None => Ok(Label::Condition(condition)),
            Some(Token::Close) => Err(self.refuse("this parenthesis was never opened")),
            Some(_) => Err(self.refuse("expected `and`, `or` or the end")),
        }
    }

    fn condition(&mut self) -> Result<Condition, Refusal> {
        let first = self.all()?;
        self.chain(first, &Token::Or, Self::all, Condition::Any)
    }

    fn all(&mut self) -> Result<Condition, Refusal> {
        let first = self.unary()?;
        self.chain(first, &Token::And, Self::unary, Condition::All)
    }

    fn chain(
        &mut self,
        first: Condition,
        word: &Token,
        part: fn(&mut Self) -> Result<Condition, Refusal>,
        join: fn(Vec<Condition>) -> Condition,
    ) -> Result<Condition, Refusal> {
        if self.peek() != Some(word) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.peek() == Some(word) {
            self.next += 1;
            parts.push(part(self)?);
        }
        Ok(join(parts))
    }

    fn unary(&mut self) -> Result<Condition, Refusal> {
        let opens = matches!(self.peek(), Some(Token::Not | Token::Open));
        if !opens {
            return self.comparison();
        }
        if self.depth == DEEPEST {
            return Err(self.refuse(&format!("more than {DEEPEST} levels")));
        }
        self.depth += 1;
        let negated = self.peek() == Some(&Token::Not);
        self.next += 1;
        let inner = if negated {
            Condition::Not(Box::new(self.unary()?))
        } else {
            self.parenthesised()?
        };
        self.depth -= 1;
        Ok(inner)
    }

    fn parenthesised(&mut self) -> Result<Condition, Refusal> {
        let inner = self.condition()?;
        if self.peek() != Some(&Token::Close) {
            return Err(self.refuse("expected `)`"));
        }
        self.next += 1;
        Ok(inner)
    }

    fn comparison(&mut self) -> Result<Condition, Refusal> {
        let start = self.next;
        let left = self.operand()?;
        let Some(&Token::Comparison(comparison)) = self.peek() else {
            return Err(self.refuse(&format!(
                "expected a comparison (>=, >, <=, <, ==, !=) after {left}"
            )));
        };
        self.next += 1;
        let right = self.operand()?;
        if !matches!(
            (&left, &right),
            (Operand::Column(_), _) | (_, Operand::Column(_))
        ) {
            self.next = start;
            return Err(self.refuse("a comparison needs a column"));
        }
        if let Some(Token::Comparison(_)) = self.peek() {
            return Err(self.refuse("comparisons do not chain; join them with `and`"));
        }
        Ok(Condition::Compare(left, comparison, right))
    }

    fn operand(&mut self) -> Result<Operand, Refusal> {
        let operand = match self.peek() {
            Some(Token::Name(name)) => Operand::Column(name.clone()),
            Some(Token::Number(number)) => Operand::Number(*number),
            Some(Token::Text(text)) => Operand::Text(text.clone()),
            _ => return Err(self.refuse("expected a column, a number or a string")),
        };
        self.next += 1;
        Ok(operand)
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn refuse(&self, reason: &str) -> Refusal {
        Refusal(
            self.tokens
                .get(self.next)
                .map_or(self.end, |(position, _)| *position),
            reason.to_owned(),
        )
    }
}
