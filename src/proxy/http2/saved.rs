//! A request head kept in a buffer, in case it has to be sent again. Pure.
//!
//! A head that is sent is gone, and a copy of it would cost an allocation a field; its bytes one after the other cost
//! next to nothing, and are read again only where an upstream did not take the request.

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version};

/// Appends the head to `out`.
pub(in crate::proxy) fn save(out: &mut Vec<u8>, parts: &Parts) {
    text(out, parts.method.as_str().as_bytes());
    text(out, parts.uri.scheme_str().unwrap_or_default().as_bytes());
    text(out, parts.uri.authority().map_or("", http::uri::Authority::as_str).as_bytes());
    text(out, parts.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str).as_bytes());
    for (name, value) in &parts.headers {
        text(out, name.as_str().as_bytes());
        text(out, value.as_bytes());
        out.push(value.is_sensitive().into());
    }
}

/// The head that was saved; nothing if the buffer holds something else.
pub(in crate::proxy) fn restore(mut saved: &[u8]) -> Option<Parts> {
    let from = &mut saved;
    let method = Method::from_bytes(take(from)?).ok()?;
    let (scheme, authority, path) = (take(from)?, take(from)?, take(from)?);
    let mut uri = http::uri::Parts::default();
    uri.scheme = if scheme.is_empty() { None } else { Some(scheme.try_into().ok()?) };
    uri.authority = if authority.is_empty() { None } else { Some(authority.try_into().ok()?) };
    uri.path_and_query = if path.is_empty() { None } else { Some(path.try_into().ok()?) };
    let mut parts = Request::new(()).into_parts().0;
    (parts.method, parts.uri, parts.version) = (method, Uri::from_parts(uri).ok()?, Version::HTTP_2);
    while !from.is_empty() {
        let name = HeaderName::from_bytes(take(from)?).ok()?;
        let mut value = HeaderValue::from_bytes(take(from)?).ok()?;
        let (sensitive, rest) = from.split_first()?;
        value.set_sensitive(*sensitive != 0);
        *from = rest;
        parts.headers.append(name, value);
    }
    Some(parts)
}

fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    // Heads are far smaller than 4 GiB.
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn take<'s>(from: &mut &'s [u8]) -> Option<&'s [u8]> {
    let (length, rest) = from.split_first_chunk()?;
    let (bytes, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    *from = rest;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_restored_is_what_was_saved(
            method in "[A-Z]{1,8}", path in "/[a-z]{0,9}(\\?[a-z=]{0,9})?", sensitive: bool,
            fields in prop::collection::vec(("[a-z-]{1,9}", "[ -~]{0,20}"), 0..9),
        ) {
            let mut request = Request::builder().method(&*method).uri(format!("http://orders:80{path}"));
            for (name, value) in &fields {
                let mut value = HeaderValue::from_str(value).unwrap();
                value.set_sensitive(sensitive);
                request = request.header(name, value);
            }
            let parts = request.version(Version::HTTP_2).body(()).unwrap().into_parts().0;
            let mut saved = Vec::new();
            save(&mut saved, &parts);
            let restored = restore(&saved).unwrap();
            prop_assert_eq!((&restored.method, &restored.uri, &restored.headers), (&parts.method, &parts.uri, &parts.headers));
            prop_assert!(restored.headers.values().all(|value| value.is_sensitive() == sensitive));
        }

        #[test]
        fn other_bytes_restore_nothing_bad(bytes: Vec<u8>) {
            let _ = restore(&bytes);
        }
    }
}
