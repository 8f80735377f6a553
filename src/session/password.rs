//! Passwords: Argon2id (RFC 9106) with a random salt, and the rule for choosing one (NIST SP 800-63B-4 section 3.1.1.2).
//!
//! Invariant: a check takes the same work whether or not there is an account to check against. 19 MiB and two passes is
//! the least that OWASP's cheat sheet accepts; it takes 30 to 50 ms in WebAssembly.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};

use crate::error::{Error, Kind, Result};
use crate::time::Entropy;

/// The shortest password, in characters: what NIST asks of a password that is the only factor.
pub const MIN_CHARS: usize = 15;
/// The longest password, in bytes, so that hashing has a bound.
pub const MAX_BYTES: usize = 256;

/// 19 MiB, in KiB.
const MEMORY_KIB: u32 = 19 * 1_024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;

fn hasher() -> Result<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_| Error::internal("Argon2id parameters"))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Refuses a password that is too short, too long, or contains the user name.
pub fn check_choice(password: &str, username: &str) -> Result<()> {
    let wrong = |message: &'static str| Err(Error::new(Kind::Unprocessable, message).at("password"));
    if password.chars().count() < MIN_CHARS {
        return wrong("a password needs at least 15 characters");
    }
    if password.len() > MAX_BYTES {
        return wrong("a password may have at most 256 bytes");
    }
    // A user name of a letter or two is in many a good password.
    if username.len() >= 4 && password.to_lowercase().contains(&username.to_lowercase()) {
        return wrong("a password may not contain the user name");
    }
    Ok(())
}

/// Hashes `password` into a PHC string, `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`.
pub fn hash(password: &str, entropy: &impl Entropy) -> Result<String> {
    let mut salt = [0_u8; SALT_BYTES];
    entropy.fill(&mut salt);
    let hash: PasswordHash = hasher()?
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|_| Error::internal("the password could not be hashed"))?;
    Ok(hash.to_string())
}

/// The hash of a password that nobody has: checked against where there is no account, so that the time is the same.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$XWLsFQ8hNRy0U8LtM5krfg$R8bLKajsiLn1kjn6ctAOtLiuT3iIsVndmoGKuGt9Xc0";

/// Whether `password` is the one that was hashed into `stored`. Without a `stored` the same work is done and the answer is
/// no. A password over [`MAX_BYTES`] was never set and is cut before it is hashed.
pub fn verify(password: &str, stored: Option<&str>) -> bool {
    let bytes = password.as_bytes();
    let within = bytes.len() <= MAX_BYTES;
    let bytes = bytes.get(..MAX_BYTES).unwrap_or(bytes);
    let verified = PasswordHash::new(stored.unwrap_or(NOBODY))
        .ok()
        .zip(hasher().ok())
        .is_some_and(|(hash, hasher)| hasher.verify_password(bytes, &hash).is_ok());
    verified && within && stored.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Seeded;

    #[test]
    fn a_hash_is_salted_and_verifies_only_its_password() {
        let first = hash("correct horse battery", &Seeded::new(1)).unwrap();
        let second = hash("correct horse battery", &Seeded::new(2)).unwrap();
        assert!(first.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{first}");
        assert_ne!(first, second);
        assert!(verify("correct horse battery", Some(&first)));
        assert!(!verify("correct horse batterz", Some(&first)));
        assert!(!verify("correct horse battery", None));
        assert!(!verify("correct horse battery", Some("not a hash")));
    }

    #[test]
    fn the_hash_for_nobody_asks_for_the_same_work() {
        let real = hash("x", &Seeded::new(3)).unwrap();
        let parameters = |phc: &str| phc.split('$').take(4).collect::<Vec<_>>().join("$");
        assert_eq!(parameters(&real), parameters(NOBODY));
        assert!(PasswordHash::new(NOBODY).is_ok());
    }

    #[test]
    fn a_choice_is_bounded() {
        assert!(check_choice("fifteen chars..", "nora").is_ok());
        assert!(check_choice("fourteen chars", "nora").is_err());
        assert!(check_choice(&"x".repeat(257), "nora").is_err());
        assert!(check_choice("my name is Nora, hello", "nora").is_err());
        assert!(check_choice("a long enough password", "a").is_ok());
        assert!(check_choice("十五个字的密码也可以用在这里的呀", "nora").is_ok());
    }
}
