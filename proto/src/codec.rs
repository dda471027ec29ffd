//! How messages are read from the wire.

use std::marker::PhantomData;

use prost::Message;
use prost::bytes::Buf;
use tonic::Status;
use tonic::codec::{self, DecodeBuf};
use tonic_prost::ProstEncoder;

/// Protobuf, read from a piece of memory of its own rather than out of the connection's buffer: prost takes a message apart
/// in thousands of small steps, each of which is dearer there, and byte fields keep their part of the piece without a
/// copy.
#[derive(Clone, Copy, Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

/// Reads messages.
#[derive(Clone, Copy, Debug)]
pub struct Decoder<U>(PhantomData<U>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = Decoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        Decoder(PhantomData)
    }
}

impl<U: Message + Default> codec::Decoder for Decoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // The whole message is there, so nothing is copied.
        let message = buffer.copy_to_bytes(buffer.remaining());
        let decoded = U::decode(message);
        // As gRPC has it, and tonic's own codec.
        decoded
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}
