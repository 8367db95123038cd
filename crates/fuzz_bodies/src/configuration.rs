//! Configuration text and the command line.

use config::command::{ExecCommand, ShowCommand};
use config::control::{Format, Request};
use config::diff::{Change, diff};
use config::edit::Environment;
use config::render::{Secrets, running_config};
use config::shell::{CommandError, Executor, Outcome, Reply, Shell};
use config::{Configuration, file};

struct Everything;

impl Environment for Everything {
    fn resolves(&mut self, _: &str) -> bool {
        true
    }
}

/// A configuration file. What is accepted is rendered, and that means the same.
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

/// The owner of a running configuration, who carries out nothing else.
#[derive(Default)]
struct Owner(Configuration);

impl Executor for Owner {
    fn running(&self) -> &Configuration {
        &self.0
    }

    fn apply(&mut self, candidate: Configuration, changes: &[Change]) -> Result<String, CommandError> {
        assert!(!changes.is_empty(), "nothing to apply");
        self.0 = candidate;
        Ok(String::new())
    }

    fn show(&mut self, command: &ShowCommand) -> Result<String, CommandError> {
        Ok(format!("{command:?}\n"))
    }

    fn execute(&mut self, command: &ExecCommand) -> Result<Outcome, CommandError> {
        Ok(Outcome::Done(format!("{command:?}\n")))
    }

    fn resolves(&mut self, _: &str) -> bool {
        true
    }
}

/// A session: lines, `?` and TAB. Input: the privilege level, then one request a line; a line that ends in `?` or TAB asks for
/// help or completion.
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
        let Reply::Now(response) = shell.handle(&wanted, &mut owner) else { continue };
        assert!(
            response.text.is_empty() || response.text.ends_with('\n') || response.password,
            "{response:?}"
        );
        assert!(offered || response.completions.is_empty());
        assert!(!shell.prompt(&owner).is_empty());
    }
}
