//! AES-256-GCM in Rust: what native tests put in the place of WebCrypto. A test in workerd holds the two to the same bytes.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};

use super::Seeded;
use crate::chart::cache::seal::Cipher;
use crate::error::{Error, Result};
use crate::time::Entropy;

/// The cipher, with the randomness for nonces.
pub struct SoftCipher(Seeded);

impl SoftCipher {
    pub fn new(seed: u64) -> SoftCipher {
        SoftCipher(Seeded::new(seed))
    }
}

impl Entropy for SoftCipher {
    fn fill(&self, buffer: &mut [u8]) {
        self.0.fill(buffer);
    }
}

impl Cipher for SoftCipher {
    async fn seal(&self, key: &[u8; 32], nonce: &[u8; 12], bound: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
        let sealed = Aes256Gcm::new(key.into()).encrypt(nonce.into(), Payload { msg: plain, aad: bound });
        sealed.map_err(|_| Error::internal("a view could not be sealed"))
    }

    async fn open(&self, key: &[u8; 32], nonce: &[u8; 12], bound: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        Aes256Gcm::new(key.into()).decrypt(nonce.into(), Payload { msg: sealed, aad: bound }).ok()
    }
}
