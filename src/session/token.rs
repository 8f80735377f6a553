//! Session tokens: 256 random bits that name their owner, of which only a keyed hash is ever stored.
//!
//! Invariant: the text of a token leaves this module through [`Token::expose`] alone; neither `Debug` nor an error shows
//! it. Format, pinned by a test: `bs1.` + the owner's id, 32 hex digits + `.` + 43 characters of base64url. The owner's id
//! gives the shard, so that no setting moves a session.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::error::{Error, Result};
use crate::time::Entropy;

const PREFIX: &str = "bs1";
/// 256 bits.
const SECRET_BYTES: usize = 32;
/// 32 bytes in base64url without padding.
const SECRET_CHARS: usize = 43;

/// A session token, whole.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    text: String,
    user: String,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(redacted)")
    }
}

impl Token {
    /// A new token for the account `user`, a UUID.
    pub fn mint(entropy: &impl Entropy, user: &str) -> Token {
        let mut secret = [0_u8; SECRET_BYTES];
        entropy.fill(&mut secret);
        let text = format!("{PREFIX}.{}.{}", user.replace('-', ""), URL_SAFE_NO_PAD.encode(secret));
        Token { text, user: user.to_owned() }
    }

    /// Reads a token as a client sent it; `None` where it cannot be one. Says nothing about whether it is valid.
    pub fn parse(text: &str) -> Option<Token> {
        let mut parts = text.split('.');
        let (prefix, owner, secret) = (parts.next()?, parts.next()?, parts.next()?);
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let well_formed = parts.next().is_none()
            && prefix == PREFIX
            && owner.len() == 32
            && owner.bytes().all(hex)
            && secret.len() == SECRET_CHARS
            && secret.bytes().all(base64url);
        if !well_formed {
            return None;
        }
        let piece = |from: usize, to: usize| owner.get(from..to).unwrap_or_default();
        let user = [piece(0, 8), piece(8, 12), piece(12, 16), piece(16, 20), piece(20, 32)].join("-");
        Some(Token { text: text.to_owned(), user })
    }

    /// The id of the account that the token says it belongs to.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The token for its holder: into a reply, never into a log or a store.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// HMAC-SHA-256 of the whole token under `key`, in base64url: the name under which the session is stored.
    pub fn hash(&self, key: &[u8]) -> Result<String> {
        keyed_hash(key, &self.text)
    }
}

/// HMAC-SHA-256 of `text` under `key`, in base64url.
pub fn keyed_hash(key: &[u8], text: &str) -> Result<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| Error::internal("the session key cannot be used"))?;
    mac.update(text.as_bytes());
    Ok(URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

/// Whether two secrets are the same, in a time that does not depend on where they differ.
pub fn same_secret(key: &[u8], one: &str, other: &str) -> Result<bool> {
    let mac = |secret: &str| -> Result<Hmac<Sha256>> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(key).map_err(|_| Error::internal("the session key cannot be used"))?;
        mac.update(secret.as_bytes());
        Ok(mac)
    };
    let wanted = mac(other)?.finalize().into_bytes();
    Ok(mac(one)?.verify_slice(&wanted).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Seeded;

    const USER: &str = "0d9a8e6c-6c3c-4c9b-8d7e-2f1a0b9c8d7e";

    /// Every open session is found by this hash; if it moves, everybody is signed out.
    #[test]
    fn the_stored_form_is_pinned() {
        let text = format!("bs1.{}.{}", USER.replace('-', ""), "A".repeat(SECRET_CHARS));
        let token = Token::parse(&text).unwrap();
        assert_eq!(token.user(), USER);
        assert_eq!(token.hash(&[7; 32]).unwrap(), "kN8qlEOlzcOjk-JDAxSCSsTVfSaA2-ZKQzkNrmZRBPY");
    }

    #[test]
    fn a_minted_token_reads_back_and_never_shows_itself() {
        let token = Token::mint(&Seeded::new(1), USER);
        assert_eq!(Token::parse(token.expose()).as_ref(), Some(&token));
        assert_eq!(token.expose().len(), 80);
        assert!(!format!("{token:?}").contains("bs1"));
        assert_ne!(token, Token::mint(&Seeded::new(2), USER));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let good = Token::mint(&Seeded::new(1), USER);
        let good = good.expose();
        let cases = [
            String::new(),
            good.replace("bs1", "bs2"),
            good.to_uppercase(),
            format!("{good}A"),
            format!("{good}."),
            good[1..].to_owned(),
            good.replace('.', " "),
            format!("{}é", &good[..78]),
        ];
        for case in cases {
            assert!(Token::parse(&case).is_none(), "{case}");
        }
    }
}
