//! The syntax notation of commands, as a recursive-descent parser.

use super::kind::Kind;

/// An element of a command's syntax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// A keyword, and the keyword before it (for its help text). `=word` is accepted in full only
    /// and not listed.
    Word(String, String),
    /// An operand: its name and kind.
    Operand(String, Kind),
    Sequence(Vec<Syntax>),
    /// Alternatives; an empty one makes the element optional.
    Choice(Vec<Syntax>, bool),
    /// Up to this many repetitions.
    Repeat(Box<Syntax>, usize),
    /// `/`.
    Mark,
}

/// Parses the syntax of one command. Syntax definitions are part of the program and every tree is
/// built in tests, so the error is plain text.
pub(super) fn parse(text: &str) -> Result<Syntax, String> {
    let text = expand(text);
    let mut parser = Parser { text: &text, previous: String::new() };
    let syntax = parser.sequence()?;
    match parser.text.trim_start() {
        "" => Ok(syntax),
        rest => Err(format!("unexpected \"{rest}\" in \"{text}\"")),
    }
}

/// Syntax shared by several commands.
pub(super) fn fragments() -> [(&'static str, &'static str); 6] {
    [
        ("$TCPOP", "[{eq | neq | gt | lt} <port:TCP-PORT> | range <port:TCP-PORT> <last-port:TCP-PORT>]"),
        ("$UDPOP", "[{eq | neq | gt | lt} <port:UDP-PORT> | range <port:UDP-PORT> <last-port:UDP-PORT>]"),
        ("$SRC", "{any | host <source:A.B.C.D> | <source:A.B.C.D> <source-wildcard:A.B.C.D>}"),
        ("$DST", "{any | host <destination:A.B.C.D> | <destination:A.B.C.D> <destination-wildcard:A.B.C.D>}"),
        (
            "$END",
            "[established | dscp <dscp:DSCP> | precedence <precedence:PRECEDENCE> | fragments | log | log-input]*5",
        ),
        (
            "$ACE",
            "{permit | deny} {tcp $SRC $TCPOP $DST $TCPOP $END | udp $SRC $UDPOP $DST $UDPOP $END \
             | icmp $SRC $DST [<icmp-type:ICMP-TYPE> [<icmp-code:0-255>]] $END | ip $SRC $DST $END \
             | <protocol:PROTOCOL> $SRC $DST $END}",
        ),
    ]
}

fn expand(text: &str) -> String {
    let mut text = text.to_string();
    // Later fragments refer to earlier ones, so they are replaced first.
    for (name, body) in fragments().iter().rev() {
        text = text.replace(name, body);
    }
    text
}

struct Parser<'a> {
    text: &'a str,
    previous: String,
}

impl<'a> Parser<'a> {
    fn peek(&mut self) -> Option<char> {
        self.text = self.text.trim_start();
        self.text.chars().next()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.text = &self.text[wanted.len_utf8()..];
        }
        found
    }

    fn sequence(&mut self) -> Result<Syntax, String> {
        let mut items = Vec::new();
        while let Some(next) = self.peek() {
            let item = match next {
                '|' | ']' | '}' => break,
                '[' => self.choice('[', ']', true)?,
                '{' => self.choice('{', '}', false)?,
                '/' => {
                    self.eat('/');
                    Syntax::Mark
                }
                '<' => self.operand()?,
                _ => self.word()?,
            };
            items.push(item);
        }
        Ok(Syntax::Sequence(items))
    }

    fn choice(&mut self, open: char, close: char, optional: bool) -> Result<Syntax, String> {
        self.eat(open);
        let before = self.previous.clone();
        let mut alternatives = vec![self.sequence()?];
        while self.eat('|') {
            self.previous.clone_from(&before);
            alternatives.push(self.sequence()?);
        }
        if !self.eat(close) {
            return Err(format!("missing {close} before \"{}\"", self.text));
        }
        let choice = Syntax::Choice(alternatives, optional);
        if !self.text.starts_with('*') {
            return Ok(choice);
        }
        let digits: String = self.text[1..].chars().take_while(char::is_ascii_digit).collect();
        self.text = &self.text[1 + digits.len()..];
        let times = digits.parse().map_err(|_| "missing count behind *".to_string())?;
        Ok(Syntax::Repeat(Box::new(choice), times))
    }

    fn operand(&mut self) -> Result<Syntax, String> {
        let end = self.text.find('>').ok_or("missing >")?;
        let inner = &self.text[1..end];
        self.text = &self.text[end + 1..];
        let (name, kind) = inner.split_once(':').ok_or_else(|| format!("<{inner}> has no kind"))?;
        let kind = Kind::named(kind).ok_or_else(|| format!("<{inner}> has an unknown kind"))?;
        Ok(Syntax::Operand(name.into(), kind))
    }

    fn word(&mut self) -> Result<Syntax, String> {
        let end =
            self.text.find(|c: char| c.is_whitespace() || "[]{}|<>/".contains(c)).unwrap_or(self.text.len());
        let (word, rest) = self.text.split_at(end);
        self.text = rest;
        if word.is_empty() {
            return Err(format!("unexpected \"{rest}\""));
        }
        let previous = std::mem::replace(&mut self.previous, word.into());
        Ok(Syntax::Word(word.into(), previous))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notation_is_read() {
        let word = |text: &str, before: &str| Syntax::Word(text.into(), before.into());
        let parsed = parse("set peer / <peer:HOST> [dynamic] {a | b}*2").unwrap();
        let Syntax::Sequence(items) = parsed else { panic!("a sequence") };
        assert_eq!(items[..3], [word("set", ""), word("peer", "set"), Syntax::Mark]);
        assert_eq!(items[3], Syntax::Operand("peer".into(), Kind::Host));
        assert!(matches!(&items[4], Syntax::Choice(choice, true) if choice.len() == 1));
        assert!(matches!(&items[5], Syntax::Repeat(_, 2)));
    }

    #[test]
    fn mistakes_in_the_notation_are_found() {
        for bad in ["set [peer", "a <x>", "a <x:NOPE>", "a }", "{a}*"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
