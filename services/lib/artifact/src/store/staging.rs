//! What a push that crashed leaves behind: uploads that were never completed. No reader sees them, but they take space.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use object_store::aws::AmazonS3;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer};

use super::local;
use crate::{StorageError, layout};

/// Where uploads in the making lie.
#[derive(Clone, Debug)]
pub(super) enum Staging {
    /// Out of reach: Azure drops them by itself after a week, and Google by a rule of the bucket.
    Unknown,
    /// Beside their destination in a local folder.
    Folder(PathBuf),
    /// In S3's list of multipart uploads.
    S3(Arc<Multipart>),
}

impl Staging {
    /// Removes, or only counts, the uploads that began before a time.
    pub(super) async fn remove(
        &self,
        before: SystemTime,
        dry_run: bool,
    ) -> Result<u64, StorageError> {
        match self {
            Self::Unknown => Ok(0),
            Self::Folder(folder) => {
                let action = format!("tidy {}", folder.display());
                let folder = folder.clone();
                let removal = move || local::remove_stale_uploads(&folder, before, dry_run);
                let removed = tokio::task::spawn_blocking(removal).await;
                removed
                    .unwrap_or_else(|error| Err(error.into()))
                    .map_err(StorageError::of_folder(action))
            }
            Self::S3(multipart) => multipart.remove(before, dry_run).await,
        }
    }
}

/// S3's multipart uploads. `object_store` completes and aborts them, but does not list them.
#[derive(Debug)]
pub(super) struct Multipart {
    s3: Arc<AmazonS3>,
    prefix: Path,
    timeout: Duration,
}

/// A multipart upload that is not complete.
#[derive(Debug, PartialEq, Eq)]
struct Begun {
    key: String,
    id: String,
    at: String,
}

impl Begun {
    /// Both times are written alike, so that the order of their text is that of time.
    fn began_before(&self, timestamp: &str) -> bool {
        let at = self.at.get(..timestamp.len());
        at.is_some_and(|at| at < timestamp)
    }
}

impl Multipart {
    pub(super) fn new(s3: Arc<AmazonS3>, prefix: Path, timeout: Duration) -> Self {
        Self {
            s3,
            prefix,
            timeout,
        }
    }

    async fn remove(&self, before: SystemTime, dry_run: bool) -> Result<u64, StorageError> {
        let before = timestamp(before);
        let mut removed = 0;
        for upload in self.list().await? {
            let path = Path::from(upload.key.as_str());
            if !upload.began_before(&before) || !self.is_ours(&path) {
                continue;
            }
            removed += 1;
            if !dry_run {
                tracing::info!(%path, began = upload.at, "removing an upload that was cut off long ago");
                match self.s3.abort_multipart(&path, &upload.id).await {
                    // Somebody else was quicker.
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => {
                        return Err(StorageError::at(format!("abort an upload of {path}"))(
                            error,
                        ));
                    }
                }
            }
        }
        Ok(removed)
    }

    /// Whether a key is the address of a file of ours: the bucket may have other users.
    fn is_ours(&self, path: &Path) -> bool {
        let below = path.prefix_match(&self.prefix);
        below.is_some_and(|parts| layout::place(&Path::from_iter(parts)).is_some())
    }

    /// The uploads below the prefix: the first thousand, which is S3's page. A later sweep sees the next.
    async fn list(&self) -> Result<Vec<Begun>, StorageError> {
        let action = "list unfinished uploads";
        let blobs = self
            .prefix
            .parts()
            .chain(layout::blobs().parts())
            .collect::<Path>();
        let query = [("uploads", String::new()), ("prefix", format!("{blobs}/"))];
        let options = SignedUrlOptions::new().with_query(query);
        let url = self
            .s3
            .signed_url_opts(
                reqwest::Method::GET,
                &Path::default(),
                self.timeout,
                &options,
            )
            .await
            .map_err(StorageError::at(action))?;
        let answer = async {
            let client = reqwest::Client::builder().timeout(self.timeout).build()?;
            let answer = client.get(url).send().await?.error_for_status()?;
            answer.text().await
        };
        let text = answer.await.map_err(|error| {
            // The address holds a signature, which is as good as a key for a while.
            let source = error.without_url().into();
            StorageError::at(action)(object_store::Error::Generic {
                store: "S3",
                source,
            })
        })?;
        Ok(parse(&text))
    }
}

/// The uploads in S3's answer. Keys of ours need no unescaping, and others are not touched.
fn parse(answer: &str) -> Vec<Begun> {
    let text = |upload: &str, tag: &str| {
        let (_, rest) = upload.split_once(&format!("<{tag}>"))?;
        let (text, _) = rest.split_once(&format!("</{tag}>"))?;
        Some(text.to_owned())
    };
    answer
        .split("<Upload>")
        .skip(1)
        .filter_map(|upload| {
            Some(Begun {
                key: text(upload, "Key")?,
                id: text(upload, "UploadId")?,
                at: text(upload, "Initiated")?,
            })
        })
        .collect()
}

/// A time as S3 writes it, to the second: `2026-11-24T02:41:00`.
fn timestamp(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // The calendar repeats every 400 years of 146,097 days; years here begin in March, so that the leap day is the last.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_s3_does() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (1_795_488_075, "2026-11-24T02:41:15"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn uploads_are_read_from_the_answer() {
        let answer = "<List><Upload><Key>a</Key><UploadId>1</UploadId><Owner><ID>x</ID></Owner>\
            <Initiated>2026-11-24T02:41:15.000Z</Initiated></Upload><Upload><Key>b</Key></Upload></List>";
        let expected = Begun {
            key: "a".into(),
            id: "1".into(),
            at: "2026-11-24T02:41:15.000Z".into(),
        };
        assert_eq!(parse(answer), [expected]);
        let upload = &parse(answer)[0];
        assert!(upload.began_before("2026-11-24T02:41:16"));
        assert!(!upload.began_before("2026-11-24T02:41:15"));
        assert!(!upload.began_before("2025-12-31T23:59:59"));
    }
}
