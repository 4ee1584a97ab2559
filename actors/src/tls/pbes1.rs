//! Encryption of PKCS#8 the old way: PBES1 (RFC 8018, section 6.1) and the schemes of PKCS#12 (RFC 7292, appendix C),
//! as `openssl pkcs8 -topk8 -v1` writes them and OpenSSL before 1.1 wrote them unasked. Pure.
//!
//! | scheme | `-v1` | key and vector by |
//! |---|---|---|
//! | pbeWithMD5AndDES-CBC, pbeWithMD5AndRC2-CBC | `PBE-MD5-DES`, `PBE-MD5-RC2-64` | PBKDF1 |
//! | pbeWithSHA1AndDES-CBC, pbeWithSHA1AndRC2-CBC | `PBE-SHA1-DES`, `PBE-SHA1-RC2-64` | PBKDF1 |
//! | pbeWithSHAAnd3-KeyTripleDES-CBC, pbeWithSHAAnd2-KeyTripleDES-CBC | `PBE-SHA1-3DES`, `PBE-SHA1-2DES` | PKCS#12 |
//! | pbeWithSHAAnd128BitRC2-CBC, pbewithSHAAnd40BitRC2-CBC | `PBE-SHA1-RC2-128`, `PBE-SHA1-RC2-40` | PKCS#12 |
//! | pbeWithSHAAnd128BitRC4, pbeWithSHAAnd40BitRC4 | `PBE-SHA1-RC4-128`, `PBE-SHA1-RC4-40` | PKCS#12 |
//!
//! The two with MD2 are not read: OpenSSL has been built without it since 1.0. All of them are weak, and what such files
//! are.

use cbc::cipher::{BlockCipherDecrypt, KeyInit};
use des::{Des, TdesEde2, TdesEde3};
use md5::Md5;
use pkcs8::der::Decode as _;
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::pkcs5::pbes1;
use pkcs8::spki::{AlgorithmIdentifierRef, ObjectIdentifier};
use rc2::Rc2;
use rc4::{Rc4, StreamCipher as _};
use sha1::Sha1;
use sha1::digest::{Digest, Output};

use super::legacy::decrypt_cbc;
use super::private_key::{KeyFault, affordable_rounds};

const SHA1_RC4_128: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.1");
const SHA1_RC4_40: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.2");
const SHA1_3DES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.3");
const SHA1_2DES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.4");
const SHA1_RC2_128: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.5");
const SHA1_RC2_40: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.6");

/// Bytes of a block of DES and RC2, hence of the vector, and of the keys that PBKDF1 makes here.
const BLOCK: usize = 8;
/// Bytes that SHA-1 takes in at once, `v` of RFC 7292.
const SHA1_BLOCK: usize = 64;
/// What the derivation of PKCS#12 is for, the byte `ID` of RFC 7292, appendix B.3.
const FOR_KEY: u8 = 1;
const FOR_VECTOR: u8 = 2;

/// What a key and a vector are derived from.
struct Secret<'a> {
    passphrase: &'a str,
    salt: &'a [u8],
    /// At least 1.
    rounds: u32,
}

/// `data` without its encryption by `algorithm`.
pub(super) fn decrypt(
    algorithm: &AlgorithmIdentifierRef<'_>,
    data: &[u8],
    passphrase: &str,
) -> Result<Vec<u8>, KeyFault> {
    let secret = || Secret::of(algorithm, passphrase);
    match algorithm.oid {
        pbes1::PBE_WITH_MD5_AND_DES_CBC_OID => by_pbkdf1::<Md5, Des>(&secret()?, data),
        pbes1::PBE_WITH_MD5_AND_RC2_CBC_OID => by_pbkdf1::<Md5, Rc2>(&secret()?, data),
        pbes1::PBE_WITH_SHA1_AND_DES_CBC_OID => by_pbkdf1::<Sha1, Des>(&secret()?, data),
        pbes1::PBE_WITH_SHA1_AND_RC2_CBC_OID => by_pbkdf1::<Sha1, Rc2>(&secret()?, data),
        SHA1_3DES => by_pkcs12::<TdesEde3>(&secret()?, 24, data),
        SHA1_2DES => by_pkcs12::<TdesEde2>(&secret()?, 16, data),
        SHA1_RC2_128 => by_pkcs12::<Rc2>(&secret()?, 16, data),
        SHA1_RC2_40 => by_pkcs12::<Rc2>(&secret()?, 5, data),
        SHA1_RC4_128 => rc4(&secret()?, 16, data),
        SHA1_RC4_40 => rc4(&secret()?, 5, data),
        pbes1::PBE_WITH_MD2_AND_DES_CBC_OID => Err(KeyFault::Encryption("pbeWithMD2AndDES-CBC".to_owned())),
        pbes1::PBE_WITH_MD2_AND_RC2_CBC_OID => Err(KeyFault::Encryption("pbeWithMD2AndRC2-CBC".to_owned())),
        other => Err(KeyFault::Encryption(format!("the unknown scheme {other}"))),
    }
}

