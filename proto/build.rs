//! Compiles the protocol with protox, so that building Decant's own protos needs no `protoc`.

use std::path::PathBuf;
use std::{env, error::Error, fs};

const PROTOS: [&str; 8] = [
    "decant/trainer/v1/trainer.proto",
    "decant/registry/v1/registry.proto",
    "decant/rollout/v1/rollout.proto",
    "decant/scorer/v1/scorer.proto",
    "decant/admin/v1/admin.proto",
    "decant/ops/v1/ops.proto",
    "decant/access/v1/access.proto",
    "inference/grpc_service.proto",
];

/// What both answers are read into.
const BEST_ITEMS: &str = "crate::scorer::BestItems";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=decant");
    println!("cargo:rerun-if-changed=inference");
    let descriptors = protox::compile(PROTOS, ["."])?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    // The same descriptors serve reflection.
    fs::write(
        out.join("decant.bin"),
        prost::Message::encode_to_vec(&descriptors),
    )?;
    tonic_prost_build::configure()
        .bytes(".")
        .codec_path("crate::codec::WholeCodec")
        .extern_path(
            ".inference.ModelInferResponse",
            "crate::inference::ModelInferResponse",
        )
        .extern_path(
            ".decant.scorer.v1.FloatValues",
            "crate::scorer::FloatValues",
        )
        .extern_path(".decant.scorer.v1.ItemIds", "crate::scorer::ItemIds")
        .extern_path(
            ".decant.scorer.v1.StringValues",
            "crate::scorer::StringValues",
        )
        .extern_path(".decant.scorer.v1.ScoredItem", "crate::scorer::ScoredItem")
        .extern_path(".decant.scorer.v1.RankResponse", BEST_ITEMS)
        .extern_path(".decant.scorer.v1.RecommendResponse", BEST_ITEMS)
        .compile_fds(descriptors)?;
    Ok(())
}
