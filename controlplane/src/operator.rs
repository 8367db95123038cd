//! What a CLI session can do: the executor behind every shell of the control socket.

mod shows;

pub(crate) use shows::utc;

use std::io::Read;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::Configuration;
use config::command::{ClearCommand, ExecCommand, ShowCommand};
use config::diff::{Change, Object};
use config::edit::{Import, ImportError, Imported, Offline};
use config::render_show;
use config::shell::{Baselines, CommandError, Executor, Outcome};

use crate::gateway::{Gateway, SessionNumber};
use crate::names::{Answer, NameError};
use crate::pki::{KeyStore, Material, Pki};
use crate::report::Message;

/// The longest status document of the data plane that is read.
const MAX_STATUS: u64 = 4 << 20;

/// Printed by `write memory` while something is protected that the saved lines do not name.
const SAVED_IN_BETWEEN: &str = "%NOTE: saved as it stands now; what open configuration sessions are replacing is \
                                protected until they leave configuration mode, and is not in the file: save again then\n";

/// How long the data plane may take to answer; it answers from memory.
const STATUS_PATIENCE: Duration = Duration::from_millis(500);

/// What a session asks for that outlives its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Run `ping` or `traceroute` with these arguments and answer the session with what it prints.
    Run {
        /// The program.
        program: &'static str,
        /// Its arguments, checked words only.
        arguments: Vec<String>,
    },
    /// End this process in order; the supervisor starts it again.
    Reload,
    /// Ask the name service for this name, and then execute the same request again.
    Resolve(String),
}

/// A name, and what the name service says about it.
pub type LookedUp = (String, Result<Answer, NameError>);

/// What the shows need besides the brain.
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
    /// Private keys and CRLs as they were read last.
    pub material: Material,
    /// Addresses, links and routes wait for the guard.
    pub interfaces_wait: bool,
    /// Number of the kernel change with which they were set last.
    pub brought_up: Option<u64>,
}

impl Facts {
    /// Where the private keys of this instance lie.
    pub fn key_store(&self) -> KeyStore {
        KeyStore::beside(&self.config_file)
    }

    /// Reads the private keys and CRLs that `configuration` names.
    pub fn read_pki(&mut self, configuration: &Configuration) {
        self.material = Material::read(configuration, &self.key_store());
    }
}

/// The executor for one request.
pub struct Operator<'a> {
    /// The brain.
    pub brain: &'a mut Gateway,
    /// The rest.
    pub facts: &'a mut Facts,
    /// Now.
    pub now: Duration,
    /// Set when the kernel has to be brought in line with the configuration.
    pub kernel_is_stale: &'a mut bool,
    /// Open CLI sessions, this one included.
    pub sessions: usize,
    /// The number of this one.
    pub session: SessionNumber,
    /// What outlives the request.
    pub errand: Option<Errand>,
    /// The answer for which the request waited, if it is executed again.
    pub looked_up: Option<LookedUp>,
}

