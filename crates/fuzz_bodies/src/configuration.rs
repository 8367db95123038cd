//! Configuration text and the command line.

use config::control::{Format, Request, Response};
use config::diff::diff;
use config::edit::{Environment, ImportError};
use config::render::{Secrets, running_config};
use config::shell::{Ask, Baselines, Shell, Told};
use config::{Configuration, file};

struct Everything;

impl Environment for Everything {
    fn resolves(&mut self, _: &str) -> bool {
        true
    }
}

/// A configuration file. An accepted file is rendered, and the rendered text is equivalent.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let loaded = match file::parse("input", text, &mut Everything) {
        Ok(loaded) => loaded.configuration,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let rendered = running_config(&loaded, Secrets::Shown);
    let again = match file::parse("rendered", &rendered, &mut Everything) {
        Ok(again) => again.configuration,
        Err(error) => panic!("what was rendered is refused: {error}\n{rendered}"),
    };
    assert_eq!(running_config(&again, Secrets::Shown), rendered, "rendering is stable");
    assert!(diff(&loaded, &again).is_empty(), "rendering changes the configuration:\n{rendered}");
    let _ = (running_config(&loaded, Secrets::Hidden), config::commit::review(&loaded));
}

/// The owner of a running configuration; other requests are ignored.
#[derive(Default)]
struct Owner(Configuration);

impl Owner {
    fn carry_out(&mut self, ask: Ask) -> Told {
        match ask {
            Ask::Commit(commit) => {
                assert!(!commit.changes.is_empty(), "nothing to commit");
                assert_eq!(commit.changes, diff(&self.0, &commit.configuration));
                self.0 = commit.configuration;
                Told::Committed(Ok(()))
            }
            Ask::Entered(_) => Told::Entered(String::new()),
            Ask::Baselines => Told::Baselines(Baselines::default()),
            Ask::Left(_) | Ask::Abandoned => Told::Noted,
            Ask::Resolve(_) => Told::Resolved(true),
            Ask::Import(_) => Told::Imported(Err(ImportError::Refused("%ERROR: no place for keys".into()))),
            Ask::Show(command) => Told::Shown(Ok(format!("{command:?}\n"))),
            Ask::ShowJson(_) => Told::no_json(),
            Ask::Execute(command) => Told::Executed(Ok(format!("{command:?}\n"))),
        }
    }

    /// The response to one request.
    fn answer(&mut self, shell: &mut Shell, request: Request) -> Response {
        let mut turn = shell.request(request, &self.0);
        loop {
            turn = match (turn.ask, turn.replies.pop()) {
                (Some(ask), None) => shell.told(self.carry_out(ask), &self.0),
                (None, Some(response)) => return response,
                (None, None) => {
                    assert!(shell.holds_lines(), "the request is forgotten");
                    shell.flush(&self.0)
                }
                (Some(ask), Some(response)) => panic!("{ask:?} behind {response:?}"),
            };
        }
    }
}

/// A session: lines, `?` and TAB. Input: the privilege level, then one request a line; a line that
/// ends in `?` or TAB asks for help or completion.
pub fn cli(data: &[u8]) {
    let Some((&privilege, text)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(text);
    let (mut owner, mut shell) = (Owner::default(), Shell::new(privilege));
    for line in text.split('\n').take(64) {
        let (mut wanted, mut offered) = (Request::End, false);
        if let Some(line) = line.strip_suffix('?') {
            wanted = Request::Help { line: line.to_owned() };
        } else if let Some(line) = line.strip_suffix('\t') {
            (wanted, offered) = (Request::Complete { line: line.to_owned() }, true);
        } else if line != "\u{1a}" {
            let format = if line.len() % 7 == 3 { Format::Json } else { Format::Text };
            wanted = Request::Line { line: line.to_owned(), format };
        }
        let response = owner.answer(&mut shell, wanted);
        assert!(
            response.text.is_empty() || response.text.ends_with('\n') || response.password,
            "{response:?}"
        );
        assert!(offered || response.completions.is_empty());
        assert!(!shell.prompt(&owner.0).is_empty());
    }
}
