//! `crypto pki …` (alias `crypto ca …`), the trustpoint mode, and pasted certificates.

use super::{
    Answer, ConfigCommand, EditError, Editor, Import, ImportError, ImportSource, Mode, Question, Rest, apply,
    keep,
};
use crate::Configuration;
use crate::model::{KeyPair, PkiCertificate, RevocationCheck, Secret, Trustpoint};
use crate::tree::Args;

/// Maximum size of pasted text in bytes.
const MAX_PASTE: usize = 256 * 1024;

/// Maximum size of a certificate in hexadecimal digits.
const MAX_CERTIFICATE: usize = 2 * 16 * 1024;

pub(super) const GLOBAL: &[ConfigCommand] = &[
    apply("crypto {pki | =ca} trustpoint <trustpoint:WORD> /", trustpoint),
    apply("crypto {pki | =ca} certificate chain <trustpoint:WORD> /", chain),
    apply("crypto {pki | =ca} authenticate <trustpoint:WORD>", authenticate),
    apply(
        "crypto {pki | =ca} import <trustpoint:WORD> pem [exportable] {terminal | {url | file} <file:WORD>} \
         [exportable] [password <password:WORD>]",
        import_pem,
    ),
    apply(
        "crypto {pki | =ca} import <trustpoint:WORD> pkcs12 <file:WORD> [password] [<password:WORD>]",
        import_pkcs12,
    ),
    apply("crypto {pki | =ca} import <trustpoint:WORD> certificate", not_enrolled),
    apply("crypto {pki | =ca} enroll <trustpoint:WORD>", not_enrolled),
];

pub(super) const TRUSTPOINT: &[ConfigCommand] = &[
    apply("revocation-check / {crl [none] | none}", revocation_check),
    apply("crl file / <file:WORD>", crl_file),
    apply("rsakeypair / <label:WORD> [<bits:360-4096>] [<encryption:360-4096>]", key_pair),
    apply("eckeypair / <label:WORD>", key_pair),
    keep(
        "{enrollment | subject-name | subject-alt-name | fqdn | ip-address | usage | hash | source} / <text:LINE>",
        kept,
    ),
    keep(
        "{auto-enroll | regenerate | serial-number | storage | vrf | chain-validation | match} / [<text:LINE>]",
        kept,
    ),
    keep("crl {query | cache} / [<text:LINE>]", kept),
];

pub(super) const CHAIN: &[ConfigCommand] =
    &[apply("certificate / [ca | self-signed] <serial:HEX> [<file:WORD>]", certificate)];

pub(super) const CERTIFICATE_DATA: &[ConfigCommand] =
    &[apply("{<data:HEX>}*32", certificate_data), apply("quit", certificate_end)];

pub(super) const PASTE: &[ConfigCommand] = &[apply("<text:LINE>", paste), apply("quit", paste_end)];

fn kept<'c>(configuration: &'c mut Configuration, mode: &Mode) -> Option<&'c mut Vec<String>> {
    match mode {
        Mode::Trustpoint(name) => {
            configuration.trustpoints.get_mut(name).map(|trustpoint| &mut trustpoint.kept)
        }
        _ => None,
    }
}

fn trustpoint(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let Some(name) = args.text("trustpoint") else { return Ok(()) };
    if args.negated() {
        if editor.configuration.trustpoints.remove(name).is_some() {
            editor.interactive_notice(format!(
                "%NOTE: the certificates of {name} are removed; its private key stays in the key directory"
            ));
        }
        editor.mode = Mode::Global;
    } else {
        editor.configuration.trustpoints.entry(name.into()).or_default();
        editor.mode = Mode::Trustpoint(name.into());
    }
    Ok(())
}

fn edit(editor: &mut Editor<'_>, change: impl FnOnce(&mut Trustpoint)) -> Result<(), EditError> {
    if let Mode::Trustpoint(name) | Mode::CertificateChain(name) = &editor.mode
        && let Some(trustpoint) = editor.configuration.trustpoints.get_mut(name)
    {
        change(trustpoint);
    }
    Ok(())
}