impl Executor for Operator<'_> {
    fn running(&self) -> &Configuration {
        self.brain.configuration()
    }

    fn apply(&mut self, candidate: Configuration, changes: &[Change]) -> Result<String, CommandError> {
        let admitted =
            self.brain.admit(candidate).map_err(|refusal| CommandError::Refused(refusal.to_string()))?;
        if changes.iter().any(|change| change.object == Object::Pki) {
            self.facts.read_pki(admitted.configuration());
            self.brain.set_pki(Pki::new(admitted.configuration(), &self.facts.material));
        }
        self.brain.configure_admitted(self.now, admitted);
        *self.kernel_is_stale = true;
        Ok(String::new())
    }

    fn show(&mut self, command: &ShowCommand) -> Result<String, CommandError> {
        if let Some(text) = self.brain.show(self.now, command) {
            return Ok(text);
        }
        let configuration = self.brain.configuration();
        Ok(match command {
            ShowCommand::TohubDataplane => render_show::dataplane(&self.dataplane_status()?),
            ShowCommand::StartupConfig => self.startup_config()?,
            ShowCommand::AccessLists(name) => {
                // Without a data plane nothing was matched.
                let matches =
                    self.dataplane_status().map(|status| shows::matches(&status)).unwrap_or_default();
                render_show::access_lists(configuration, name.as_deref(), &matches)
            }
            ShowCommand::Version => self.version(),
            ShowCommand::Clock => shows::clock(std::time::SystemTime::now()),
            ShowCommand::Logging => {
                self.facts.log.iter().fold(String::new(), |text, line| text + line + "\n")
            }
            ShowCommand::IpInterfaceBrief => shows::interfaces_brief(configuration, self.brain.devices()),
            ShowCommand::Hosts => shows::hosts(configuration, self.brain.known_names(self.now)),
            ShowCommand::IpRoute => shows::ip_route(configuration, self.brain.reverse_routes_in_use())?,
            ShowCommand::Users => shows::users(self.sessions),
            ShowCommand::IpInterface(name) => {
                shows::interfaces(configuration, self.brain.devices(), name.as_ref(), IpAddr::is_ipv4)
            }
            ShowCommand::Ipv6Interface(name) => {
                shows::interfaces(configuration, self.brain.devices(), name.as_ref(), IpAddr::is_ipv6)
            }
            ShowCommand::Interfaces(name) => {
                shows::interfaces(configuration, self.brain.devices(), name.as_ref(), |_| true)
            }
            ShowCommand::CryptoPkiCertificates(name) => {
                crate::pki::show::certificates(configuration, name.as_deref())
            }
            ShowCommand::CryptoPkiTrustpoints(name) => crate::pki::show::trustpoints(
                configuration,
                self.brain.pki(),
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

    fn show_json(&mut self, command: &ShowCommand) -> Result<serde_json::Value, CommandError> {
        if let Some(value) = self.brain.show_json(self.now, command) {
            return Ok(value);
        }
        let none = || CommandError::Failed("This command has no JSON form; leave \"| json\" out".to_owned());
        match command {
            ShowCommand::TohubDataplane => self.dataplane_status(),
            _ => Err(none()),
        }
    }

    fn execute(&mut self, command: &ExecCommand) -> Result<Outcome, CommandError> {
        match command {
            ExecCommand::Clear(clear) => self.clear(clear),
            ExecCommand::SaveConfiguration => {
                config::file::save(&self.facts.config_file, self.brain.configuration())
                    .map_err(file_failed)?;
                let note = if self.brain.protects_more() { SAVED_IN_BETWEEN } else { "" };
                Ok(Outcome::Done(format!("Building configuration...\n[OK]\n{note}")))
            }
            ExecCommand::EraseStartup => {
                config::file::save(&self.facts.config_file, &Configuration::default())
                    .map_err(file_failed)?;
                Ok(Outcome::Done("[OK]\nErase of nvram: complete\n".to_owned()))
            }
            ExecCommand::Reload => {
                self.errand = Some(Errand::Reload);
                Ok(Outcome::Done(String::new()))
            }
            ExecCommand::Ping { target, source, repeat, size } => {
                let mut arguments = vec![
                    "-n".to_owned(),
                    format!("-c{}", repeat.clamp(&1, &1000)),
                    format!("-s{}", size.saturating_sub(28)),
                    "-W2".to_owned(),
                    "-i0.2".to_owned(),
                ];
                arguments.extend(self.source(source.as_deref())?.map(|source| format!("-I{source}")));
                self.later("ping", arguments, target)
            }
            ExecCommand::Traceroute { target, source } => {
                let mut arguments = vec!["-n".to_owned()];
                arguments.extend(self.source(source.as_deref())?.map(|source| format!("-s{source}")));
                self.later("traceroute", arguments, target)
            }
            ExecCommand::Debug { topic, on } => {
                let name = format!("{topic:?}").to_uppercase();
                Ok(Outcome::Done(format!("Crypto {name} debugging is {}\n", if *on { "on" } else { "off" })))
            }
            ExecCommand::UndebugAll => {
                Ok(Outcome::Done("All possible debugging has been turned off\n".to_owned()))
            }
            ExecCommand::TerminalMonitor(_) => Ok(Outcome::Done(String::new())),
            #[allow(unreachable_patterns, reason = "commands may be added to the language first")]
            _ => Err(CommandError::Failed("This command is not available here".to_owned())),
        }
    }

    fn resolves(&mut self, host: &str) -> bool {
        let name = host.to_ascii_lowercase();
        let answer = match (self.brain.host_line(&name), &self.looked_up) {
            (Some(answer), _) => Ok(answer),
            (None, Some((asked, answer))) if *asked == name => answer.clone(),
            (None, _) => {
                // Waiting here would keep every timer waiting.
                self.errand = Some(Errand::Resolve(name));
                return false;
            }
        };
        self.brain.specify(self.now, &name, &answer)
    }

    fn import(&mut self, import: &Import) -> Result<Imported, ImportError> {
        crate::pki::import(import, &self.facts.key_store())
    }

    fn entered(&mut self, before: &Arc<Configuration>) -> String {
        let note = self.brain.begin_edit(self.session, before.clone());
        note.map_or(String::new(), |note| note + "\n")
    }

    fn baselines(&self) -> Baselines {
        self.brain.other_baselines(self.session)
    }

    fn left(&mut self, lost: &[String]) {
        self.brain.end_edit(self.now, self.session);
        self.brain.say(Message::Configured);
        if !lost.is_empty() {
            self.brain.say(Message::Unprotected(lost.to_vec()));
        }
    }

    fn abandoned(&mut self) {
        self.brain.abandon_edit(self.session);
    }
}

impl Operator<'_> {
    fn clear(&mut self, command: &ClearCommand) -> Result<Outcome, CommandError> {
        if *command == ClearCommand::Logging {
            self.facts.log.clear();
            return Ok(Outcome::Done(String::new()));
        }
        match self.brain.clear(self.now, command) {
            Some(_) => Ok(Outcome::Done(String::new())),
            None => Err(CommandError::Failed("These counters cannot be cleared here yet".to_owned())),
        }
    }

    /// An address, or the primary address of an interface.
    fn source(&self, source: Option<&str>) -> Result<Option<IpAddr>, CommandError> {
        let Some(text) = source else { return Ok(None) };
        if let Ok(address) = text.parse() {
            return Ok(Some(address));
        }
        let interface = config::model::InterfaceName::parse(text);
        let device = interface.and_then(|name| self.brain.devices().get(&name));
        let address = device.and_then(|device| device.addresses.first().copied());
        address.map(Some).ok_or_else(|| {
            CommandError::Failed(
                "Invalid source. Must use same-VRF IP address or full interface name without spaces".into(),
            )
        })
    }

    fn later(
        &mut self,
        program: &'static str,
        mut arguments: Vec<String>,
        target: &str,
    ) -> Result<Outcome, CommandError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || ".:-_%".contains(c);
        if target.is_empty() || target.starts_with('-') || !target.chars().all(plain) {
            return Err(CommandError::Failed("Unrecognized host or address.".to_owned()));
        }
        arguments.push(target.to_owned());
        self.errand = Some(Errand::Run { program, arguments });
        Ok(Outcome::Later)
    }

    /// The data plane's own status, one JSON document.
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
        let forwards = self.facts.brought_up.is_some_and(|change| self.brain.forwards_by(change));
        if self.facts.interfaces_wait || !forwards {
            // Addresses, links and routes follow when the guard covers the devices; a packet that comes before the data plane has read
            // them would find no route.
            status["state"] = "waiting".into();
        }
        Ok(status)
    }

    fn startup_config(&mut self) -> Result<String, CommandError> {
        // Through the model, so that no secret is printed.
        let file = self.facts.config_file.clone();
        let stored = config::file::load(&file, &mut Offline).map_err(file_failed)?;
        Ok(config::render::running_config(&stored.configuration, config::render::Secrets::Hidden) + "\n")
    }

    fn version(&self) -> String {
        let uptime = self.facts.started.elapsed().as_secs();
        let hostname = &self.brain.configuration().system.hostname;
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

/// A command that IOS has and this gateway has not; what says the same here.
fn unavailable(instead: &str, or: &str) -> CommandError {
    CommandError::Failed(format!(
        "This command is not available on this gateway; use \"{instead}\" or \"{or}\""
    ))
}

fn file_failed(error: config::file::FileError) -> CommandError {
    CommandError::Failed(error.to_string())
}
