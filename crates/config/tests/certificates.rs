//! `crypto pki` in a session and in a file.

use config::Configuration;
use config::control::{Format, Request, Response};
use config::edit::{Environment, Import, ImportError, ImportSource, Imported, PASTE_PROMPT};
use config::effective_ike::{IkeParameters, effective_ike};
use config::file;
use config::model::*;
use config::render::{Secrets, running_config};
use config::shell::{Ask, Baselines, Shell, Told};

/// An owner that imports a certificate from text that claims to contain one.
#[derive(Default)]
struct Device {
    running: Configuration,
    imports: Vec<Import>,
}

fn certificate(serial: &str) -> PkiCertificate {
    PkiCertificate { serial: serial.into(), der: vec![0x30, 0x03, 0x02, 0x01, serial.len() as u8] }
}

impl Device {
    fn carry_out(&mut self, ask: Ask) -> Told {
        match ask {
            Ask::Commit(commit) => {
                self.running = commit.configuration;
                Told::Committed(Ok(()))
            }
            Ask::Entered(_) => Told::Entered(String::new()),
            Ask::Baselines => Told::Baselines(Baselines::default()),
            Ask::Left(_) | Ask::Abandoned => Told::Noted,
            Ask::Resolve(_) => Told::Resolved(true),
            Ask::Import(import) => Told::Imported(self.import(&import)),
            Ask::Show(command) => Told::Shown(Ok(format!("{command:?}\n"))),
            Ask::ShowJson(_) => Told::no_json(),
            Ask::Execute(_) => Told::Executed(Ok(String::new())),
        }
    }

    fn import(&mut self, import: &Import) -> Result<Imported, ImportError> {
        self.imports.push(import.clone());
        let text = match &import.source {
            ImportSource::Pasted(text) if text.expose().contains("REFUSED") => {
                return Err(ImportError::Refused("%ERROR: there is no PEM in what was pasted".into()));
            }
            ImportSource::Pasted(text) => text.expose().to_owned(),
            ImportSource::Pem(file) | ImportSource::Pkcs12(file) if file == "/missing" => {
                return Err(ImportError::Refused("%ERROR: /missing: no such file".into()));
            }
            _ => "CA KEY OWN".into(),
        };
        for (word, missing) in [("CA", "certificate of the CA"), ("KEY", "private key")] {
            if !(text.contains(word) || word == "KEY" && import.authorities_only) {
                return Err(ImportError::Incomplete(missing));
            }
        }
        let own = (!import.authorities_only).then(|| certificate("02"));
        Ok(Imported { certificate: own, elliptic: true, authorities: vec![certificate("01")] })
    }
}

struct Session(Shell, Device);

impl Session {
    fn new() -> Self {
        let mut session = Session(Shell::new(15), Device::default());
        session.line("configure terminal");
        session
    }

    fn line(&mut self, line: &str) -> Response {
        let Session(shell, device) = self;
        let request = Request::Line { line: line.into(), format: Format::Text };
        let mut turn = shell.request(request, &device.running);
        loop {
            turn = match (turn.ask, turn.replies.pop()) {
                (Some(ask), None) => shell.told(device.carry_out(ask), &device.running),
                (None, Some(response)) => return response,
                (None, None) => shell.flush(&device.running),
                (Some(ask), Some(response)) => panic!("{ask:?} behind {response:?}"),
            };
        }
    }

    fn lines(&mut self, lines: &[&str]) -> Response {
        let mut last = Response::default();
        for line in lines {
            last = self.line(line);
            assert!(last.status.is_ok(), "{line}: {}", last.text);
        }
        last
    }
}

