//! Exec commands: their syntax and meaning.

use std::sync::LazyLock;

use crate::command::{ClearCommand, DebugTopic, ExecCommand, Filter, ShowCommand};
use crate::tree::{Args, Command, Form, Tree};

/// The action of an exec line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExecAction {
    Show(ShowCommand),
    Exec(ExecCommand),
    Session(SessionCommand),
}

/// Commands that only affect the CLI session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionCommand {
    Enable,
    Disable,
    Configure,
    Exit,
    TerminalLength(u16),
    TerminalWidth(u16),
    ShowPrivilege,
    ShowTerminal,
    Nothing,
}

type Meaning = fn(&Args) -> ExecAction;

static USER: LazyLock<Tree<Meaning>> = LazyLock::new(|| build(&[USER_COMMANDS]));
static PRIVILEGED: LazyLock<Tree<Meaning>> = LazyLock::new(|| build(&[USER_COMMANDS, PRIVILEGED_COMMANDS]));

/// The command tree of a privilege level: levels from 2 on have all commands.
pub(crate) fn tree(privilege: u8) -> &'static Tree<Meaning> {
    if privilege > 1 { &PRIVILEGED } else { &USER }
}

#[allow(clippy::panic, reason = "a mistake in a constant table, found by the first test")]
fn build(groups: &[&'static [Command<Meaning>]]) -> Tree<Meaning> {
    match Tree::new(groups) {
        Ok(tree) => tree,
        Err(error) => panic!("exec command table: {error}"),
    }
}

const fn command(syntax: &'static str, action: Meaning) -> Command<Meaning> {
    Command { syntax, action }
}

macro_rules! show {
    ($command:expr) => {
        |_| ExecAction::Show($command)
    };
}

macro_rules! session {
    ($command:expr) => {
        |_| ExecAction::Session($command)
    };
}

const USER_COMMANDS: &[Command<Meaning>] = &[
    command("enable [<level:0-15>]", session!(SessionCommand::Enable)),
    command("disable [<level:0-15>]", session!(SessionCommand::Disable)),
    command("exit", session!(SessionCommand::Exit)),
    command("logout", session!(SessionCommand::Exit)),
    command("quit", session!(SessionCommand::Exit)),
    command("terminal length <lines:0-512>", |a| {
        ExecAction::Session(SessionCommand::TerminalLength(a.small("lines").unwrap_or(24)))
    }),
    command("terminal width {<columns:0-0> | <columns:40-512>}", |a| {
        ExecAction::Session(SessionCommand::TerminalWidth(a.small("columns").unwrap_or(80)))
    }),
    command("terminal monitor /", |a| ExecAction::Exec(ExecCommand::TerminalMonitor(!a.negated()))),
    command("terminal history [size <lines:0-256>]", session!(SessionCommand::Nothing)),
    command(
        "ping [ip] <host:HOST> [source <source:WORD> | repeat <repeat:1-1000000> | size <size:36-9216>]*3",
        ping,
    ),
    command("traceroute [ip] <host:HOST> [source <source:WORD>]", traceroute),
    command("show privilege", session!(SessionCommand::ShowPrivilege)),
    command("show terminal", session!(SessionCommand::ShowTerminal)),
    command("show version", show!(ShowCommand::Version)),
    command("show clock", show!(ShowCommand::Clock)),
    command("show users", show!(ShowCommand::Users)),
    command("show hosts", show!(ShowCommand::Hosts)),
    command("show logging", show!(ShowCommand::Logging)),
    command("show ip route", show!(ShowCommand::IpRoute)),
    command("show ip interface brief", show!(ShowCommand::IpInterfaceBrief)),
    command("show ip interface [<interface:INTERFACE>]", |a| {
        ExecAction::Show(ShowCommand::IpInterface(a.interface("interface").cloned()))
    }),
    command("show ipv6 interface [<interface:INTERFACE>]", |a| {
        ExecAction::Show(ShowCommand::Ipv6Interface(a.interface("interface").cloned()))
    }),
    command("show interfaces [<interface:INTERFACE>]", |a| {
        ExecAction::Show(ShowCommand::Interfaces(a.interface("interface").cloned()))
    }),
    command("show [ip] access-lists [<acl:ACL>]", |a| {
        ExecAction::Show(ShowCommand::AccessLists(a.text("acl").map(String::from)))
    }),
    command("show crypto map [interface <interface:INTERFACE> | tag <map:WORD>]", |a| {
        ExecAction::Show(ShowCommand::CryptoMap(filter(a)))
    }),
    command("show crypto dynamic-map [tag <map:WORD>]", |a| {
        ExecAction::Show(ShowCommand::CryptoDynamicMap(a.text("map").map(String::from)))
    }),
    command(
        "show crypto session [detail | brief | local <local:IP> | remote <remote:IP> \
         | interface <interface:INTERFACE>]*5",
        |a| {
            let (detail, brief) = (a.has("detail"), a.has("brief"));
            ExecAction::Show(ShowCommand::CryptoSession { detail, brief, filter: filter(a) })
        },
    ),
    command(
        "show crypto ipsec sa [detail | peer <remote:IP> | map <map:WORD> | interface <interface:INTERFACE>]*4",
        |a| ExecAction::Show(ShowCommand::CryptoIpsecSa { detail: a.has("detail"), filter: filter(a) }),
    ),
    command("show crypto ipsec sa count", show!(ShowCommand::CryptoIpsecSaCount)),
    command("show crypto ipsec transform-set [<tag:WORD>]", |a| {
        ExecAction::Show(ShowCommand::CryptoIpsecTransformSet(a.text("tag").map(String::from)))
    }),
    command("show crypto ipsec security-association [lifetime]", show!(ShowCommand::CryptoIpsecLifetime)),
    command("show crypto isakmp sa [detail]", |a| {
        ExecAction::Show(ShowCommand::CryptoIsakmpSa { detail: a.has("detail") })
    }),
    command("show crypto isakmp policy", show!(ShowCommand::CryptoIsakmpPolicy)),
    command("show crypto isakmp peers", show!(ShowCommand::CryptoIsakmpPeers)),
    command("show crypto ikev2 sa [{detailed | =detail} | local <local:IP> | remote <remote:IP>]*3", |a| {
        let detail = a.has("detailed") || a.has("detail");
        ExecAction::Show(ShowCommand::CryptoIkev2Sa { detail, filter: filter(a) })
    }),
    command("show crypto ikev2 proposal", show!(ShowCommand::CryptoIkev2Proposal)),
    command("show crypto ikev2 policy", show!(ShowCommand::CryptoIkev2Policy)),
    command("show crypto ikev2 profile", show!(ShowCommand::CryptoIkev2Profile)),
    command("show crypto ikev2 stats", show!(ShowCommand::CryptoIkev2Stats)),
    command("show crypto {pki | =ca} certificates [verbose] [<trustpoint:WORD>]", |a| {
        ExecAction::Show(ShowCommand::CryptoPkiCertificates(a.text("trustpoint").map(String::from)))
    }),
    command("show crypto {pki | =ca} trustpoints [<trustpoint:WORD>]", |a| {
        ExecAction::Show(ShowCommand::CryptoPkiTrustpoints(a.text("trustpoint").map(String::from)))
    }),
    command("show crypto engine connections active", show!(ShowCommand::CryptoEngineConnections)),
    command("show tohub peers", show!(ShowCommand::TohubPeers)),
    command("show tohub history", show!(ShowCommand::TohubHistory)),
    command("show tohub dataplane", show!(ShowCommand::TohubDataplane)),
    command("show tohub unsupported", show!(ShowCommand::TohubUnsupported)),
];

const PRIVILEGED_COMMANDS: &[Command<Meaning>] = &[
    command("configure [terminal]", session!(SessionCommand::Configure)),
    command("show running-config", show!(ShowCommand::RunningConfig)),
    command("show startup-config", show!(ShowCommand::StartupConfig)),
    command("show crypto isakmp key", show!(ShowCommand::CryptoIsakmpKey)),
    command("write [memory]", |_| ExecAction::Exec(ExecCommand::SaveConfiguration)),
    command("write terminal", show!(ShowCommand::RunningConfig)),
    command("write erase", |_| ExecAction::Exec(ExecCommand::EraseStartup)),
    command("copy running-config startup-config", |_| ExecAction::Exec(ExecCommand::SaveConfiguration)),
    command("erase startup-config", |_| ExecAction::Exec(ExecCommand::EraseStartup)),
    command("reload", |_| ExecAction::Exec(ExecCommand::Reload)),
    command("clear crypto sa", |_| clear(ClearCommand::AllSas)),
    command("clear crypto sa peer <host:HOST>", |a| clear(ClearCommand::SasOfPeer(host(a)))),
    command("clear crypto sa map <map:WORD>", |a| {
        clear(ClearCommand::SasOfMap(a.text("map").unwrap_or_default().into()))
    }),
    command("clear crypto sa {entry | spi} <remote:IP> {esp | ah} <spi:256-4294967295>", |a| {
        match (a.address("remote"), a.small("spi")) {
            (Some(destination), Some(spi)) => clear(ClearCommand::SaBySpi { destination, spi }),
            _ => ExecAction::Session(SessionCommand::Nothing),
        }
    }),
    command("clear crypto sa counters", |_| clear(ClearCommand::SaCounters)),
    command("clear crypto isakmp [<connection:1-4294967295>]", |a| {
        clear(ClearCommand::Isakmp(a.small("connection")))
    }),
    command("clear crypto ikev2 sa [local <local:IP> | remote <remote:IP> | fast]*3", |a| {
        clear(ClearCommand::Ikev2Sas(filter(a)))
    }),
    command(
        "clear crypto session [local <local:IP> [port <port:1-65535>] | remote <remote:IP> [port <port:1-65535>]]*2",
        |a| clear(ClearCommand::Sessions(filter(a))),
    ),
    command("clear access-list counters [<acl:ACL>]", |a| {
        clear(ClearCommand::AccessListCounters(a.text("acl").map(String::from)))
    }),
    command("clear logging", |_| clear(ClearCommand::Logging)),
    command("debug crypto isakmp /", |a| debug(DebugTopic::Isakmp, a)),
    command("debug crypto ipsec /", |a| debug(DebugTopic::Ipsec, a)),
    command("debug crypto engine /", |a| debug(DebugTopic::Engine, a)),
    command("debug crypto ikev2 / [error | packet | internal]", |a| debug(DebugTopic::Ikev2, a)),
    command("undebug all", |_| ExecAction::Exec(ExecCommand::UndebugAll)),
    command("debug all /", |a| match a.form {
        Form::Plain => ExecAction::Session(SessionCommand::Nothing),
        _ => ExecAction::Exec(ExecCommand::UndebugAll),
    }),
];

fn clear(command: ClearCommand) -> ExecAction {
    ExecAction::Exec(ExecCommand::Clear(command))
}

fn debug(topic: DebugTopic, args: &Args) -> ExecAction {
    ExecAction::Exec(ExecCommand::Debug { topic, on: !args.negated() })
}

fn filter(args: &Args) -> Filter {
    Filter {
        interface: args.interface("interface").cloned(),
        map: args.text("map").map(String::from),
        remote: args.address("remote"),
        local: args.address("local"),
    }
}

fn host(args: &Args) -> String {
    match args.address("host") {
        Some(address) => address.to_string(),
        None => args.text("host").unwrap_or_default().into(),
    }
}

fn ping(args: &Args) -> ExecAction {
    ExecAction::Exec(ExecCommand::Ping {
        target: host(args),
        source: args.text("source").map(String::from),
        repeat: args.small("repeat").unwrap_or(5),
        size: args.small("size").unwrap_or(100),
    })
}

fn traceroute(args: &Args) -> ExecAction {
    ExecAction::Exec(ExecCommand::Traceroute {
        target: host(args),
        source: args.text("source").map(String::from),
    })
}

/// Every tree, for tests that check all commands.
#[cfg(test)]
pub(crate) fn all_trees() -> [(&'static str, &'static Tree<Meaning>); 2] {
    [("USER", &USER), ("PRIVILEGED", &PRIVILEGED)]
}
