//! Targets and queries: what is percent-encoded becomes text, or is refused.

use crate::encoding::{BadEncoding, percent_decoded};

/// Splits a target into its path, still encoded, and its query without the `?`; `""` when it has none.
pub fn split_target(target: &str) -> (&str, &str) {
    target.split_once('?').unwrap_or((target, ""))
}

/// Decodes a query as a form is encoded (`+` is a space), into pairs in the order they came. A name without `=`
/// has an empty value.
///
/// # Errors
/// [`BadEncoding`] when any name or value cannot be decoded.
pub fn parse_query(query: &str) -> Result<Vec<(String, String)>, BadEncoding> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let decode = |text: &str| percent_decoded(&text.replace('+', " "));
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        assert_eq!(split_target("/ws?clientId=a&token=b?c"), ("/ws", "clientId=a&token=b?c"));
        assert_eq!(split_target("/clients"), ("/clients", ""));
        assert_eq!(split_target("/clients?"), ("/clients", ""));
    }

    #[test]
    fn queries() {
        let pairs = |query| {
            let pairs: Vec<(String, String)> = parse_query(query)?;
            Ok(pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("|"))
        };
        for (query, decoded) in [
            ("", Ok("")),
            ("clientId=shop-001&token=s3cret", Ok("clientId=shop-001|token=s3cret")),
            ("a=1&a=2&&b", Ok("a=1|a=2|b=")),
            ("token=a+b%2Bc%26d%3De=f", Ok("token=a b+c&d=e=f")),
            ("token=%C3%BC%E2%9C%93", Ok("token=ü✓")),
            ("%63lientId=x", Ok("clientId=x")),
            ("a=%", Err(BadEncoding)),
            ("a=%4", Err(BadEncoding)),
            ("a=%g0", Err(BadEncoding)),
            ("a=%+1", Err(BadEncoding)),
            ("a=%ff", Err(BadEncoding)),
            ("%ff=a", Err(BadEncoding)),
            ("a=%C3", Err(BadEncoding)),
        ] {
            assert_eq!(pairs(query), decoded.map(str::to_owned), "{query}");
        }
    }
}
