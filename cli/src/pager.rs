//! The ` --More-- ` pager, and terminal access: size, single keys, passwords.

use std::io::{self, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcgetwinsize, tcsetattr};

/// Columns and rows of the terminal; (0, 24) without a terminal.
pub(crate) fn terminal_size() -> (u16, u16) {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_row > 0 => (size.ws_col, size.ws_row),
        _ => (0, 24),
    }
}

/// Prints `text` a page at a time. Blank: next page; Enter: next line; anything else: stop.
pub(crate) fn print(text: &str, page: usize) -> io::Result<()> {
    let lines: Vec<&str> = text.lines().collect();
    let mut out = io::stdout().lock();
    if page < 2 || lines.len() < page {
        out.write_all(text.as_bytes())?;
        return out.flush();
    }
    let mut left = page - 1;
    for line in lines {
        if left == 0 {
            write!(out, " --More-- ")?;
            out.flush()?;
            let key = read_key();
            // Erase the prompt, as IOS does.
            write!(out, "\r          \r")?;
            left = match key? {
                b' ' => page - 1,
                b'\r' | b'\n' => 1,
                _ => break,
            };
        }
        writeln!(out, "{line}")?;
        left -= 1;
    }
    out.flush()
}

/// Asks for a password without echo.
pub(crate) fn password(question: &str) -> io::Result<String> {
    print!("{question}");
    io::stdout().flush()?;
    let mut line = String::new();
    let read = with_modes(LocalModes::ECHO, || io::stdin().read_line(&mut line));
    println!();
    read?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn read_key() -> io::Result<u8> {
    let mut key = [0u8];
    with_modes(LocalModes::ECHO | LocalModes::ICANON, || io::stdin().read_exact(&mut key))?;
    Ok(key[0])
}

/// Runs `action` with these terminal modes disabled and restores them.
fn with_modes<T>(off: LocalModes, action: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = tcgetattr(io::stdin())?;
    let mut changed = before.clone();
    changed.local_modes.remove(off);
    tcsetattr(io::stdin(), OptionalActions::Now, &changed)?;
    let result = action();
    tcsetattr(io::stdin(), OptionalActions::Now, &before)?;
    result
}