fn revocation_check(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let check = match (args.negated(), args.has("crl"), args.has("none")) {
        (true, ..) | (_, true, false) => RevocationCheck::Crl,
        (_, true, true) => RevocationCheck::CrlNone,
        _ => RevocationCheck::None,
    };
    edit(editor, |trustpoint| trustpoint.revocation = check)
}

fn crl_file(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let file = args.text("file").map(String::from);
    edit(editor, |trustpoint| match (args.negated(), file) {
        (true, None) => trustpoint.crl_files.clear(),
        (true, Some(file)) => trustpoint.crl_files.retain(|have| *have != file),
        (false, Some(file)) if !trustpoint.crl_files.contains(&file) => trustpoint.crl_files.push(file),
        _ => {}
    })
}

fn key_pair(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let elliptic = args.has("eckeypair");
    let pair = args.text("label").filter(|_| !args.negated()).map(|label| KeyPair {
        elliptic,
        label: label.into(),
        bits: args.small("bits"),
    });
    edit(editor, |trustpoint| trustpoint.key_pair = pair)
}

fn chain(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let Some(name) = args.text("trustpoint") else { return Ok(()) };
    match editor.configuration.trustpoints.get_mut(name) {
        Some(trustpoint) if args.negated() => {
            trustpoint.certificate = None;
            trustpoint.authorities.clear();
            editor.mode = Mode::Global;
        }
        Some(_) => editor.mode = Mode::CertificateChain(name.into()),
        None if args.negated() => {}
        None => {
            return Err(EditError::rule(format_args!(
                "trustpoint {name} does not exist; create it with \"crypto pki trustpoint {name}\""
            )));
        }
    }
    Ok(())
}

fn certificate(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let serial = args.text("serial").unwrap_or_default().to_ascii_uppercase();
    if args.negated() {
        return edit(editor, |trustpoint| {
            trustpoint.authorities.retain(|authority| authority.serial != serial);
            if trustpoint.certificate.as_ref().is_some_and(|own| own.serial == serial) {
                trustpoint.certificate = None;
            }
        });
    }
    if let Some(file) = args.text("file") {
        return Err(EditError::rule(format_args!(
            "the certificate itself is needed, not \"{file}\": on the device type \"show running-config\" without \
             \"crypto pki certificate storage\", or use \"crypto pki import T pem\""
        )));
    }
    let Mode::CertificateChain(trustpoint) = &editor.mode else { return Ok(()) };
    let (trustpoint, authority) = (trustpoint.clone(), args.has("ca"));
    editor.mode = Mode::CertificateData { trustpoint, authority, serial, digits: String::new() };
    editor.interactive_notice("Enter the certificate in hexadecimal representation, end with \"quit\".");
    Ok(())
}

fn certificate_data(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let Mode::CertificateData { digits, .. } = &mut editor.mode else { return Ok(()) };
    args.texts("data").for_each(|data| digits.push_str(data));
    if digits.len() > MAX_CERTIFICATE {
        return Err(EditError::rule("the certificate is larger than 16384 octets"));
    }
    Ok(())
}

fn certificate_end(editor: &mut Editor<'_>, _: &Args) -> Result<(), EditError> {
    let Mode::CertificateData { trustpoint, authority, serial, digits } = editor.mode.clone() else {
        return Ok(());
    };
    let digit = |c: u8| (c as char).to_digit(16).map(|digit| digit as u8);
    let octets = digits.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    let Some(der) = octets.collect::<Option<Vec<u8>>>().filter(|der| is_one_sequence(der)) else {
        editor.mode = Mode::CertificateChain(trustpoint);
        return Err(EditError::rule(format_args!(
            "certificate {serial} is incomplete: paste all its lines, from \"certificate\" to \"quit\""
        )));
    };
    let new = PkiCertificate { serial, der };
    if let Some(trustpoint) = editor.configuration.trustpoints.get_mut(&trustpoint) {
        if authority {
            trustpoint.authorities.retain(|have| have.serial != new.serial);
            trustpoint.authorities.push(new);
        } else {
            trustpoint.certificate = Some(new);
        }
    }
    editor.mode = Mode::CertificateChain(trustpoint);
    Ok(())
}

