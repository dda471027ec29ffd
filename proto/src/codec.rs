//! How messages are read off the wire and written to it.

use std::marker::PhantomData;

use bytes::Buf as _;
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstEncoder};

/// As [`ProstCodec`], but a message is taken off the connection's buffer as one piece before it is decoded. That copies
/// nothing, and each of the hundreds of steps over a ranking's candidates is then one of a pointer.
#[derive(Debug)]
pub struct WholeCodec<T, U>(PhantomData<(T, U)>);

/// Decodes a message of one piece.
#[derive(Debug)]
pub struct WholeDecoder<U>(PhantomData<U>);

impl<T, U> Default for WholeCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for WholeCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = WholeDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        WholeDecoder(PhantomData)
    }
}

impl<U: Message + Default> Decoder for WholeDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let message = buffer.copy_to_bytes(buffer.remaining());
        // The code that gRPC has for this: doc/statuscodes.md of its repository.
        let decoded = U::decode(message).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Some(decoded))
    }
}
