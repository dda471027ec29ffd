//! Where a version comes from.

use decant_model::{Digest, ModelName, ModelVersion};

use super::{Catalog, Version};
use crate::error::CallError;

/// The longest line that is followed.
const MAX_ANCESTORS: usize = 256;

/// One version of a line.
pub(crate) enum Ancestor {
    /// A version of the model.
    Known(Box<Version>),
    /// A parent that is no version of the model, as far as this cluster knows.
    Unknown(Digest),
}

impl Catalog {
    /// A version, its parent, the parent's parent and so on, as far as they are known.
    pub(crate) async fn lineage(
        &self,
        model: &ModelName,
        version: Option<ModelVersion>,
    ) -> Result<Vec<Ancestor>, CallError> {
        let mut next = self.version(model, version).await?;
        let mut line = Vec::new();
        while line.len() < MAX_ANCESTORS {
            let parent = next.record.manifest.lineage.parent;
            line.push(Ancestor::Known(Box::new(next)));
            let Some(digest) = parent else {
                break;
            };
            let Some(version) = self.version_of(model, digest).await? else {
                line.push(Ancestor::Unknown(digest));
                break;
            };
            next = self.known_version(model, version).await?;
        }
        Ok(line)
    }
}
