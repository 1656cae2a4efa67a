//! CoAP's Content-Formats and the media types that they number (RFC 7252 §12.3), so that a value's
//! type survives from MQTT 5's Content Type to CoAP and back.
//!
//! A value has both names from the moment it comes in: what is stored is what an `ETag` covers.
//! Left out are numbers whose media type differs in a parameter only (COSE, YANG, PKCS #7) or in
//! a content coding: a Content Type without it would not be theirs.

use motegate_message::Properties;

/// From the registry "CoAP Content-Formats", by number; parameters as registered.
const REGISTRY: &[(u16, &str)] = &[
    (0, "text/plain;charset=utf-8"),
    (21, "image/gif"),
    (22, "image/jpeg"),
    (23, "image/png"),
    (40, "application/link-format"),
    (41, "application/xml"),
    (42, "application/octet-stream"),
    (47, "application/exi"),
    (50, "application/json"),
    (51, "application/json-patch+json"),
    (52, "application/merge-patch+json"),
    (60, "application/cbor"),
    (61, "application/cwt"),
    (62, "application/multipart-core"),
    (63, "application/cbor-seq"),
    (101, "application/cose-key"),
    (102, "application/cose-key-set"),
    (110, "application/senml+json"),
    (111, "application/sensml+json"),
    (112, "application/senml+cbor"),
    (113, "application/sensml+cbor"),
    (114, "application/senml-exi"),
    (115, "application/sensml-exi"),
    (256, "application/coap-group+json"),
    (257, "application/concise-problem-details+cbor"),
    (310, "application/senml+xml"),
    (311, "application/sensml+xml"),
    (320, "application/senml-etch+json"),
    (322, "application/senml-etch+cbor"),
    (432, "application/td+json"),
    (10_000, "application/vnd.ocf+cbor"),
    (10_002, "application/javascript"),
    (11_542, "application/vnd.oma.lwm2m+tlv"),
    (11_543, "application/vnd.oma.lwm2m+json"),
    (11_544, "application/vnd.oma.lwm2m+cbor"),
    (20_000, "text/css"),
    (30_000, "image/svg+xml"),
];

/// The media type of a Content-Format; `None` when it is not in the table.
pub(crate) fn content_type(format: u16) -> Option<&'static str> {
    let place = REGISTRY.binary_search_by_key(&format, |(number, _)| *number).ok()?;
    REGISTRY.get(place).map(|(_, text)| *text)
}

/// The Content-Format of a media type, whatever its case and parameters (RFC 9110 §8.3.1).
pub(crate) fn content_format(media_type: &str) -> Option<u16> {
    let wanted = essence(media_type);
    let found = REGISTRY.iter().find(|(_, text)| essence(text).eq_ignore_ascii_case(wanted))?;
    Some(found.0)
}

/// Gives a message that came with a Content Type the Content-Format that says the same.
pub(crate) fn number(properties: Option<&mut Box<Properties>>) {
    let Some(properties) = properties else { return };
    if let (Some(text), None) = (&properties.content_type, properties.content_format) {
        properties.content_format = content_format(text);
    }
}

/// The properties that say a format, in both names, and what else is known of a message; none where
/// nothing is.
pub(crate) fn properties(
    content_format: Option<u16>,
    user: &[(String, String)],
) -> Option<Box<Properties>> {
    if content_format.is_none() && user.is_empty() {
        return None;
    }
    let user = user.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into()));
    let user = user.collect();
    let content_type = content_format.and_then(content_type).map(Into::into);
    Some(Box::new(Properties { content_format, content_type, user, ..Properties::default() }))
}

/// `type/subtype` without parameters.
fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_goes_both_ways() {
        assert!(REGISTRY.is_sorted_by(|a, b| a.0 < b.0), "looked up by halves");
        for (number, text) in REGISTRY {
            assert_eq!(content_type(*number), Some(*text));
            assert_eq!(content_format(text), Some(*number), "{text} stands once");
        }
        assert_eq!((content_type(1), content_type(65_000)), (None, None));
    }

    #[test]
    fn case_and_parameters_do_not_matter() {
        for (text, format) in [
            ("text/plain", Some(0)),
            ("Text/PLAIN ; charset=\"UTF-8\"", Some(0)),
            (" application/JSON;v=1;w=2", Some(50)),
            ("application/json2", None),
            ("json", None),
            (";", None),
            ("", None),
        ] {
            assert_eq!(content_format(text), format, "{text:?}");
        }
    }
}
