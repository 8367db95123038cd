//! Carries out the requests of CLI sessions.

mod shows;

pub(crate) use shows::utc;

use std::io::Read;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use config::Configuration;
use config::command::{ClearCommand, DebugTopic, ExecCommand, ShowCommand};
use config::control::{Request, Response};
use config::diff::Object;
use config::edit::Offline;
use config::render_show;
use config::shell::{Ask, CommandError, Commit, Shell, Told, Turn};

use crate::gateway::{Gateway, SessionNumber};
use crate::names::{Answer, NameError};
use crate::pki::{KeyStore, Material, Pki};
use crate::report::Message;

/// Maximum size of the data plane's status document, in bytes.
const MAX_STATUS: u64 = 4 << 20;

/// Printed by `write memory` while traffic is protected that the saved configuration does not
/// select.
const SAVED_IN_BETWEEN: &str = "%NOTE: saved as it stands now; what open configuration sessions are replacing is \
                                protected until they leave configuration mode, and is not in the file: save again then\n";

/// Timeout for the data plane's answer, which is served from memory.
const STATUS_PATIENCE: Duration = Duration::from_millis(500);

/// Work that a session waits for while other sessions continue.
#[derive(Debug)]
pub enum Work {
    /// Run `ping` or `traceroute` with these arguments and pass the output to the session.
    Run {
        /// The program.
        program: &'static str,
        /// Its arguments, already validated.
        arguments: Vec<String>,
    },
    /// Resolve this name and continue with [`Operator::looked_up`].
    LookUp(String),
    /// Stop this process in order; the supervisor restarts it.
    Reload,
}

/// The outcome of one step of a session.
#[derive(Debug, Default)]
pub struct Progress {
    /// To be sent, in this order.
    pub replies: Vec<Response>,
    /// The work it waits for; `None` if it is ready for the next request.
    pub work: Option<Work>,
    /// Set when the session has more lines to commit one by one: it continues when it is given this
    /// result. The main loop may run in between.
    pub committed: Option<Told>,
}

/// The result of an [`Ask`].
enum Carried {
    Told(Told),
    Work(Work),
}

/// Where debug lines are found.
const DEBUG_NOTE: &str = "%NOTE: debug lines go to \"show logging\" and to the log of the process\n";

/// State outside the gateway that the show commands need.
#[derive(Debug)]
pub struct Facts {
    /// `RUN_DIR`.
    pub run_dir: PathBuf,
    /// The configuration file.
    pub config_file: PathBuf,
    /// When the process started.
    pub started: std::time::Instant,
    /// The last log lines, oldest first.
    pub log: std::collections::VecDeque<String>,
    /// How many times as fast the clock runs.
    pub time_scale: u32,
    /// Private keys and CRLs as last read.
    pub material: Material,
    /// Addresses, links and routes have not been set yet because the guard does not cover the
    /// devices.
    pub interfaces_wait: bool,
    /// `debug crypto isakmp` or `ikev2` is on: the log has IKE's debug lines too.
    pub debugs_ike: bool,
    /// Number of the kernel change that set them last.
    pub brought_up: Option<u64>,
}

impl Facts {
    /// Directory of the private keys of this instance.
    pub fn key_store(&self) -> KeyStore {
        KeyStore::beside(&self.config_file)
    }

    /// Reads the private keys and CRLs that `configuration` names.
    pub fn read_pki(&mut self, configuration: &Configuration) {
        self.material = Material::read(configuration, &self.key_store());
    }
}

/// Carries out the requests of one session.
pub struct Operator<'a> {
    /// The gateway.
    pub gateway: &'a mut Gateway,
    /// State outside the gateway.
    pub facts: &'a mut Facts,
    /// The current time.
    pub now: Duration,
    /// Set when the kernel has to be updated from the configuration.
    pub kernel_is_stale: &'a mut bool,
    /// Open CLI sessions, this one included.
    pub sessions: usize,
    /// ID of this session.
    pub session: SessionNumber,
}

