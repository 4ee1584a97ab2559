//! The four forms of a request target (RFC 9112 §3.2).

use super::authority::Authority;
use super::bytes;
use super::reject::Fault;

/// A request target by its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'b> {
    /// `/path?query`.
    Origin(&'b [u8]),
    /// `http://host:port/path?query`, as sent to a forward proxy.
    Absolute {
        /// `http` or `https`, in the case it came.
        scheme: &'b [u8],
        /// `host[:port]`, valid.
        authority: &'b [u8],
        /// The origin form to forward: begins with a slash; `*` for OPTIONS on a URI without a path (RFC 9112 §3.2.4).
        path: &'b [u8],
    },
    /// `host:port`, of CONNECT only; the port is there.
    Authority(&'b [u8]),
    /// `*`, of OPTIONS only.
    Asterisk,
}

impl<'b> Target<'b> {
    /// Reads a `:path`: the origin form, or `*` of OPTIONS (RFC 9113 section 8.3.1).
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_path(method: &[u8], path: &'b [u8]) -> Result<Self, &'static str> {
        match Form::read(method, path).map_err(|fault| fault.why)? {
            Form::Origin => Ok(Self::Origin(path)),
            Form::Asterisk => Ok(Self::Asterisk),
            Form::Absolute { .. } | Form::Authority => Err("path does not begin with a slash"),
        }
    }
}

/// The form of a target and where its parts end, as offsets in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Form {
    #[default]
    Origin,
    Absolute {
        scheme_end: usize,
        authority_end: usize,
    },
    Authority,
    Asterisk,
}

impl Form {
    /// Reads a target. The method decides which forms are allowed.
    pub(super) fn read(method: &[u8], target: &[u8]) -> Result<Form, Fault> {
        if method == b"CONNECT" {
            return match Authority::read(target)? {
                Authority { port: Some(_), .. } => Ok(Form::Authority),
                _ => Err(Fault::new("CONNECT without a port", 0)),
            };
        }
        match target {
            [b'/', ..] => check_path(target, 0).map(|()| Form::Origin),
            b"*" if method == b"OPTIONS" => Ok(Form::Asterisk),
            b"*" => Err(Fault::new("asterisk as target of a method other than OPTIONS", 0)),
            _ => absolute(target),
        }
    }

    /// The parts of `target`, of which this is the form.
    pub(super) fn parts<'b>(self, method: &[u8], target: &'b [u8]) -> Target<'b> {
        match self {
            Form::Origin => Target::Origin(target),
            Form::Authority => Target::Authority(target),
            Form::Asterisk => Target::Asterisk,
            Form::Absolute { scheme_end, authority_end } => {
                let path = match target.get(authority_end..) {
                    None | Some([]) if method == b"OPTIONS" => b"*",
                    None | Some([]) => &b"/"[..],
                    Some(path) => path,
                };
                let authority = target.get(scheme_end.saturating_add(3)..authority_end).unwrap_or_default();
                Target::Absolute { scheme: target.get(..scheme_end).unwrap_or_default(), authority, path }
            }
        }
    }

    /// Where a slash is missing: between the authority and a query that follows it at once, as in `http://a?b`.
    pub(super) fn missing_slash(self, target: &[u8]) -> Option<usize> {
        match self {
            Form::Absolute { authority_end, .. } if target.get(authority_end) == Some(&b'?') => {
                Some(authority_end)
            }
            _ => None,
        }
    }
}

fn absolute(target: &[u8]) -> Result<Form, Fault> {
    let scheme_end =
        memchr::memmem::find(target, b"://").ok_or(Fault::new("target is neither path nor URI", 0))?;
    let (scheme, rest) = target.split_at_checked(scheme_end).unwrap_or((target, &[]));
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return Err(Fault::new("scheme is neither http nor https", 0));
    }
    let start = scheme_end.saturating_add(3);
    let rest = rest.get(3..).unwrap_or_default();
    let length = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(length).unwrap_or((rest, &[]));
    let authority_end = start.saturating_add(length);
    Authority::read(authority).map_err(|fault| Fault::new(fault.why, start.saturating_add(fault.at)))?;
    check_path(path, authority_end)?;
    Ok(Form::Absolute { scheme_end, authority_end })
}

