//! What an event is made of.

use crate::setup::Setup;
use crate::world::Device;

/// Something that happens to a gateway, under traffic.
#[derive(Debug, Clone)]
pub struct Event {
    /// Unique; what `EVENT=` is compared with.
    pub name: String,
    /// What happens, for the page.
    pub sentence: String,
    /// The configuration and network.
    pub setup: Setup,
    /// The state of the machine before.
    pub begin: Begin,
    /// What is done.
    pub steps: Vec<Step>,
    /// Whether clear packets are only reported, because IOS would send them too.
    pub clear_as_ios: bool,
}

/// The state that an event begins in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Begin {
    /// The gateway runs; in a setup with a peer the tunnel is up.
    Running,
    /// Only `tohub guard` ran, as at boot; no processes.
    Guarded,
    /// The same, and none of the wires exists yet.
    GuardedWithoutWires,
    /// The same, and the uplink does not exist yet.
    GuardedWithoutUplink,
    /// The gateway ran and was stopped in order.
    Stopped,
    /// Nothing was ever loaded. Packets count from [`Step::Strict`] on.
    Fresh,
}

/// A process of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// `tohub-supervise`, which `tohub supervise` becomes.
    Supervisor,
    /// `tohub-controlplane`.
    ControlPlane,
    /// `tohub-dataplane`.
    DataPlane,
}

impl Process {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Supervisor, Self::ControlPlane, Self::DataPlane];

    /// For people.
    pub fn name(self) -> &'static str {
        ["supervisor", "control plane", "data plane"][self as usize]
    }

    /// The end of its program's path.
    pub fn program(self) -> &'static str {
        ["tohub-supervise", "tohub-controlplane", "tohub-dataplane"][self as usize]
    }
}

/// How a process is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// SIGKILL.
    Kill,
    /// SIGTERM.
    Terminate,
    /// SIGSTOP, and SIGCONT after some hundred milliseconds.
    Pause,
}

impl Ending {
    /// For people.
    pub fn name(self) -> &'static str {
        ["SIGKILL", "SIGTERM", "SIGSTOP"][self as usize]
    }
}

/// A start that must fail.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Run by `sh` before, in the gateway's namespace, with `$RUN`, `$PINS`, `$CONFIG`.
    pub prepare: String,
    /// Words in front of the program.
    pub wrapper: Vec<String>,
    /// Arguments of `supervise`; `CONFIG` stands for the path of the configuration.
    pub arguments: Vec<String>,
    /// The exit codes of the documentation for this.
    pub codes: Vec<i32>,
    /// Run by `sh` afterwards.
    pub undo: String,
}

/// One thing that is done.
#[derive(Debug, Clone)]
pub enum Step {
    /// Some milliseconds pass.
    Wait(u64),
    /// Up to so many milliseconds pass, as the seed has it.
    WaitUpTo(u64),
    /// Lines of `ip -batch` in the gateway's namespace, in one process.
    Ip(Vec<String>),
    /// The same at the far end of a wire.
    IpAtFarEnd(Device, Vec<String>),
    /// The same in the empty namespace. `GATEWAY` and `ELSEWHERE` stand for the namespaces.
    IpElsewhere(Vec<String>),
    /// The wire is made again: both ends, addresses, routes of the far end.
    Plug(Device),
    /// The far end of a wire is up again, with its addresses and routes.
    Plugged(Device),
    /// A further wire to the internet, whose gateway's end is `spare`, up and without addresses.
    PlugSpare,
    /// The gateway's own addresses on a wire, and its end up.
    Address(Device),
    /// The gateway's routes.
    Route,
    /// Configuration lines, typed in one session.
    Configure(Vec<String>),
    /// The same, line by line with pauses of some milliseconds.
    Type(Vec<String>),
    /// The same, and the session's process is killed before it leaves configuration mode.
    TypeAndLose(Vec<String>),
    /// Typed in one session; the gateway may refuse some.
    TryConfigure(Vec<String>),
    /// Configuration lines that the gateway must refuse.
    Refused(Vec<String>),
    /// An exec command.
    Exec(String),
    /// `tohub guard` alone.
    Guard,
    /// The same; it may fail.
    TryGuard,
    /// `tohub supervise` is started and not waited for.
    Start,
    /// The gateway is ready.
    Ready,
    /// The gateway is ready, or its supervisor has ended.
    ReadyOrEnded,
    /// The gateway is ready; if its supervisor has ended, it is started again first.
    ReadyAtLast,
    /// The gateway is stopped in order.
    Stop,
    /// A start that must fail.
    Fails(Failure),
    /// A `tohub` command that must be refused with this exit code; `CONFIG` stands for the file.
    TohubRefuses(Vec<String>, i32),
    /// A process of the gateway is ended.
    End(Process, Ending),
    /// `sh` in the gateway's namespace with `$TOHUB`, `$RUN`, `$PINS`, `$CONFIG`.
    Shell(String),
    /// The forwarding switches are written.
    OpenForwarding,
    /// The forwarding switches are closed, and not written any more until [`Step::OpenForwarding`].
    CloseForwarding,
    /// Packets count from here on.
    Strict,
    /// Clear packets sent from here on are reported apart.
    Grace,
    /// Unprotected packets of the host leave in clear, as they should.
    UnprotectedPasses,
    /// A TCP connection from the internet to the gateway's outside address comes up, as it should.
    ReachesGateway,
    /// The tunnel comes up.
    TunnelUp,
    /// Packets of the host come out behind the peer.
    TunnelCarries,
}

impl Event {
    /// An event of a running gateway.
    pub fn running(name: String, sentence: String, setup: Setup, steps: Vec<Step>) -> Self {
        Self { name, sentence, setup, begin: Begin::Running, steps, clear_as_ios: false }
    }

    /// An event that begins in another state.
    pub fn from_state(begin: Begin, name: String, sentence: String, setup: Setup, steps: Vec<Step>) -> Self {
        Self { name, sentence, setup, begin, steps, clear_as_ios: false }
    }
}

/// Owned lines.
pub fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}