/// Whether the bytes are exactly one DER SEQUENCE.
fn is_one_sequence(der: &[u8]) -> bool {
    let length = match der {
        [0x30, length @ 0..=0x7f, ..] => Some(2 + usize::from(*length)),
        [0x30, 0x81, length, ..] => Some(3 + usize::from(*length)),
        [0x30, 0x82, high, low, ..] => Some(4 + usize::from(u16::from_be_bytes([*high, *low]))),
        _ => None,
    };
    length == Some(der.len())
}

fn not_enrolled(_: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let name = args.text("trustpoint").unwrap_or_default();
    Err(EditError::rule(format_args!(
        "there is no enrolment here; make key and certificate with your CA and type \"crypto pki import {name} pem \
         terminal\" or \"crypto pki import {name} pkcs12 FILE password P\""
    )))
}

/// `url file:/a/b`, `url /a/b`.
fn path(args: &Args) -> Option<String> {
    args.text("file").map(|file| file.strip_prefix("file:").unwrap_or(file).to_owned())
}

fn import_pem(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let password = args.text("password").map(Secret::new);
    match path(args) {
        Some(file) => import(editor, args, ImportSource::Pem(file), password),
        None => begin_paste(editor, args, password, false),
    }
}

fn import_pkcs12(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let password = args.text("password").map(Secret::new);
    let file = path(args).unwrap_or_default();
    import(editor, args, ImportSource::Pkcs12(file), password)
}

fn authenticate(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    begin_paste(editor, args, None, true)
}

fn begin_paste(
    editor: &mut Editor<'_>,
    args: &Args,
    password: Option<Secret>,
    authorities_only: bool,
) -> Result<(), EditError> {
    typed_only(editor)?;
    let trustpoint = args.text("trustpoint").unwrap_or_default().to_owned();
    editor.notice(if authorities_only {
        "Enter the PEM-formatted certificate of the CA.\nEnd with \"quit\" on a line by itself."
    } else {
        "Enter the PEM-formatted certificate of the CA, private key and certificate, in any order.\n\
         End with \"quit\" on a line by itself."
    });
    editor.mode = Mode::PkiPaste { trustpoint, authorities_only, password, text: Secret::default() };
    Ok(())
}

fn paste(editor: &mut Editor<'_>, args: &Args) -> Result<(), EditError> {
    let line = args.text("text").unwrap_or_default();
    let Mode::PkiPaste { text, .. } = &mut editor.mode else { return Ok(()) };
    if text.expose().len() + line.len() > MAX_PASTE {
        return Err(EditError::rule(
            "more was pasted than key and certificates can be; type \"end\" and begin again",
        ));
    }
    *text = Secret::joined(&[text.expose(), line, "\n"]);
    Ok(())
}

fn paste_end(editor: &mut Editor<'_>, _: &Args) -> Result<(), EditError> {
    let Mode::PkiPaste { trustpoint, authorities_only, password, text } = editor.mode.clone() else {
        return Ok(());
    };
    ask_for(editor, &trustpoint, ImportSource::Pasted(text), password, authorities_only, paste_imported);
    Ok(())
}

fn paste_imported(editor: &mut Editor<'_>, _: &Args, answer: Answer) -> Result<(), EditError> {
    let Mode::PkiPaste { trustpoint, authorities_only, .. } = editor.mode.clone() else { return Ok(()) };
    match imported(editor, &trustpoint, authorities_only, answer) {
        Ok(()) => editor.mode = Mode::Global,
        // IOS prompts for the three parts one by one, each ended by "quit".
        Err(ImportError::Incomplete(missing)) => {
            editor.notice(format!(
                "Enter the PEM-formatted {missing}.\nEnd with \"quit\" on a line by itself."
            ));
        }
        Err(ImportError::Refused(text)) => {
            editor.mode = Mode::Global;
            return Err(EditError(text));
        }
    }
    Ok(())
}

