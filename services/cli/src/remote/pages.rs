//! Lists that come in pages.

use crate::failure::Failure;

/// The largest page that is asked for; the registry may send smaller ones.
const PAGE: usize = 500;

/// The beginning of a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Paged<T> {
    /// As many as were asked for, or all there are.
    pub(crate) items: Vec<T>,
    /// Whether there are more.
    pub(crate) has_more: bool,
}

/// Asks for pages until there are so many items, or no more. A page is asked for by its size and token.
pub(super) async fn collect<T>(
    limit: usize,
    page: impl AsyncFn(u32, String) -> Result<(Vec<T>, String), Failure>,
) -> Result<Paged<T>, Failure> {
    let (mut items, mut token) = (Vec::new(), String::new());
    loop {
        let size = (limit - items.len()).min(PAGE);
        let (mut received, next) = page(size as u32, token.clone()).await?;
        items.append(&mut received);
        if items.len() >= limit || next.is_empty() {
            let has_more = items.len() > limit || !next.is_empty();
            items.truncate(limit);
            return Ok(Paged { items, has_more });
        }
        if next == token {
            return Err(Failure::new("the registry sent the same page again"));
        }
        token = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from 0, in pages of at most two; the token is the first number of the next page.
    async fn numbers(all: u32, size: u32, token: String) -> Result<(Vec<u32>, String), Failure> {
        let first: u32 = token.parse().unwrap_or(0);
        let end = (first + size.min(2)).min(all);
        let next = if end < all {
            end.to_string()
        } else {
            String::new()
        };
        Ok(((first..end).collect(), next))
    }

    #[tokio::test]
    async fn pages_are_followed_up_to_the_limit() {
        for (all, limit, expected, more) in [
            (5, 9, 5, false),
            (5, 5, 5, false),
            (5, 3, 3, true),
            (0, 3, 0, false),
        ] {
            let paged = collect(limit, async |size, token| numbers(all, size, token).await)
                .await
                .unwrap();
            assert_eq!(paged.items, (0..expected).collect::<Vec<_>>());
            assert_eq!(paged.has_more, more, "{all} {limit}");
        }
    }

    #[tokio::test]
    async fn a_registry_that_repeats_itself_is_no_endless_loop() {
        let repeated = collect(9, async |_, _| Ok((vec![1], "again".to_owned()))).await;
        assert_eq!(
            repeated.unwrap_err().what(),
            "the registry sent the same page again"
        );
    }
}
