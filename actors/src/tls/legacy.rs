//! Encryption of PEM by a header, as OpenSSL wrote it for decades and Mesher reads it (RFC 1421, RFC 1423). Pure.
//!
//! ```text
//!   Proc-Type: 4,ENCRYPTED
//!   DEK-Info: AES-256-CBC,<initialization vector in hex>
//! ```
//!
//! The key is derived by MD5 from the passphrase and the first eight bytes of the vector (OpenSSL's
//! `EVP_BytesToKey` with one round). That is weak, and what such files are.

use aes::{Aes128, Aes192, Aes256};
use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt as _, InnerIvInit as _, KeyInit};
use des::{Des, TdesEde3};
use md5::{Digest as _, Md5};
use pem::Pem;

use super::private_key::KeyFault;

/// Bytes of the vector that are the salt.
const SALT_LENGTH: usize = 8;

/// The block says that it is encrypted.
pub(super) fn is_encrypted(block: &Pem) -> bool {
    block.headers().get("Proc-Type").is_some_and(|value| value.ends_with("ENCRYPTED"))
}

/// What is in the block, without its encryption if it has one.
pub(super) fn contents(block: Pem, passphrase: Option<&str>) -> Result<Vec<u8>, KeyFault> {
    if !is_encrypted(&block) {
        return Ok(block.into_contents());
    }
    let passphrase = passphrase.ok_or(KeyFault::Encrypted)?.as_bytes();
    let info = block.headers().get("DEK-Info").unwrap_or_default().to_owned();
    let unknown = || KeyFault::Encryption(format!("`{}`", info.escape_debug()));
    let (cipher, vector) = info.split_once(',').ok_or_else(unknown)?;
    let vector = from_hex(vector.trim()).ok_or_else(unknown)?;
    let data = block.into_contents();
    match cipher.trim() {
        "AES-128-CBC" => decrypt::<Aes128>(data, passphrase, &vector),
        "AES-192-CBC" => decrypt::<Aes192>(data, passphrase, &vector),
        "AES-256-CBC" => decrypt::<Aes256>(data, passphrase, &vector),
        "DES-EDE3-CBC" => decrypt::<TdesEde3>(data, passphrase, &vector),
        "DES-CBC" => decrypt::<Des>(data, passphrase, &vector),
        _ => Err(unknown()),
    }
}

fn decrypt<C: KeyInit + BlockCipherDecrypt>(
    data: Vec<u8>,
    passphrase: &[u8],
    vector: &[u8],
) -> Result<Vec<u8>, KeyFault> {
    let salt = vector.get(..SALT_LENGTH).ok_or(KeyFault::Damaged)?;
    decrypt_cbc::<C>(&derive(passphrase, salt, C::key_size()), vector, data)
}

/// Without its encryption by a block cipher in CBC, and without the padding that makes it whole blocks.
pub(super) fn decrypt_cbc<C: KeyInit + BlockCipherDecrypt>(
    key: &[u8],
    vector: &[u8],
    mut data: Vec<u8>,
) -> Result<Vec<u8>, KeyFault> {
    let cipher = C::new_from_slice(key).map_err(|_| KeyFault::Damaged)?;
    let decryptor = Decryptor::inner_iv_slice_init(cipher, vector).map_err(|_| KeyFault::Damaged)?;
    let length = decryptor.decrypt_padded::<Pkcs7>(&mut data).map_err(|_| KeyFault::Passphrase)?.len();
    data.truncate(length);
    Ok(data)
}

/// Digests of the digest before, the passphrase and the salt, one after another until there are enough bytes.
fn derive(passphrase: &[u8], salt: &[u8], length: usize) -> Vec<u8> {
    let mut key = Vec::new();
    let mut digest = Vec::new();
    while key.len() < length {
        digest =
            Md5::new().chain_update(&digest).chain_update(passphrase).chain_update(salt).finalize().to_vec();
        key.extend_from_slice(&digest);
    }
    key.truncate(length);
    key
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.as_bytes().chunks(2).map(byte).collect()
}
