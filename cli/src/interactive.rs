//! The interactive CLI: line editing and history; everything else runs behind the control socket.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use config::control::{Format, Request, Response};
use program::Failure;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{
    Cmd, ConditionalEventHandler, Config, Context, Editor, Event, EventContext, EventHandler, Helper,
    KeyEvent, RepeatCount,
};

use crate::client::{Client, take_block};
use crate::pager;

type Shared = Rc<RefCell<Client>>;
type LineEditor = Editor<Completion, DefaultHistory>;

/// Maximum number of lines in the history.
const HISTORY: usize = 1000;

/// Runs until the session ends.
pub(crate) fn run(client: Client, rows: u16) -> Result<(), Failure> {
    let client: Shared = Rc::new(RefCell::new(client));
    let key = Arc::new(AtomicU8::new(0));
    let mut editor = editor(&client, &key).map_err(|error| editor_failure(&error))?;
    let history = history_file();
    if let Some(path) = &history {
        // The file does not exist before the first session has ended.
        let _ = editor.load_history(path);
    }
    let ended = converse(&client, &mut editor, &key, rows);
    if let Some(path) = &history {
        let _ = editor.save_history(path);
    }
    ended
}

fn converse(client: &Shared, editor: &mut LineEditor, key: &AtomicU8, rows: u16) -> Result<(), Failure> {
    let mut unfinished = String::new();
    loop {
        let prompt = client.borrow().prompt().to_owned();
        let read = editor.readline_with_initial(&prompt, (&unfinished, ""));
        unfinished.clear();
        let line = match read {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => {
                key.store(0, Ordering::Relaxed);
                continue;
            }
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(editor_failure(&error)),
        };
        let response = match key.swap(0, Ordering::Relaxed) {
            b'?' => {
                let help = client.borrow_mut().ask(&Request::Help { line: line.clone() })?;
                unfinished = line;
                help
            }
            END => {
                if !line.trim().is_empty() {
                    let response = execute(client, editor, &line)?;
                    show(client, &response, rows)?;
                }
                client.borrow_mut().ask(&Request::End)?
            }
            _ => execute(client, editor, &line)?,
        };
        show(client, &response, rows)?;
        if response.closed {
            return Ok(());
        }
    }
}

fn execute(client: &Shared, editor: &mut LineEditor, line: &str) -> Result<Response, Failure> {
    // Lines with a key in them are not saved to the history file.
    let pasting = client.borrow().prompt().contains(config::edit::PASTE_PROMPT);
    let secret = pasting || ["key", "secret", "password", "pkcs12"].iter().any(|word| line.contains(word));
    if !line.trim().is_empty() && !secret {
        let _ = editor.add_history_entry(line.trim_end());
    }
    let mut response = if line.trim_end().contains('\n') {
        execute_block(&mut client.borrow_mut(), line)?
    } else {
        client.borrow_mut().line(line, Format::Text)?
    };
    while response.password {
        let text =
            pager::password(&response.text).map_err(|error| Failure::system("reading a password", &error))?;
        response = client.borrow_mut().ask(&Request::Password { text })?;
    }
    Ok(response)
}

/// Executes lines that were pasted together. The response contains the output of each line below
/// that line.
fn execute_block(client: &mut Client, text: &str) -> Result<Response, Failure> {
    let mut lines: VecDeque<String> = text.trim_end().lines().map(String::from).collect();
    let mut whole = Response::default();
    while !lines.is_empty() && !whole.closed && !whole.password {
        let mut prompt = client.prompt().to_owned();
        let block = take_block(&mut lines);
        for (line, reply) in block.iter().zip(client.block(block.clone(), false)?) {
            let echo = if reply.text.is_empty() { String::new() } else { format!("{prompt}{line}\n") };
            prompt.clone_from(&reply.prompt);
            whole = Response { text: whole.text + &echo + &reply.text, ..reply };
        }
    }
    Ok(whole)
}

fn show(client: &Shared, response: &Response, rows: u16) -> Result<(), Failure> {
    // The page length of the session, limited to the screen height.
    let page = match client.borrow().page() {
        0 => 0,
        24 => rows,
        lines => lines,
    };
    match pager::print(&response.text, page.into()) {
        Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
            Err(Failure::system("writing to the terminal", &error))
        }
        _ => Ok(()),
    }
}

fn editor(client: &Shared, key: &Arc<AtomicU8>) -> rustyline::Result<LineEditor> {
    let config = Config::builder()
        .max_history_size(HISTORY)?
        .history_ignore_dups(true)?
        .completion_type(rustyline::CompletionType::List)
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(Completion(Rc::clone(client))));
    for (event, code) in [(KeyEvent::from('?'), b'?'), (KeyEvent::ctrl('Z'), END)] {
        let handler = AcceptFor { key: Arc::clone(key), code };
        editor.bind_sequence(event, EventHandler::Conditional(Box::new(handler)));
    }
    Ok(editor)
}

/// Code of Ctrl-Z in the shared key variable.
const END: u8 = 26;

/// Ends line editing at once and records the key.
struct AcceptFor {
    key: Arc<AtomicU8>,
    code: u8,
}

impl ConditionalEventHandler for AcceptFor {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, _: &EventContext<'_>) -> Option<Cmd> {
        self.key.store(self.code, Ordering::Relaxed);
        Some(Cmd::AcceptLine)
    }
}

/// TAB completion by the server.
struct Completion(Shared);

impl Completer for Completion {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = line.get(..at).unwrap_or(line);
        let start = typed.rfind([' ', '\t']).map_or(0, |blank| blank + 1);
        let answer = self.0.borrow_mut().ask(&Request::Complete { line: typed.into() });
        let mut words = answer.map(|response| response.completions).unwrap_or_default();
        if let [only] = &mut words[..] {
            only.push(' ');
        }
        Ok((start, words))
    }
}

impl Hinter for Completion {
    type Hint = String;
}
impl Highlighter for Completion {}
impl Validator for Completion {}
impl Helper for Completion {}

fn history_file() -> Option<PathBuf> {
    std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".tohub_history"))
}

fn editor_failure(error: &ReadlineError) -> Failure {
    Failure::new(Failure::FAILED, format!("the terminal: {error}"))
}
