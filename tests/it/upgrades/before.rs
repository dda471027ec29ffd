//! A client that knows only the protocol of the version before: its messages are made and read by kept descriptors.

use std::net::SocketAddr;
use std::path::Path;

use bytes::{Buf as _, BufMut as _};
use decant_chassis::client::{Channel, channel};
use http::uri::PathAndQuery;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use tonic::Status;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// The protocol as it was.
pub(super) struct Before(DescriptorPool);

/// A service of today, asked by yesterday's protocol.
pub(super) struct Service {
    pool: DescriptorPool,
    channel: Channel,
}

impl Before {
    pub(super) fn read(path: &Path) -> Self {
        let descriptors = std::fs::read(path).unwrap();
        Self(DescriptorPool::decode(&*descriptors).unwrap())
    }

    pub(super) fn connect(&self, address: SocketAddr) -> Service {
        Service {
            pool: self.0.clone(),
            channel: channel("service", &format!("http://{address}")).unwrap(),
        }
    }
}

impl Service {
    /// Makes a call with a request in protobuf's text format; the answer comes back in it, without spaces.
    pub(super) async fn call(&self, path: &str, request: &str) -> String {
        let method = self.method(path);
        let request = DynamicMessage::parse_text_format(method.input(), request).unwrap();
        let mut client = Grpc::new(self.channel.clone());
        client.ready().await.unwrap();
        let path = PathAndQuery::try_from(format!("/{path}")).unwrap();
        let request = tonic::Request::new(request.encode_to_vec());
        let answer = client.unary(request, path.clone(), Raw).await;
        let answer = answer.unwrap_or_else(|status| panic!("{path}: {status}"));
        let answer = DynamicMessage::decode(method.output(), &*answer.into_inner()).unwrap();
        answer.to_text_format()
    }

    fn method(&self, path: &str) -> MethodDescriptor {
        let (service, name) = path.split_once('/').unwrap();
        let service = self.pool.get_service_by_name(service).unwrap();
        let mut methods = service.methods();
        methods.find(|method| method.name() == name).unwrap()
    }
}

/// Messages as their bytes.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut bytes = vec![0; from.remaining()];
        from.copy_to_slice(&mut bytes);
        Ok(Some(bytes))
    }
}
