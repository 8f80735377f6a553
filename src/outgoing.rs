//! HTTP requests of our own as values: what is sent, what came back, or that nothing did.
//!
//! Invariant: whoever sends a request says how long it waits, and is told whether nothing came or something broke; a lost
//! reply says nothing about whether the request was carried out. Headers carry secrets, so that no request can be printed.

pub mod breaker;

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::task::Poll;

use futures_util::future::maybe_done;

use crate::time::{Clock, Entropy, Ttl};

/// A request.
pub struct Request {
    /// The method, upper case.
    pub method: &'static str,
    /// The absolute URL.
    pub url: String,
    /// Names in lower case, with their values.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// The body.
    pub body: String,
    /// The headers of the reply that are wanted, in lower case.
    pub wanted: &'static [&'static str],
}

/// A reply, whatever its status.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Those of the wanted headers that it has.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a wanted header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_str())
    }
}

/// Why there is no reply. The request may have been carried out or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// None came in time.
    Late,
    /// The connection could not be made, or broke.
    Broken,
}

/// The way out, with what retries need.
pub trait Http: Clock + Entropy {
    /// Sends `request` and waits at most `within` for the whole reply.
    fn send(&self, request: &Request, within: Ttl) -> impl Future<Output = Result<Response, Lost>>;
    /// Waits.
    fn pause(&self, ttl: Ttl) -> impl Future<Output = ()>;
    /// Tells the operator. The sentence is written in the source.
    fn note(&self, sentence: &'static str);
}

/// Appends `text` to a URL's query: what RFC 3986 (section 2.3) leaves unreserved, and what reads well there, as it is.
pub fn encode(url: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/,".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// What all of these give, in their order, once the last has given it. They go on beside each other. (That of `futures_util`
/// brings a queue and a heap for more than thirty, some KB of the module for each type.)
pub async fn join_all<F: Future>(all: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.into_iter().map(|one| Box::pin(maybe_done(one))).collect();
    poll_fn(|context| {
        let mut waits = false;
        for one in &mut all {
            waits |= one.as_mut().poll(context).is_pending();
        }
        if waits { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    all.iter_mut().filter_map(|one| one.as_mut().take_output()).collect()
}

/// How long to wait before try number `tries` (from 1): anything up to `first` doubled with each, at most `most` ("full
/// jitter"), so that those who failed together do not come back together.
pub fn backoff(entropy: &impl Entropy, tries: u32, first: Ttl, most: Ttl) -> Ttl {
    let ceiling = first.0.saturating_mul(2_u64.saturating_pow(tries.saturating_sub(1))).min(most.0);
    let mut bytes = [0_u8; 8];
    entropy.fill(&mut bytes);
    // The remainder is biased by less than 2^-40 for any pause that anybody would wait.
    Ttl(u64::from_be_bytes(bytes).checked_rem(ceiling.saturating_add(1)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::testing::{Seeded, block_on};

    #[test]
    fn all_go_on_beside_each_other_and_answer_in_their_order() {
        let begun = Cell::new(0);
        let one = |number: u32| {
            let begun = &begun;
            async move {
                begun.set(begun.get() + 1);
                // The first ends only once the last has begun.
                poll_fn(|context| {
                    context.waker().wake_by_ref();
                    if begun.get() == 40 { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
                number
            }
        };
        assert_eq!(block_on(join_all((0..40).map(one))), (0..40).collect::<Vec<_>>());
        assert_eq!(block_on(join_all((0..0).map(one))), Vec::<u32>::new());
    }

    #[test]
    fn a_backoff_doubles_its_ceiling_and_uses_all_of_it() {
        let entropy = Seeded::new(1);
        for (tries, ceiling) in [(1, 50), (2, 100), (3, 200), (9, 500)] {
            let drawn: Vec<u64> = (0..2_000).map(|_| backoff(&entropy, tries, Ttl(50), Ttl(500)).0).collect();
            assert!(drawn.iter().all(|pause| *pause <= ceiling));
            assert!(
                drawn.iter().any(|pause| *pause < ceiling / 10) && drawn.iter().any(|pause| *pause > ceiling * 9 / 10)
            );
        }
    }
}