impl Operator<'_> {
    /// Passes a request to a session.
    pub fn request(&mut self, shell: &mut Shell, request: Request) -> Progress {
        let turn = shell.request(request, self.gateway.configuration());
        self.go_on(shell, turn)
    }

    /// Commits the lines that a session holds back, if any. To be called when no further request of
    /// the session is waiting.
    pub fn flush(&mut self, shell: &mut Shell) -> Progress {
        if !shell.holds_lines() {
            return Progress::default();
        }
        let turn = shell.flush(self.gateway.configuration());
        self.go_on(shell, turn)
    }

    /// Passes the result of its work to a session.
    pub fn tell(&mut self, shell: &mut Shell, told: Told) -> Progress {
        let turn = shell.told(told, self.gateway.configuration());
        self.go_on(shell, turn)
    }

    /// Passes the resolver's answer to the session that waits for it.
    pub fn looked_up(
        &mut self,
        shell: &mut Shell,
        name: &str,
        answer: &Result<Answer, NameError>,
    ) -> Progress {
        let resolves = self.gateway.specify(self.now, name, answer);
        self.tell(shell, Told::Resolved(resolves))
    }

    /// Carries out what a session asks for, one request after the other.
    fn go_on(&mut self, shell: &mut Shell, mut turn: Turn) -> Progress {
        let mut progress = Progress::default();
        loop {
            progress.replies.append(&mut turn.replies);
            let Some(ask) = turn.ask else { return progress };
            let commits = matches!(ask, Ask::Commit(_));
            let told = match self.carry_out(ask) {
                Carried::Told(told) => told,
                Carried::Work(Work::Reload) => {
                    let done = shell.told(Told::Executed(Ok(String::new())), self.gateway.configuration());
                    progress.replies.extend(done.replies);
                    progress.work = Some(Work::Reload);
                    return progress;
                }
                Carried::Work(work) => {
                    progress.work = Some(work);
                    return progress;
                }
            };
            if commits && shell.retries_lines() {
                progress.committed = Some(told);
                return progress;
            }
            turn = shell.told(told, self.gateway.configuration());
        }
    }

    fn carry_out(&mut self, ask: Ask) -> Carried {
        Carried::Told(match ask {
            Ask::Commit(commit) => Told::Committed(self.commit(commit)),
            Ask::Entered(before) => {
                let note = self.gateway.begin_edit(self.session, before);
                Told::Entered(note.map_or(String::new(), |note| note + "\n"))
            }
            Ask::Baselines => Told::Baselines(self.gateway.other_baselines(self.session)),
            Ask::Left(lost) => {
                self.left(lost);
                Told::Noted
            }
            Ask::Abandoned => {
                self.gateway.abandon_edit(self.session);
                Told::Noted
            }
            Ask::Resolve(host) => return self.resolve(&host),
            Ask::Import(import) => Told::Imported(crate::pki::import(&import, &self.facts.key_store())),
            Ask::Show(command) => Told::Shown(self.show(&command)),
            Ask::ShowJson(command) => self.show_json(&command),
            Ask::Execute(command) => {
                return self
                    .execute(&command)
                    .unwrap_or_else(|error| Carried::Told(Told::Executed(Err(error))));
            }
        })
    }

    fn commit(&mut self, commit: Commit) -> Result<(), CommandError> {
        let Commit { configuration, changes } = commit;
        if self.gateway.configure_unplanned(self.now, &configuration, &changes) {
            *self.kernel_is_stale |= changes.iter().any(|change| change.object == Object::Routes);
            return Ok(());
        }
        let admitted = self
            .gateway
            .admit(configuration)
            .map_err(|refusal| CommandError::Refused(refusal.to_string()))?;
        if changes.iter().any(|change| change.object == Object::Pki) {
            self.facts.read_pki(admitted.configuration());
            self.gateway.set_pki(Pki::new(admitted.configuration(), &self.facts.material));
        }
        self.gateway.configure_admitted(self.now, admitted);
        *self.kernel_is_stale = true;
        Ok(())
    }

    fn show(&mut self, command: &ShowCommand) -> Result<String, CommandError> {
        if let Some(text) = self.gateway.show(self.now, command) {
            return Ok(text);
        }
        let configuration = self.gateway.configuration();
        Ok(match command {
            ShowCommand::TohubDataplane => render_show::dataplane(&self.dataplane_status()?),
            ShowCommand::StartupConfig => self.startup_config()?,
            ShowCommand::AccessLists(name) => {
                // Without a data plane there are no match counts.
                let matches =
                    self.dataplane_status().map(|status| shows::matches(&status)).unwrap_or_default();
                render_show::access_lists(configuration, name.as_deref(), &matches)
            }
            ShowCommand::Version => self.version(),
            ShowCommand::Clock => shows::clock(std::time::SystemTime::now()),
            ShowCommand::Logging => {
                self.facts.log.iter().fold(String::new(), |text, line| text + line + "\n")
            }
            ShowCommand::IpInterfaceBrief => shows::interfaces_brief(configuration, self.gateway.devices()),
            ShowCommand::Hosts => shows::hosts(configuration, self.gateway.known_names(self.now)),
            ShowCommand::IpRoute => shows::ip_route(configuration, self.gateway.reverse_routes_in_use())?,
            ShowCommand::Users => shows::users(self.sessions),
            ShowCommand::IpInterface(name) => {
                shows::interfaces(configuration, self.gateway.devices(), name.as_ref(), IpAddr::is_ipv4)
            }
            ShowCommand::Ipv6Interface(name) => {
                shows::interfaces(configuration, self.gateway.devices(), name.as_ref(), IpAddr::is_ipv6)
            }
            ShowCommand::Interfaces(name) => {
                shows::interfaces(configuration, self.gateway.devices(), name.as_ref(), |_| true)
            }
            ShowCommand::CryptoPkiCertificates(name) => {
                crate::pki::show::certificates(configuration, name.as_deref())
            }
            ShowCommand::CryptoPkiTrustpoints(name) => crate::pki::show::trustpoints(
                configuration,
                self.gateway.pki(),
                &self.facts.material,
                name.as_deref(),
            ),
            ShowCommand::CryptoIsakmpPeers => {
                return Err(unavailable("show crypto isakmp sa", "show tohub peers"));
            }
            ShowCommand::CryptoIkev2Stats => {
                return Err(unavailable("show crypto ikev2 sa detailed", "show tohub history"));
            }
            ShowCommand::CryptoEngineConnections => {
                return Err(unavailable("show crypto ipsec sa", "show tohub dataplane"));
            }
            _ => {
                return Err(CommandError::Failed("This command is not available on this gateway".to_owned()));
            }
        })
    }

    fn show_json(&mut self, command: &ShowCommand) -> Told {
        match (self.gateway.show_json(self.now, command), command) {
            (Some(value), _) => Told::Json(Ok(value)),
            (None, ShowCommand::TohubDataplane) => Told::Json(self.dataplane_status()),
            (None, _) => Told::no_json(),
        }
    }

    fn execute(&mut self, command: &ExecCommand) -> Result<Carried, CommandError> {
        let done = |text: String| Ok(Carried::Told(Told::Executed(Ok(text))));
        match command {
            ExecCommand::Clear(clear) => self.clear(clear).and_then(|()| done(String::new())),
            ExecCommand::SaveConfiguration => {
                config::file::save(&self.facts.config_file, self.gateway.configuration())
                    .map_err(file_failed)?;
                let note = if self.gateway.protects_more() { SAVED_IN_BETWEEN } else { "" };
                done(format!("Building configuration...\n[OK]\n{note}"))
            }
            ExecCommand::EraseStartup => {
                config::file::save(&self.facts.config_file, &Configuration::default())
                    .map_err(file_failed)?;
                done("[OK]\nErase of nvram: complete\n".to_owned())
            }
            ExecCommand::Reload => Ok(Carried::Work(Work::Reload)),
            ExecCommand::Ping { target, source, repeat, size } => {
                let mut arguments = vec![
                    "-n".to_owned(),
                    format!("-c{}", repeat.clamp(&1, &1000)),
                    format!("-s{}", size.saturating_sub(28)),
                    "-W2".to_owned(),
                    "-i0.2".to_owned(),
                ];
                arguments.extend(self.source(source.as_deref())?.map(|source| format!("-I{source}")));
                run("ping", arguments, target)
            }
            ExecCommand::Traceroute { target, source } => {
                let mut arguments = vec!["-n".to_owned()];
                arguments.extend(self.source(source.as_deref())?.map(|source| format!("-s{source}")));
                run("traceroute", arguments, target)
            }
            ExecCommand::Debug { topic: topic @ (DebugTopic::Isakmp | DebugTopic::Ikev2), on } => {
                self.facts.debugs_ike = *on;
                let name = if *topic == DebugTopic::Ikev2 { "IKEV2" } else { "ISAKMP" };
                let note = if *on { DEBUG_NOTE } else { "" };
                done(format!("Crypto {name} debugging is {}\n{note}", if *on { "on" } else { "off" }))
            }
            ExecCommand::Debug { topic, on: false } => {
                done(format!("Crypto {} debugging is off\n", format!("{topic:?}").to_uppercase()))
            }
            ExecCommand::Debug { .. } => {
                Err(unavailable("show crypto ipsec sa detail", "show tohub dataplane"))
            }
            ExecCommand::UndebugAll => {
                self.facts.debugs_ike = false;
                done("All possible debugging has been turned off\n".to_owned())
            }
            ExecCommand::TerminalMonitor(false) => done(String::new()),
            ExecCommand::TerminalMonitor(true) => Err(CommandError::Failed(
                "Log lines are not sent to sessions of this gateway; use \"show logging\"".to_owned(),
            )),
            #[allow(unreachable_patterns, reason = "commands may be added to the language first")]
            _ => Err(CommandError::Failed("This command is not available here".to_owned())),
        }
    }

    fn resolve(&mut self, host: &str) -> Carried {
        let name = host.to_ascii_lowercase();
        match self.gateway.host_line(&name) {
            Some(answer) => Carried::Told(Told::Resolved(self.gateway.specify(self.now, &name, &Ok(answer)))),
            // Resolving here would block the main loop and all its timers.
            None => Carried::Work(Work::LookUp(name)),
        }
    }

    fn left(&mut self, lost: Vec<String>) {
        self.gateway.end_edit(self.now, self.session);
        self.gateway.say(Message::Configured);
        if !lost.is_empty() {
            self.gateway.say(Message::Unprotected(lost));
        }
    }

    fn clear(&mut self, command: &ClearCommand) -> Result<(), CommandError> {
        if *command == ClearCommand::Logging {
            self.facts.log.clear();
            return Ok(());
        }
        match self.gateway.clear(self.now, command) {
            Some(_) => Ok(()),
            None => Err(CommandError::Failed("These counters cannot be cleared here yet".to_owned())),
        }
    }

    /// The source address: an address, or the primary address of an interface.
    fn source(&self, source: Option<&str>) -> Result<Option<IpAddr>, CommandError> {
        let Some(text) = source else { return Ok(None) };
        if let Ok(address) = text.parse() {
            return Ok(Some(address));
        }
        let interface = config::model::InterfaceName::parse(text);
        let device = interface.and_then(|name| self.gateway.devices().get(&name));
        let address = device.and_then(|device| device.addresses.first().copied());
        address.map(Some).ok_or_else(|| {
            CommandError::Failed(
                "Invalid source. Must use same-VRF IP address or full interface name without spaces".into(),
            )
        })
    }

    /// The data plane's own status, as one JSON document.
    fn dataplane_status(&self) -> Result<serde_json::Value, CommandError> {
        let path = self.facts.run_dir.join("dataplane.sock");
        let failed = |error: &dyn std::fmt::Display| {
            CommandError::Failed(format!("The data plane does not answer ({}: {error})", path.display()))
        };
        let stream = UnixStream::connect(&path).map_err(|error| failed(&error))?;
        stream.set_read_timeout(Some(STATUS_PATIENCE)).map_err(|error| failed(&error))?;
        let mut text = String::new();
        stream.take(MAX_STATUS).read_to_string(&mut text).map_err(|error| failed(&error))?;
        let mut status: serde_json::Value = serde_json::from_str(&text).map_err(|error| failed(&error))?;
        let forwards = self.facts.brought_up.is_some_and(|change| self.gateway.forwards_by(change));
        if self.facts.interfaces_wait || !forwards {
            // Addresses, links and routes are set once the guard covers the devices. Until the data
            // plane has read them, packets would find no route.
            status["state"] = "waiting".into();
        }
        Ok(status)
    }

    fn startup_config(&mut self) -> Result<String, CommandError> {
        // Rendered from the model, which prints no secrets.
        let file = self.facts.config_file.clone();
        let stored = config::file::load(&file, &mut Offline).map_err(file_failed)?;
        Ok(config::render::running_config(&stored.configuration, config::render::Secrets::Hidden) + "\n")
    }

    fn version(&self) -> String {
        let uptime = self.facts.started.elapsed().as_secs();
        let hostname = &self.gateway.configuration().system.hostname;
        let minutes = uptime / 60;
        let mut text = format!(
            "tohub Software, Version {}\n\n{hostname} uptime is {} hours, {} minutes\n\
             Configuration file is \"{}\"\n",
            env!("CARGO_PKG_VERSION"),
            minutes / 60,
            minutes % 60,
            self.facts.config_file.display()
        );
        if self.facts.time_scale != 1 {
            text.push_str(&format!("Timers run {} times as fast (--time-scale)\n", self.facts.time_scale));
        }
        text
    }
}

fn run(program: &'static str, mut arguments: Vec<String>, target: &str) -> Result<Carried, CommandError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".:-_%".contains(c);
    if target.is_empty() || target.starts_with('-') || !target.chars().all(plain) {
        return Err(CommandError::Failed("Unrecognized host or address.".to_owned()));
    }
    arguments.push(target.to_owned());
    Ok(Carried::Work(Work::Run { program, arguments }))
}

/// An IOS command that is not available here; the text names the replacement.
fn unavailable(instead: &str, or: &str) -> CommandError {
    CommandError::Failed(format!(
        "This command is not available on this gateway; use \"{instead}\" or \"{or}\""
    ))
}

fn file_failed(error: config::file::FileError) -> CommandError {
    CommandError::Failed(error.to_string())
}