fn import(
    editor: &mut Editor<'_>,
    args: &Args,
    source: ImportSource,
    password: Option<Secret>,
) -> Result<(), EditError> {
    typed_only(editor)?;
    ask_for(editor, args.text("trustpoint").unwrap_or_default(), source, password, false, file_imported);
    Ok(())
}

fn file_imported(editor: &mut Editor<'_>, args: &Args, answer: Answer) -> Result<(), EditError> {
    editor.mode = Mode::Global;
    let trustpoint = args.text("trustpoint").unwrap_or_default();
    imported(editor, trustpoint, false, answer).map_err(|error| match error {
        ImportError::Incomplete(missing) => {
            EditError::rule(format_args!("the {missing} is missing in what was given"))
        }
        ImportError::Refused(text) => EditError(text),
    })
}

/// An import stores a private key, so it is only allowed interactively, not in a file.
fn typed_only(editor: &Editor<'_>) -> Result<(), EditError> {
    if editor.from_file {
        return Err(EditError::rule(
            "\"crypto pki import\" and \"authenticate\" are typed in configuration mode, once; \"write memory\" then keeps \
             the certificates in the file",
        ));
    }
    Ok(())
}

/// The label of the key pair of a trustpoint, which may not exist yet.
fn key_label(configuration: &Configuration, name: &str) -> String {
    let existing = configuration.trustpoints.get(name);
    existing.map_or(name, |trustpoint| trustpoint.key_label(name)).to_owned()
}

fn ask_for(
    editor: &mut Editor<'_>,
    name: &str,
    source: ImportSource,
    password: Option<Secret>,
    authorities_only: bool,
    rest: Rest,
) {
    let label = key_label(editor.configuration, name);
    let existing = editor.configuration.trustpoints.get(name);
    let has_authorities =
        existing.is_some_and(|trustpoint| !trustpoint.authorities.is_empty()) && !authorities_only;
    let import = Import { label, source, password, has_authorities, authorities_only };
    editor.ask(Question::Import(import), rest);
}

/// Stores the imported data in a trustpoint.
fn imported(
    editor: &mut Editor<'_>,
    name: &str,
    authorities_only: bool,
    answer: Answer,
) -> Result<(), ImportError> {
    let Answer::Imported(imported) = answer else { return Ok(()) };
    let imported = imported?;
    let label = key_label(editor.configuration, name);
    let fresh = existing_or_new(editor.configuration, name);
    if !imported.authorities.is_empty() {
        fresh.authorities = imported.authorities;
    }
    if let Some(certificate) = imported.certificate {
        fresh.certificate = Some(certificate);
        let bits = fresh.key_pair.as_ref().and_then(|pair| pair.bits);
        fresh.key_pair =
            Some(KeyPair { elliptic: imported.elliptic, label, bits: bits.filter(|_| !imported.elliptic) });
    }
    if fresh.revocation == RevocationCheck::Crl && fresh.crl_files.is_empty() {
        editor.notice(format!(
            "%NOTE: trustpoint {name} checks revocation and has no CRL; type \"crl file F\" or \"revocation-check none\" in it"
        ));
    }
    editor.notice(if authorities_only {
        "Trustpoint CA certificate accepted."
    } else {
        "% PEM files import succeeded."
    });
    Ok(())
}

fn existing_or_new<'c>(configuration: &'c mut Configuration, name: &str) -> &'c mut Trustpoint {
    configuration.trustpoints.entry(name.into()).or_insert_with(|| Trustpoint {
        kept: vec!["enrollment terminal pem".into()],
        ..Trustpoint::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_must_be_whole() {
        assert!(is_one_sequence(&[0x30, 0x02, 0x05, 0x00]));
        assert!(is_one_sequence(&[&[0x30, 0x81, 0x80][..], &[0; 128]].concat()));
        assert!(is_one_sequence(&[&[0x30, 0x82, 0x01, 0x00][..], &[0; 256]].concat()));
        for wrong in [&[][..], &[0x30], &[0x30, 0x03, 0x05, 0x00], &[0x30, 0x01, 0x05, 0x00], &[0x31, 0x00]] {
            assert!(!is_one_sequence(wrong), "{wrong:?}");
        }
    }
}