/// DES or RC2 with the first half of what PBKDF1 makes as the key, and the second half as the vector.
fn by_pbkdf1<D: Digest, C: KeyInit + BlockCipherDecrypt>(
    secret: &Secret<'_>,
    data: &[u8],
) -> Result<Vec<u8>, KeyFault> {
    let derived = secret.pbkdf1::<D>();
    let (key, rest) = derived.split_at_checked(BLOCK).ok_or(KeyFault::Damaged)?;
    let vector = rest.get(..BLOCK).ok_or(KeyFault::Damaged)?;
    decrypt_cbc::<C>(key, vector, data.to_vec())
}

fn by_pkcs12<C: KeyInit + BlockCipherDecrypt>(
    secret: &Secret<'_>,
    key_length: usize,
    data: &[u8],
) -> Result<Vec<u8>, KeyFault> {
    let key = secret.pkcs12(FOR_KEY, key_length);
    let vector = secret.pkcs12(FOR_VECTOR, BLOCK);
    decrypt_cbc::<C>(&key, &vector, data.to_vec())
}

/// Nothing in it tells a wrong passphrase: that what comes out is no key does.
fn rc4(secret: &Secret<'_>, key_length: usize, data: &[u8]) -> Result<Vec<u8>, KeyFault> {
    let key = secret.pkcs12(FOR_KEY, key_length);
    let mut data = data.to_vec();
    let mut cipher = Rc4::new_from_slice(&key).map_err(|_| KeyFault::Damaged)?;
    cipher.try_apply_keystream(&mut data).map_err(|_| KeyFault::Damaged)?;
    Ok(data)
}

impl<'a> Secret<'a> {
    /// The passphrase with the parameters, which are the same for all schemes:
    ///
    /// ```text
    ///   PBEParameter ::= SEQUENCE { salt OCTET STRING, iterationCount INTEGER }
    /// ```
    fn of(algorithm: &AlgorithmIdentifierRef<'a>, passphrase: &'a str) -> Result<Self, KeyFault> {
        let parameters = algorithm.parameters.ok_or(KeyFault::Damaged)?;
        let (salt, rounds) = parameters
            .sequence(|reader| Ok((<&OctetStringRef>::decode(reader)?.as_bytes(), u64::decode(reader)?)))
            .map_err(|_: pkcs8::der::Error| KeyFault::Damaged)?;
        Ok(Self { passphrase, salt, rounds: affordable_rounds(rounds)? })
    }

    /// PBKDF1 of RFC 8018, section 5.1. The bytes of the passphrase are those of its file.
    fn pbkdf1<D: Digest>(&self) -> Output<D> {
        self.rehash::<D>(D::new().chain_update(self.passphrase).chain_update(self.salt))
    }

    /// So many bytes for this purpose, by RFC 7292, appendix B.2. The passphrase is UTF-16 and ends with a zero; a
    /// character outside of the basic plane is a pair of surrogates, as with OpenSSL.
    fn pkcs12(&self, purpose: u8, length: usize) -> Vec<u8> {
        let passphrase: Vec<u8> =
            self.passphrase.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect();
        let mut input: Vec<u8> = filled(self.salt).chain(filled(&passphrase)).collect();
        let mut derived = Vec::new();
        while derived.len() < length {
            let digest = self.rehash(Sha1::new().chain_update([purpose; SHA1_BLOCK]).chain_update(&input));
            input.chunks_exact_mut(SHA1_BLOCK).for_each(|block| add(block, &digest));
            derived.extend_from_slice(&digest);
        }
        derived.truncate(length);
        derived
    }

    /// The digest of the digest of … what was given to it, as often as there are rounds.
    fn rehash<D: Digest>(&self, first: D) -> Output<D> {
        (1..self.rounds).fold(first.finalize(), |digest, _| D::digest(digest))
    }
}

/// The bytes again and again until they fill blocks.
fn filled(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.iter().copied().cycle().take(bytes.len().next_multiple_of(SHA1_BLOCK))
}

/// Makes the block the sum of itself, of the digest again and again, and of 1, all of them big-endian.
fn add(block: &mut [u8], digest: &[u8]) {
    let addend: Vec<u8> = digest.iter().copied().cycle().take(block.len()).collect();
    let mut carry = 1_u16;
    for (byte, other) in block.iter_mut().zip(addend).rev() {
        let [high, low] = (u16::from(*byte) + u16::from(other) + carry).to_be_bytes();
        *byte = low;
        carry = u16::from(high);
    }
}