#[test]
fn pem_is_pasted_in_parts_each_ended_by_quit() {
    let mut session = Session::new();
    let begun = session.line("crypto pki import T pem terminal password secret");
    assert!(begun.text.contains("End with \"quit\"") && begun.prompt.contains(PASTE_PROMPT), "{begun:?}");
    session.lines(&["-----BEGIN CERTIFICATE-----", "CA of a CA", "", "-----END CERTIFICATE-----"]);
    let first = session.line("quit");
    assert!(first.text.contains("private key") && first.prompt.contains(PASTE_PROMPT), "{first:?}");
    session.lines(&["-----BEGIN PRIVATE KEY-----", "KEY+/=", "-----END PRIVATE KEY-----"]);
    let done = session.line("quit");
    assert!(done.text.contains("PEM files import succeeded") && done.prompt.contains("(config)"), "{done:?}");
    let import = session.1.imports.last().unwrap();
    let ImportSource::Pasted(text) = &import.source else { panic!() };
    assert!(text.expose().contains("CA of a CA\n") && text.expose().contains("KEY+/=\n"));
    assert_eq!(import.password, Some(Secret::new("secret")));
    let trustpoint = &session.1.running.trustpoints["T"];
    assert_eq!(trustpoint.certificate, Some(certificate("02")));
    assert_eq!(trustpoint.authorities, [certificate("01")]);
    assert_eq!(trustpoint.key_label("T"), "T");
    assert!(!format!("{session_imports:?}", session_imports = session.1.imports).contains("KEY+/="));
}

#[test]
fn a_refused_paste_is_forgotten_and_its_mode_left() {
    let mut session = Session::new();
    session.lines(&["crypto pki import T pem terminal", "REFUSED CA KEY"]);
    let refused = session.line("quit");
    assert!(!refused.status.is_ok() && refused.text.contains("no PEM"), "{refused:?}");
    assert!(refused.prompt.contains("(config)"), "{refused:?}");
    let again = session.lines(&["crypto pki import T pem terminal", "CA KEY", "quit"]);
    assert!(again.text.contains("succeeded"), "nothing of the refused text is left: {again:?}");
}

#[test]
fn files_are_imported_in_one_line_and_errors_name_them() {
    for line in ["crypto pki import T pem url file:/k.pem", "crypto ca import T pkcs12 /k.p12 password P"] {
        let mut session = Session::new();
        assert!(session.line(line).text.contains("succeeded"), "{line}");
        assert!(session.1.running.trustpoints["T"].certificate.is_some());
    }
    let mut session = Session::new();
    let refused = session.line("crypto pki import T pem url /missing");
    assert!(!refused.status.is_ok() && refused.text.contains("/missing"), "{refused:?}");
    assert!(session.1.running.trustpoints.is_empty());
    // The label of the key pair is the name of the trustpoint.
    session.lines(&[
        "crypto pki trustpoint T",
        "rsakeypair other 2048",
        "exit",
        "crypto pki import T pem url /k",
    ]);
    assert_eq!(session.1.imports.last().unwrap().label, "other");
}

#[test]
fn only_the_ca_is_authenticated() {
    let mut session = Session::new();
    session.lines(&["crypto pki trustpoint T", "crypto pki authenticate T", "CA", "quit"]);
    let trustpoint = &session.1.running.trustpoints["T"];
    assert!(trustpoint.certificate.is_none() && trustpoint.authorities.len() == 1);
}

#[test]
fn certificates_of_a_pasted_configuration_are_read_from_their_digits() {
    let mut session = Session::new();
    session.lines(&[
        "crypto pki trustpoint T",
        " enrollment url http://192.0.2.9:80",
        " revocation-check crl none",
        " rsakeypair T",
        "crypto pki certificate chain T",
        " certificate 0A",
        "  30030201 02",
        "  \tquit",
        " certificate ca 01",
        "  3003",
        "  020101",
        "  \tquit",
    ]);
    let trustpoint = &session.1.running.trustpoints["T"];
    assert_eq!(trustpoint.certificate.as_ref().unwrap().der, [0x30, 3, 2, 1, 2]);
    assert_eq!(trustpoint.authorities[0].der, [0x30, 3, 2, 1, 1]);
    assert_eq!(trustpoint.revocation, RevocationCheck::CrlNone);
    let text = running_config(&session.1.running, Secrets::Hidden);
    assert!(text.contains(" certificate ca 01\n  30030201 01\n  \tquit\n"), "{text}");
    session.lines(&["crypto pki certificate chain T", "certificate 0B", "3003020102FF"]);
    let refused = session.line("quit");
    assert!(!refused.status.is_ok() && refused.text.contains("incomplete"), "{refused:?}");
    let unknown = session.line("crypto pki certificate chain U");
    assert!(unknown.text.contains("crypto pki trustpoint U"), "{unknown:?}");
}