/// Path and query. Percent-encodings are checked in the path, which routers match and origins decode, and left alone in
/// the query, which is opaque and where browsers send a lone percent sign. NUL, CR and LF have no honest use in a path
/// and split headers in origins that decode too much.
fn check_path(text: &[u8], start: usize) -> Result<(), Fault> {
    let fault = |why, at: usize| Err(Fault::new(why, start.saturating_add(at)));
    let end = text.iter().position(|&byte| !bytes::is_path(byte)).unwrap_or(text.len());
    let (path, query) = text.split_at_checked(end).unwrap_or((text, &[]));
    for at in memchr::memchr_iter(b'%', path) {
        match path.get(at..).unwrap_or_default() {
            [_, b'0', b'0' | b'a' | b'A' | b'd' | b'D', ..] => {
                return fault("encoded NUL, CR or LF in the path", at);
            }
            [_, high, low, ..] if bytes::is_hex(*high) && bytes::is_hex(*low) => {}
            _ => return fault("percent sign without two hexadecimal digits", at),
        }
    }
    let bad = match query.first() {
        None => return Ok(()),
        Some(b'?') => query.iter().position(|&byte| !bytes::is_query(byte)),
        Some(_) => Some(0),
    };
    match bad.map(|at| (at.saturating_add(end), query.get(at))) {
        None => Ok(()),
        Some((at, Some(b'#'))) => fault("fragment in the target", at),
        Some((at, _)) => fault("byte that no target may have", at),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parts<'t>(method: &str, target: &'t str) -> Target<'t> {
        Form::read(method.as_bytes(), target.as_bytes()).unwrap().parts(method.as_bytes(), target.as_bytes())
    }

    fn bad(method: &str, target: &str, why: &str, at: usize) {
        let fault = Form::read(method.as_bytes(), target.as_bytes()).unwrap_err();
        assert!(fault.why.contains(why), "{target}: {}", fault.why);
        assert_eq!(fault.at, at, "{target}");
    }

    #[test]
    fn all_four_forms_are_read() {
        assert_eq!(parts("GET", "//a/%41?b=[c]&d=100%"), Target::Origin(b"//a/%41?b=[c]&d=100%"));
        assert_eq!(parts("OPTIONS", "*"), Target::Asterisk);
        assert_eq!(parts("CONNECT", "[::1]:443"), Target::Authority(b"[::1]:443"));
        assert_eq!(
            parts("GET", "HTTP://a:80/p?q"),
            Target::Absolute { scheme: b"HTTP", authority: b"a:80", path: b"/p?q" }
        );
    }

    #[test]
    fn an_absolute_target_without_a_path_gets_one() {
        let expected = |path| Target::Absolute { scheme: b"http", authority: b"a", path };
        assert_eq!(parts("GET", "http://a"), expected(b"/"));
        assert_eq!(parts("OPTIONS", "http://a"), expected(b"*"));
        let form = Form::read(b"GET", b"http://a?b").unwrap();
        assert_eq!(form.missing_slash(b"http://a?b"), Some(8));
        assert_eq!(form.missing_slash(b"http://a/?b"), None);
    }

    #[test]
    fn a_path_is_a_path_and_nothing_else() {
        assert_eq!(Target::of_path(b"GET", b"/a?b"), Ok(Target::Origin(b"/a?b")));
        assert_eq!(Target::of_path(b"OPTIONS", b"*"), Ok(Target::Asterisk));
        for (method, path) in
            [("GET", "*"), ("GET", "http://a/b"), ("GET", "a"), ("GET", "/a b"), ("GET", "")]
        {
            assert!(Target::of_path(method.as_bytes(), path.as_bytes()).is_err(), "{method} {path}");
        }
    }

    #[test]
    fn a_form_that_does_not_fit_the_method_is_refused() {
        bad("GET", "*", "asterisk", 0);
        bad("GET", "example.com:443", "neither path nor URI", 0);
        bad("GET", "foo/bar", "neither path nor URI", 0);
        bad("CONNECT", "/path", "empty host", 0);
        bad("CONNECT", "example.com", "without a port", 0);
        bad("GET", "ftp://a/", "neither http", 0);
        bad("GET", "http://u:p@a/", "user information", 10);
        bad("GET", "http://u@a/", "user information", 8);
        bad("GET", "http:///p", "empty host", 7);
    }

    #[test]
    fn bytes_outside_the_grammar_are_refused_where_they_stand() {
        bad("GET", "/a#b", "fragment", 2);
        bad("GET", "/a?b#c", "fragment", 4);
        bad("GET", "/caf\u{e9}", "no target may have", 4);
        bad("GET", "/a\\b", "no target may have", 2);
        bad("GET", "/a\"b", "no target may have", 2);
        bad("GET", "http://a/{b}", "no target may have", 9);
        bad("GET", "/a%00", "encoded NUL", 2);
        bad("GET", "/a%0d%0aX:%20b", "encoded NUL", 2);
        bad("GET", "/a%4", "percent sign", 2);
    }
}
