//! Passwords and tokens: made, hashed and compared.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};
use sarsen_kernel::secret::Secret;
use sarsen_proto::v1;

/// PBKDF2 with HMAC-SHA512 and 10,000 rounds, as Druid hashes them.
static ALGORITHM: pbkdf2::Algorithm = pbkdf2::PBKDF2_HMAC_SHA512;
const ITERATIONS: u32 = 10_000;
const MAX_ITERATIONS: u32 = 10_000_000;
const SALT: usize = 32;
const HASH: usize = 64;

/// Bytes of a token's secret part.
const TOKEN: usize = 32;
const TOKEN_PREFIX: &str = "sarsen_";

/// Passwords that were right, remembered so that the rounds are not paid on each request (Druid: 1,000).
const REMEMBERED: usize = 1_000;

/// Hashes a new password; `iterations` as asked for, -1 or nothing for the default. Blocks.
///
/// # Errors
/// In words, for a number of rounds that makes no sense.
pub fn hash_password(password: &Secret, iterations: Option<i64>) -> Result<v1::Credentials, String> {
    if password.expose().is_empty() {
        return Err("Cannot assign empty password.".to_owned());
    }
    if password.expose().chars().any(char::is_control) {
        return Err("A password has no control characters.".to_owned());
    }
    let rounds = match iterations {
        None | Some(-1) => Some(ITERATIONS),
        Some(given) => u32::try_from(given).ok().filter(|given| *given <= MAX_ITERATIONS),
    };
    let rounds = rounds
        .and_then(NonZeroU32::new)
        .ok_or_else(|| format!("[iterations] must be between 1 and {MAX_ITERATIONS}."))?;
    let mut salt = [0; SALT];
    random(&mut salt)?;
    let mut hash = [0; HASH];
    pbkdf2::derive(ALGORITHM, rounds, &salt, password.expose().as_bytes(), &mut hash);
    Ok(v1::Credentials {
        salt: salt.to_vec().into(),
        hash: hash.to_vec().into(),
        iterations: rounds.get(),
    })
}

fn random(bytes: &mut [u8]) -> Result<(), String> {
    SystemRandom::new()
        .fill(bytes)
        .map_err(|_| "The system gives no random bytes.".to_owned())
}

/// Compares passwords with their hashes.
#[derive(Debug)]
pub struct Checked {
    /// Of this process alone: what is remembered is worth nothing elsewhere.
    key: hmac::Key,
    right: Mutex<HashSet<[u8; 32]>>,
}

impl Default for Checked {
    fn default() -> Self {
        let mut bytes = [0; 32];
        // Without randomness nothing is remembered under a guessable key: the hash is compared each time.
        let _ = random(&mut bytes);
        Checked {
            key: hmac::Key::new(hmac::HMAC_SHA256, &bytes),
            right: Mutex::default(),
        }
    }
}

impl Checked {
    /// Whether it is the user's password. An unknown user takes as long as a wrong password.
    pub async fn password(&self, user: &str, password: Secret, known: Option<v1::Credentials>) -> bool {
        let remembered = known
            .as_ref()
            .map(|known| self.fingerprint(user, &password, known));
        if let Some(fingerprint) = &remembered
            && self.remembered().contains(fingerprint)
        {
            return true;
        }
        let is_known = known.is_some();
        let credentials = known.unwrap_or_else(nobody);
        let compared = tokio::task::spawn_blocking(move || compare(&password, &credentials)).await;
        let right = compared.unwrap_or(false) && is_known;
        if let (true, Some(fingerprint)) = (right, remembered) {
            let mut remembered = self.remembered();
            if remembered.len() >= REMEMBERED {
                remembered.clear();
            }
            remembered.insert(fingerprint);
        }
        right
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, HashSet<[u8; 32]>> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes with the password and with what is stored of it.
    fn fingerprint(&self, user: &str, password: &Secret, known: &v1::Credentials) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [
            user.as_bytes(),
            password.expose().as_bytes(),
            &known.salt,
            &known.hash,
        ] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.sign().as_ref());
        fingerprint
    }
}

fn nobody() -> v1::Credentials {
    v1::Credentials {
        salt: vec![0; SALT].into(),
        hash: vec![0; HASH].into(),
        iterations: ITERATIONS,
    }
}

fn compare(password: &Secret, known: &v1::Credentials) -> bool {
    NonZeroU32::new(known.iterations).is_some_and(|rounds| {
        pbkdf2::verify(
            ALGORITHM,
            rounds,
            &known.salt,
            password.expose().as_bytes(),
            &known.hash,
        )
        .is_ok()
    })
}

/// A new token of its own id, and what is kept of it.
///
/// # Errors
/// When the system gives no random bytes.
pub fn new_token(id: &str) -> Result<(Secret, Vec<u8>), String> {
    let mut secret = [0; TOKEN];
    random(&mut secret)?;
    let token = format!("{TOKEN_PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(secret));
    let sha256 = sha256(&token);
    Ok((Secret::new(token), sha256))
}

fn sha256(token: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, token.as_bytes())
        .as_ref()
        .to_vec()
}

/// The id within a token.
pub fn token_id(token: &Secret) -> Option<&str> {
    let (id, _) = token.expose().strip_prefix(TOKEN_PREFIX)?.split_once('_')?;
    Some(id)
}

/// Whether it is the token whose hash is kept; takes the same time wherever they differ.
pub fn is_token(token: &Secret, kept: &[u8]) -> bool {
    let mut bytes = [0; 32];
    if random(&mut bytes).is_err() {
        return false;
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
    hmac::verify(&key, &sha256(token.expose()), hmac::sign(&key, kept).as_ref()).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn only_the_password_itself_is_right() {
        let known = hash_password(&"geheim".into(), Some(10)).unwrap();
        assert_eq!((known.salt.len(), known.hash.len()), (32, 64));
        let checked = Checked::default();
        for _ in 0..2 {
            assert!(checked.password("u", "geheim".into(), Some(known.clone())).await);
            for wrong in ["", "Geheim", "geheim ", "geheim!"] {
                assert!(
                    !checked.password("u", wrong.into(), Some(known.clone())).await,
                    "{wrong:?}"
                );
            }
            assert!(!checked.password("u", "geheim".into(), None).await);
        }
        let changed = hash_password(&"other".into(), Some(10)).unwrap();
        assert!(!checked.password("u", "geheim".into(), Some(changed)).await);
    }

    #[test]
    fn passwords_and_rounds_that_make_no_sense_are_refused() {
        for password in ["", "a\0", "a\n"] {
            assert!(hash_password(&password.into(), None).is_err());
        }
        for rounds in [0, -2, 10_000_001, i64::MAX] {
            assert!(hash_password(&"p".into(), Some(rounds)).is_err());
        }
    }

    #[test]
    fn a_token_is_compared_whole() {
        let (token, kept) = new_token("1234").unwrap();
        assert_eq!(token_id(&token), Some("1234"));
        assert!(is_token(&token, &kept));
        let text = token.expose();
        for wrong in [&text[..text.len() - 1], "sarsen_1234_", ""] {
            assert!(!is_token(&wrong.into(), &kept));
        }
        assert_eq!(token_id(&"other".into()), None);
    }
}