struct NoWorld;

impl Environment for NoWorld {
    fn resolves(&mut self, _: &str) -> bool {
        true
    }
}

#[test]
fn an_import_in_a_file_is_refused_with_the_remedy() {
    let error = file::parse("f", "crypto pki import T pem url /k\n", &mut NoWorld).unwrap_err().to_string();
    assert!(error.contains("write memory"), "{error}");
}

fn parameters(lines: &str) -> Result<IkeParameters, String> {
    let text = format!(
        "{lines}crypto ipsec transform-set ts esp-gcm\ncrypto map m 1 ipsec-isakmp\n set peer 192.0.2.2\n \
         set transform-set ts\n match address 101\n"
    );
    let text =
        text.replace("PROFILE\n", "") + if lines.contains("PROFILE") { " set ikev2-profile P\n" } else { "" };
    let loaded = file::parse("f", &text, &mut NoWorld).map_err(|error| error.to_string())?;
    let configuration = loaded.configuration;
    let entry = configuration.entry("m", 1).ok_or("no entry")?;
    effective_ike(&configuration, "m", 1, entry).map_err(|error| error.to_string())
}

const T: &str = "crypto pki trustpoint T\ncrypto pki certificate chain T\n certificate 02\n  3003020102\n  quit\n \
                 certificate ca 01\n  3003020101\n  quit\n";
const U: &str =
    "crypto pki trustpoint U\ncrypto pki certificate chain U\n certificate ca 03\n  3003020103\n  quit\n";
const PROFILE: &str = "PROFILE\ncrypto ikev2 profile P\n match identity remote any\n authentication remote ecdsa-sig\n \
                       authentication local rsa-sig\n";

#[test]
fn a_profile_uses_the_trustpoints_that_it_names_or_all() {
    let all = parameters(&format!("{T}{U}{PROFILE}")).unwrap();
    assert_eq!(
        (all.signing_trustpoints, all.trusted_trustpoints),
        (vec!["T".into()], vec!["T".into(), "U".into()])
    );
    let split = format!("{T}{U}{PROFILE} pki trustpoint T sign\n pki trustpoint U verify\n");
    let split = parameters(&split).unwrap();
    assert_eq!((split.signing_trustpoints, split.trusted_trustpoints), (vec!["T".into()], vec!["U".into()]));
    let isakmp =
        parameters(&format!("{T}crypto isakmp policy 10\n encr aes\n hash sha256\n group 19\n")).unwrap();
    assert_eq!(isakmp.local_authentication, AuthenticationMethod::RsaSig);
    assert_eq!((isakmp.signing_trustpoints.len(), isakmp.trusted_trustpoints.len()), (1, 1));
}

#[test]
fn what_certificates_lack_refuses_the_entry_and_names_the_remedy() {
    let missing = [
        (PROFILE.to_owned(), "crypto pki import T pem terminal"),
        (format!("{U}{PROFILE}"), "no trustpoint with a certificate of this gateway"),
        (format!("{T}{PROFILE} pki trustpoint X\n"), "names trustpoint X"),
        (format!("{T}{PROFILE} pki trustpoint T sign\n"), "crypto pki authenticate T"),
        ("crypto isakmp policy 10\n encr aes\n hash sha256\n group 19\n".to_owned(), "crypto pki import"),
    ];
    for (lines, expected) in missing {
        let refusal = parameters(&lines).unwrap_err();
        assert!(refusal.contains(expected), "{expected}: {refusal}");
    }
}
