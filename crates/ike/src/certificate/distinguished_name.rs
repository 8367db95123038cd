//! Distinguished names: comparison (RFC 5280 §7.1) and text (RFC 4514).

use std::str::FromStr;

use x509_cert::der::asn1::{Ia5StringRef, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::{Decode, Encode, Tag, Tagged};
use x509_cert::name::Name;

/// Characters of a name that are printed.
const MAX_TEXT: usize = 256;

/// An attribute in the form in which it is compared: type, and the value as text or as it is
/// encoded.
type Attribute = (String, Result<String, Vec<u8>>);

/// Are two names in DER the same? Byte for byte, or attribute for attribute with strings compared
/// without regard to case, string type and repeated blanks (RFC 4945 §3.1.5, RFC 5280 §7.1).
pub(crate) fn same_name(a: &[u8], b: &[u8]) -> bool {
    a == b || comparable(a).is_some_and(|a| comparable(b).is_some_and(|b| a == b))
}

/// DER of a name as text (RFC 4514); `None` if it is none.
pub(crate) fn parse(text: &str) -> Option<Vec<u8>> {
    let name = Name::from_str(text).ok().filter(|name| !name.is_empty())?;
    name.to_der().ok()
}

/// A name as text; `None` if it is not one. Control characters are escaped, and the text is
/// truncated to [`MAX_TEXT`].
pub(crate) fn text(name: &[u8]) -> Option<String> {
    let text = Name::from_der(name).ok()?.to_string();
    let escaped =
        text.chars().flat_map(|c| if c.is_control() { c.escape_debug().collect() } else { vec![c] });
    let mut text: String = escaped.take(MAX_TEXT + 1).collect();
    if text.chars().count() > MAX_TEXT {
        text.push('…');
    }
    Some(text)
}

fn comparable(name: &[u8]) -> Option<Vec<Vec<Attribute>>> {
    let name = Name::from_der(name).ok()?;
    name.iter_rdn()
        .map(|rdn| {
            let attributes = rdn.iter().map(|attribute| {
                let value = match string(&attribute.value) {
                    Some(text) => Ok(folded(&text)),
                    None => Err(attribute.value.to_der().ok()?),
                };
                Some((attribute.oid.to_string(), value))
            });
            let mut attributes = attributes.collect::<Option<Vec<Attribute>>>()?;
            attributes.sort();
            Some(attributes)
        })
        .collect()
}

fn string(value: &x509_cert::der::Any) -> Option<String> {
    match value.tag() {
        Tag::PrintableString => PrintableStringRef::try_from(value).ok().map(|text| text.to_string()),
        Tag::Utf8String => Utf8StringRef::try_from(value).ok().map(|text| text.to_string()),
        Tag::Ia5String => Ia5StringRef::try_from(value).ok().map(|text| text.to_string()),
        Tag::TeletexString => TeletexStringRef::try_from(value).ok().map(|text| text.to_string()),
        _ => None,
    }
}

fn folded(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(name: &str) -> Vec<u8> {
        parse(name).unwrap()
    }

    /// RFC 4945 §3.1.5; RFC 5280 §7.1
    #[test]
    fn names_are_compared_without_case_and_repeated_blanks() {
        assert!(same_name(&der("CN=Gateway  One,O=Example"), &der("CN=gateway one,O=EXAMPLE")));
        assert!(!same_name(&der("CN=gateway,O=Example"), &der("O=Example,CN=gateway")));
        assert!(!same_name(&der("CN=gateway"), &der("O=gateway")));
        // UTF8String as PrintableString.
        let name = der("CN=gateway");
        let printable: Vec<u8> = name.iter().map(|byte| if *byte == 0x0c { 0x13 } else { *byte }).collect();
        assert!(name != printable && same_name(&name, &printable));
        assert!(!same_name(b"rubbish", &der("CN=gateway")));
    }

    #[test]
    fn text_of_a_name_holds_no_control_characters() {
        let name = der("CN=a,O=b");
        assert_eq!(text(&name).as_deref(), Some("CN=a,O=b"));
        // The same length of value, so that only the character differs.
        let broken: Vec<u8> = name.iter().map(|byte| if *byte == b'a' { 7 } else { *byte }).collect();
        assert!(!text(&broken).unwrap().contains('\u{7}'));
        assert_eq!(text(&[0x30, 0x01]), None);
        assert!(text(&der(&format!("CN={}", "x".repeat(5000)))).unwrap().len() < 300);
    }

    #[test]
    fn text_and_name_are_each_other() {
        for name in ["CN=gateway,O=Example", "CN=a\\,b,C=DE", "EMAILADDRESS=x@example.com"] {
            assert!(same_name(&der(&text(&der(name)).unwrap()), &der(name)), "{name}");
        }
        assert_eq!(parse(""), None);
        assert_eq!(parse("gateway"), None);
    }
}
