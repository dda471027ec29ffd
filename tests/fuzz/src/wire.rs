//! Protobuf's wire format without a schema: fields with numbers, and what looks like a message inside them.

/// How deep messages are looked into.
const DEPTH: usize = 16;

/// A field of a message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    pub(crate) number: u64,
    pub(crate) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Varint(u64),
    /// Four bytes or eight.
    Fixed(Vec<u8>),
    Bytes(Vec<u8>),
    /// Bytes that are fields throughout, whatever they were meant to be.
    Message(Vec<Field>),
}

/// The fields of a message; none when it is not whole, or has groups.
pub(crate) fn read(message: &[u8]) -> Option<Vec<Field>> {
    read_to(DEPTH, message)
}

fn read_to(depth: usize, mut rest: &[u8]) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let number = key >> 3;
        if number == 0 {
            return None;
        }
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut rest)?),
            1 => Value::Fixed(take(&mut rest, 8)?.to_vec()),
            5 => Value::Fixed(take(&mut rest, 4)?.to_vec()),
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let content = take(&mut rest, length)?;
                let inside = if depth == 0 || content.is_empty() {
                    None
                } else {
                    read_to(depth - 1, content)
                };
                inside.map_or_else(|| Value::Bytes(content.to_vec()), Value::Message)
            }
            _ => return None,
        };
        fields.push(Field { number, value });
    }
    Some(fields)
}

/// The message of some fields.
pub(crate) fn write(fields: &[Field]) -> Vec<u8> {
    let mut message = Vec::new();
    for Field { number, value } in fields {
        let key = number << 3;
        match value {
            Value::Varint(value) => {
                push_varint(&mut message, key);
                push_varint(&mut message, *value);
            }
            Value::Fixed(bytes) => {
                push_varint(&mut message, key | if bytes.len() == 4 { 5 } else { 1 });
                message.extend_from_slice(bytes);
            }
            Value::Bytes(bytes) => push_bytes(&mut message, key, bytes),
            Value::Message(fields) => push_bytes(&mut message, key, &write(fields)),
        }
    }
    message
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let bytes = *rest;
    let mut value = 0;
    for (place, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if *byte < 0x80 {
            *rest = &bytes[place + 1..];
            return Some(value);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

fn push_bytes(message: &mut Vec<u8>, key: u64, bytes: &[u8]) {
    push_varint(message, key | 2);
    push_varint(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

fn push_varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}
