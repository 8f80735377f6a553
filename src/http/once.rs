//! `Idempotency-Key`: requests that can be sent again and take effect once.
//!
//! Invariant: what a request is called, and the ids of what it creates, follow from its key, its caller, what it asks and its
//! content. So a repetition finds that it was done and names the same resources, and the same key with anything else is
//! another request.

use sha2::{Digest, Sha256};

use super::{Context, Incoming};
use crate::error::{Error, Result};
use crate::time::Entropy;

/// What a request with a key is known by.
pub struct Once([u8; 32]);

struct Fixed([u8; 16]);

impl Entropy for Fixed {
    fn fill(&self, buffer: &mut [u8]) {
        for (to, from) in buffer.iter_mut().zip(self.0) {
            *to = from;
        }
    }
}

impl Once {
    /// What the request of `user` with this content is known by; `None` where it has no key. 400 where the key is none.
    pub fn of<P, R: Incoming>(context: &Context<'_, P, R>, user: &str, content: &[u8]) -> Result<Option<Once>> {
        let request = context.request;
        let Some(key) = request.header("idempotency-key") else { return Ok(None) };
        if !(1..=255).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::invalid("idempotency-key", "this must be 1 to 255 visible ASCII characters"));
        }
        let version = request.header("if-match").unwrap_or_default();
        let mut digest = Sha256::new();
        for part in [user, &key, request.method(), request.path(), &version] {
            digest.update(Sha256::digest(part));
        }
        digest.update(Sha256::digest(content));
        Ok(Some(Once(digest.finalize().into())))
    }

    /// Its name, 64 hexadecimal digits.
    pub fn name(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The id of what its `index`th entry creates, a UUID.
    pub fn id(&self, index: usize) -> String {
        let digest = Sha256::new().chain_update(self.0).chain_update(index.to_be_bytes()).finalize();
        let mut first = [0; 16];
        first.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Fixed(first).uuid()
    }
}
